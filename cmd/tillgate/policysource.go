package main

import (
	"context"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"tillgate/decision"
	"tillgate/policy"
)

// A policySource is where the policy in force comes from: files that are
// followed, or without a folder the embedded one.
type policySource struct {
	set          func() *policy.Set
	serve        func(context.Context) error
	reload       func()
	err          func() (time.Time, error)
	onChange     func(func(policy.Change))
	observe      func(context.Context, policy.ObserveRequest) (policy.Observation, error)
	observations func() []policy.Observation
	embedded     *policy.Set
}

func openPolicy(where places, now func() time.Time) (policySource, error) {
	embedded, err := policy.Embedded()
	if err != nil {
		return policySource{}, err
	}
	files := policy.StoreConfig{Dir: where.config, Now: now}
	if where.config != "" {
		files.LastGood = filepath.Join(where.state, "policy.last-good")
	}
	store, err := policy.OpenStore(files)
	if err != nil {
		return policySource{}, err
	}
	return policySource{
		set:          store.Set,
		serve:        store.Serve,
		reload:       store.Reload,
		err:          store.Err,
		onChange:     store.OnChange,
		observe:      store.Observe,
		observations: store.Observations,
		embedded:     embedded,
	}, nil
}

// origin says where the set in force came from.
func (s policySource) origin(dir string) string {
	if s.set().Hash() == s.embedded.Hash() {
		return "embedded"
	}
	return dir
}

// reload reads the policy again, as SIGHUP asks.
func (a *appliance) reload() {
	a.systemd.reloading()
	a.policy.reload()
}

// A policyChange is when and how the policy in force came to be so.
type policyChange struct {
	at      time.Time
	summary []string
}

// policyChanged turns a change into a record, and has the proxy judge its tunnels again.
func (a *appliance) policyChanged(c policy.Change) {
	switch {
	case c.Cause == policy.CauseObserve:
		a.observeChanged(c.Class, c.By, strings.Join(c.Summary, "; "))
	case c.Err != nil:
		a.log.Error("the policy's files are bad; the last good policy stays in force",
			"policy", c.New.ID(), "cause", c.Cause, "err", c.Err)
		a.journal.Record(decision.Record{Plane: policy.Policy, Event: decision.EventChange, By: string(c.Cause),
			Detail: "refused, " + c.New.ID() + " stays in force: " + joinLines(c.Err.Error())})
	default:
		a.log.Info("policy in force", "policy", c.New.ID(), "cause", c.Cause, "changes", strings.Join(c.Summary, "; "))
		a.journal.Record(decision.Record{Plane: policy.Policy, Event: decision.EventChange, By: string(c.Cause),
			Detail: c.New.ID() + " in force: " + joinLines(strings.Join(c.Summary, "\n"))})
		if c.Old == nil || c.Old.Hash() != c.New.Hash() {
			a.lastChange.Store(&policyChange{time.Now(), c.Summary})
		}
	}
	if c.Old != c.New {
		a.proxy.PolicyChanged() // after the record that tells why tunnels end
		a.policyBell.ring()
	}
	if c.Cause == policy.CauseReload {
		a.systemd.ready()
	}
	if c.Old != c.New {
		debug.FreeOSMemory() // what the reading took, and the old policy, in megabytes
	}
}

// observeChanged records that a class begins or ends to be observed.
func (a *appliance) observeChanged(class, by, what string) {
	a.log.Warn("observing", "class", class, "by", by, "what", what)
	a.journal.Record(decision.Record{Plane: policy.Policy, Event: decision.EventChange, Class: class, By: by, Detail: joinLines(what)})
}

// maxDetail bounds what a record says in words, in bytes.
const maxDetail = 4 << 10

// joinLines makes one line of several, and cuts off what is too much.
func joinLines(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ")
	if len(text) <= maxDetail {
		return text
	}
	cut := maxDetail
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + " ..."
}
