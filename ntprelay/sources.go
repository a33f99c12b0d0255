package ntprelay

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/internal/clock"
)

// A Server is a time server as status shows it: an address that is asked, or a name
// that has led to none.
type Server struct {
	Name   string
	Addr   netip.Addr // invalid: none is known
	State  ServerState
	Why    string        // in words; of states other than Agrees
	Offset time.Duration // its time less ours, if it has answered
	Error  time.Duration // bound of the error of its time, if it has answered
}

// ServerState is what is held of a server.
type ServerState uint8

// The states.
const (
	Asked   ServerState = iota // nothing is known yet
	Agrees                     // the time rests on it
	Waits                      // too few agree to tell
	Wrong                      // it contradicts the others, or is not fit
	Silent                     // it does not answer
	Refuses                    // it does not want to be asked
	Unknown                    // the name has led to no address
	LeftOut                    // it is named, and is not asked
)

var serverStates = [...]string{"asked", "agrees", "waits", "wrong", "silent", "refuses", "unknown", "left out"}

func (s ServerState) String() string { return serverStates[s] }

// Servers returns what is known of each server, by name.
func (r *Relay) Servers() []Server { return r.poller.status() }

func (p *poller) status() []Server {
	sources := p.deps.Clock.Sources()
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.leftOut)
	for _, n := range p.names {
		if len(p.of(n)) == 0 {
			s := Server{Name: n.host, State: Asked}
			if n.err != nil {
				s.State, s.Why = Unknown, n.err.Error()
			}
			all = append(all, s)
		}
	}
	for _, s := range p.peers {
		out := Server{Name: s.name.host, Addr: s.addr}
		if i := slices.IndexFunc(sources, func(c clock.Source) bool { return c.Server == s.addr }); i >= 0 {
			out.of(sources[i])
		}
		kiss, isKiss := errors.AsType[*kissError](s.err)
		switch {
		case isKiss:
			out.State, out.Why = Refuses, "it said "+kiss.code
		case s.dead() || s.lost > 0 && !s.answered:
			out.State, out.Why = Silent, s.err.Error()
		}
		all = append(all, out)
	}
	slices.SortFunc(all, func(a, b Server) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Addr.Compare(b.Addr))
	})
	return all
}

// of fills in what the clock holds of the server.
func (s *Server) of(c clock.Source) {
	s.Offset, s.Error = c.Offset, c.Distance
	switch c.State {
	case clock.Chosen:
		s.State = Agrees
	case clock.FalseTicker:
		s.State, s.Why = Wrong, aside(c.Offset)
	case clock.Unfit, clock.Disbelieved:
		s.State, s.Why = Wrong, c.Why
	case clock.Silent:
		s.State, s.Why = Silent, "it has not answered for "+rough(c.Age)
	default:
		s.State, s.Why = Waits, "too few agree with each other"
	}
}

// aside says how far a server is from us.
func aside(offset time.Duration) string {
	if offset < 0 {
		return "it is " + rough(-offset) + " behind"
	}
	return "it is " + rough(offset) + " ahead"
}

// rough is a duration to two digits or so.
func rough(d time.Duration) string {
	const day, year = 24 * time.Hour, 8766 * time.Hour
	switch {
	case d >= 2*year:
		return fmt.Sprintf("%d years", d/year)
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 10*time.Second:
		text := d.Round(time.Second).String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		return text
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// sourcesHealth says how well the servers answer.
func (r *Relay) sourcesHealth() decision.Health { return r.poller.health() }

// health is what words says, with the moment since when that is so, as far as somebody
// has asked in between.
func (p *poller) health() decision.Health {
	h := p.words()
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.State != p.state {
		p.state, p.stateSince = h.State, time.Now()
	}
	if !p.stateSince.IsZero() {
		h.Since = p.deps.Clock.At(p.stateSince)
	}
	return h
}

func (p *poller) words() decision.Health {
	all := slices.DeleteFunc(p.status(), func(s Server) bool { return s.State == LeftOut })
	level := p.deps.Clock.Level() // after that: servers that have just agreed are no fault
	h := decision.Health{Part: "ntp"}
	if len(all) == 0 {
		h.Text = "neither the policy nor time.servers names a time server: the time is as good as certificates tell"
		return h
	}
	count := make(map[ServerState]int)
	var faults []string
	for _, s := range all {
		count[s.State]++
		if s.State == Wrong || s.State == Refuses {
			faults = append(faults, s.label()+": "+s.Why)
		}
	}
	switch agree := count[Agrees]; {
	case level == clock.Fine && count[Silent]+count[Unknown] == len(all):
		h.State = decision.Warn
		h.Text = fmt.Sprintf("none of %s answers any more; the time is still known to %s; let the box out to udp/123",
			servers(len(all)), rough(p.deps.Clock.Estimate().Error(p.deps.Clock.Raw())))
	case level == clock.Fine:
		h.Text = fmt.Sprintf("%d of %s agree", agree, servers(len(all)))
		if len(faults) > 0 {
			h.State = decision.Warn
		}
	case count[Asked] == len(all):
		h.Text = fmt.Sprintf("asking %s", servers(len(all)))
	case count[Unknown] == len(all):
		h.State = decision.Bad
		h.Text = "no address of a time server is known: " + all[0].Why + "; see the part upstream"
	case count[Silent]+count[Unknown]+count[Asked] == len(all):
		h.State = decision.Bad
		h.Text = fmt.Sprintf("none of %s answers: %s; let the box out to udp/123", servers(len(all)), p.silence(all))
	default:
		h.State = decision.Bad
		heard := len(all) - count[Silent] - count[Unknown] - count[Asked] - count[Refuses]
		h.Text = fmt.Sprintf("the time is not known, as too few agree: %d of %s are heard; let the box out to udp/123 of all of them, or name others in time.servers", heard, servers(len(all)))
	}
	const told = 3
	if more := len(faults) - told; more > 0 {
		faults = append(faults[:told], fmt.Sprintf("and %d more", more))
	}
	h.Text = strings.Join(append([]string{h.Text}, faults...), "; ")
	return h
}

// silence returns why the first of the silent servers was not heard.
func (p *poller) silence(all []Server) string {
	for _, s := range all {
		if s.State == Silent {
			return s.Why
		}
	}
	return all[0].Why
}

func (s *Server) label() string {
	if s.Addr.String() == s.Name {
		return s.Name
	}
	return s.Addr.String() + " (" + s.Name + ")"
}

func servers(n int) string {
	if n == 1 {
		return "1 time server"
	}
	return fmt.Sprintf("%d time servers", n)
}
