package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tillgate/console"
	"tillgate/decision"
	"tillgate/policy"
)

const (
	// healthEvery is how often the parts are asked how they are.
	healthEvery = time.Second
	// steady is how long a part must be well until that is a record: a line
	// that comes and goes would fill the journal.
	steady = 10 * time.Second
)

// parts are what the parts say of themselves.
func (a *appliance) parts() []decision.Health {
	parts := []decision.Health{
		a.dnsHealth(),
		a.resolver.Health(),
		a.proxyHealth(),
		a.policyHealth(),
		a.journalHealth(),
		timeHealth(a.clock),
		a.relay.Health(),
		a.console.Health(),
	}
	// --loopback is no place for rules.
	if h, expected := a.keeper.health(); expected || !a.settings.direct {
		parts = append(parts, h)
	}
	return parts
}

// dnsHealth is that of the listeners: they are bound, or the box has not started.
func (a *appliance) dnsHealth() decision.Health {
	addrs := a.resolver.Addrs()
	if len(addrs) == 0 {
		return decision.Health{Part: "dns", Text: "turned off: listen.dns is empty"}
	}
	return decision.Health{Part: "dns", Text: "listens on " + joinAddrs(addrs)}
}

func (a *appliance) proxyHealth() decision.Health {
	h := a.proxy.Health()
	if h.State != decision.OK {
		return h
	}
	explicit, intercepted := a.proxy.Addrs()
	var where []string
	if len(explicit) > 0 {
		where = append(where, "on "+joinAddrs(explicit))
	}
	if len(intercepted) > 0 {
		where = append(where, "for what is redirected on "+joinAddrs(intercepted))
	}
	h.Text = "listens " + strings.Join(where, ", ")
	if where == nil {
		h.Text = "turned off: listen.proxy and listen.intercept are empty"
	}
	return h
}

// policyHealth warns while a class is observed for a while: nobody should forget that.
func (a *appliance) policyHealth() decision.Health {
	set := a.policy.set()
	h := decision.Health{Part: "policy", Text: set.ID() + ", " + a.policy.origin(a.where.config) + ", mode " + set.Mode().String()}
	if _, err := a.policy.err(); err != nil {
		h.State = decision.Warn
		h.Text = set.ID() + " stays in force; " + joinLines(err.Error())
	}
	for _, o := range a.policy.observations() {
		h.State = decision.Warn
		h.Text += fmt.Sprintf("; observing %s until %s: %s", o.Class, endMoment(o.Until, a.clock.Now(), "15:04"), o.Reason)
	}
	return h
}

func (a *appliance) journalHealth() decision.Health {
	h := a.journal.Health()
	if h.Text == "" {
		h.Text = "in " + filepath.Join(a.where.state, journalDir)
	}
	return h
}

// settingsHealth warns of an edit that is not in force. It reads the file, so it is for
// who asks for the status, and not for every tick.
func (a *appliance) settingsHealth() []decision.Health {
	if a.where.config == "" {
		return nil
	}
	data, err := policy.ReadFile(a.where.config, settingsFile)
	if hashSettings(data, err) == a.settingsHash {
		return nil
	}
	since := a.started
	if info, err := os.Stat(filepath.Join(a.where.config, settingsFile)); err == nil && info.ModTime().After(since) {
		since = info.ModTime()
	}
	return []decision.Health{{Part: "settings", State: decision.Warn, Since: since,
		Text: settingsFile + " has changed since the start, and is not in force: systemctl restart tillgate applies it"}}
}

// A healthLog remembers what was last seen and told of each part.
type healthLog struct {
	mu    sync.Mutex
	parts map[string]*partLog
}

type partLog struct {
	state decision.State // last seen
	since time.Time      // that it is so
	told  decision.State // of which there is a record
	from  time.Time      // since told
}

// A healthChange is to be told.
type healthChange struct {
	part, text string
	since      time.Time // as the status has it: steady before it is told that a part is better
}

// note sets when each part came into its state, as far as it was asked, and returns the
// changes that are to be told.
func (l *healthLog) note(parts []decision.Health, now time.Time) (changes []healthChange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts == nil {
		l.parts = make(map[string]*partLog)
	}
	for i := range parts {
		h := &parts[i]
		p := l.parts[h.Part]
		if p == nil {
			p = &partLog{since: now, from: now}
			l.parts[h.Part] = p
		}
		if p.state != h.State {
			p.state, p.since = h.State, now
		}
		h.Since = p.since // a part's own would be by the clock as it was then
		if p.told == h.State || h.State < p.told && now.Sub(p.since) < steady {
			continue
		}
		text := fmt.Sprintf("%s: %s", h.State, h.Text)
		if h.State == decision.OK {
			text = fmt.Sprintf("ok after %s: %s", p.since.Sub(p.from).Round(time.Second), h.Text)
		}
		changes = append(changes, healthChange{h.Part, text, p.since})
		p.told, p.from = h.State, p.since
	}
	return changes
}

// checkHealth asks all parts, and records what has changed of those that do
// not so themselves.
func (a *appliance) checkHealth() []decision.Health {
	parts := a.parts()
	for _, change := range a.health.note(parts, time.Now()) {
		if change.part == "journal" || change.part == "policy" || change.part == "time" {
			continue
		}
		a.log.Warn("health", "part", change.part, "now", change.text)
		a.journal.Record(decision.Record{
			Plane:  policy.System,
			Event:  decision.EventHealth,
			Until:  a.tellMoment(change.since),
			Detail: change.part + ": " + change.text,
		})
	}
	return parts
}

func (a *appliance) watchHealth(ctx context.Context) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	p := prober{ask: a.resolver.Probe}
	for {
		p.tick(ctx, a.checkHealth(), time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tellMoment is what the clock says now of a moment that was kept: a board without a
// battery starts in 1970, and learns the time later.
func (a *appliance) tellMoment(t time.Time) time.Time { return a.clock.At(t).UTC() }

// status is the box as the API tells of it.
func (a *appliance) status() console.Status {
	parts, worst := console.Parts(append(a.checkHealth(), a.settingsHealth()...))
	for i := range parts {
		parts[i].Since = a.tellMoment(parts[i].Since)
	}
	set := a.policy.set()
	s := console.Status{
		Version: a.build.Version,
		Boot:    a.journal.Boot(),
		PID:     a.pid,
		Started: a.tellMoment(a.started),
		Uptime:  time.Since(a.started).Seconds(),
		State:   worst.String(),
		Parts:   parts,
		Policy: console.PolicyStatus{
			ID:     set.ID(),
			Hash:   set.Hash(),
			Source: a.policy.origin(a.where.config),
			Mode:   set.Mode().String(),
			Since:  a.tellMoment(a.started),
		},
		Listen:  []console.Listener{},
		Folders: console.Folders{Config: a.where.config, State: a.where.state},
		DNS:     dnsCounts(a.resolver.Stats()),
		Proxy:   proxyCounts(a.proxy.Stats()),
		Time:    a.timeStatus(),
		Journal: journalCounts(a.journal.Stats()),
	}
	for _, p := range set.Packs() {
		s.Policy.Packs = append(s.Policy.Packs, p.Name)
	}
	if last := a.lastChange.Load(); last != nil {
		s.Policy.Since, s.Policy.Changes = a.tellMoment(last.at), last.summary
	}
	if _, err := a.policy.err(); err != nil {
		s.Policy.Error = err.Error()
	}
	for _, o := range a.policy.observations() {
		s.Policy.Observed = append(s.Policy.Observed, console.DescribeObservation(o))
	}
	for _, l := range a.listeners() {
		for _, addr := range l.addrs {
			s.Listen = append(s.Listen, console.Listener{Name: l.name, Addr: addr})
		}
	}
	return s
}
