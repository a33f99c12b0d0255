package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// Overview is what one look should show.
type Overview struct {
	Status  Status    `json:"status"`
	Blocked []Blocked `json:"blocked"`          // within the last hour, the latest first, at most 50
	More    int       `json:"more"`             // groups that were left out of blocked
	Passed  []Blocked `json:"let_through"`      // what observe let through, as blocked
	Passing int       `json:"more_let_through"` // groups that were left out of let_through
	Traffic Traffic   `json:"traffic"`          // of the last day
	Damage  []string  `json:"damage,omitempty"` // what of the journal could not be read
}

// Blocked is what a client was denied, or would have been.
type Blocked struct {
	Client  netip.Addr     `json:"client,omitzero"`
	Class   string         `json:"class,omitempty"`
	Name    string         `json:"name,omitempty"`
	Dest    netip.AddrPort `json:"dest,omitzero"` // of the firewall, which knows no names
	Port    uint16         `json:"port,omitempty"`
	Plane   string         `json:"plane"`             // of the last attempt
	Verdict string         `json:"verdict"`           // of the last attempt
	Reason  string         `json:"reason"`            // of the last attempt
	Service string         `json:"service,omitempty"` // of the nearest rule
	Row     int            `json:"row,omitempty"`
	Count   uint64         `json:"count"` // attempts
	Last    time.Time      `json:"last"`
}

// Traffic is what was decided and carried in steps of time.
type Traffic struct {
	Start   time.Time `json:"start"`   // of the first step
	Step    float64   `json:"step_s"`  // seconds
	Allowed []uint64  `json:"allowed"` // decisions
	Denied  []uint64  `json:"denied"`  // those that would have been, too
	Up      []uint64  `json:"up"`      // bytes of what has ended
	Down    []uint64  `json:"down"`
}

const (
	maxDamaged    = 100 // places of the journal
	blockedWithin = time.Hour
	maxBlocked    = 50   // groups that are told
	maxGroups     = 4096 // that are told apart at all, of what was blocked and of what was let through
	trafficHours  = 24
	// fresh is how long what was read of the journal is shown again: every open page asks.
	fresh = 2 * time.Second
)

// looked is what was read of the journal last.
type looked struct {
	mu   sync.Mutex
	at   time.Time
	seen Overview
}

func (a *API) overview(w http.ResponseWriter, r *http.Request) {
	o, err := a.look(r.Context())
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	o.Status = a.cfg.Status()
	reply(w, o) // without the lock: who reads it slowly keeps nobody waiting
}

// look returns what the journal says, which may have been read for somebody else a moment ago.
func (a *API) look(ctx context.Context) (Overview, error) {
	a.looked.mu.Lock() // one at a time: each takes a processor
	defer a.looked.mu.Unlock()
	if a.looked.at.IsZero() || time.Since(a.looked.at) > fresh {
		seen, err := Look(ctx, a.cfg.Journal, a.cfg.Clock())
		if err != nil {
			return Overview{}, err
		}
		a.looked.seen, a.looked.at = seen, time.Now()
	}
	return a.looked.seen, nil
}

// Look reads what an overview has of the journal.
func Look(ctx context.Context, j Journal, now time.Time) (Overview, error) {
	o := Overview{Blocked: []Blocked{}, Passed: []Blocked{}}
	blocked, passed := grouper{groups: make(map[group]*Blocked)}, grouper{groups: make(map[group]*Blocked)}
	q := decision.Query{Since: now.Add(-blockedWithin), Verdicts: decision.Denied()}
	for r, err := range Select(ctx, j.Read, q) {
		switch damage := new(decision.Damage); {
		case errors.As(err, &damage):
			o.damaged(damage)
		case err != nil:
			return o, err
		case r.Event != "": // the end of what was let through is no attempt
		case r.Verdict == policy.WouldDeny:
			passed.add(&r)
		default:
			blocked.add(&r)
		}
	}
	o.Blocked, o.More = blocked.latest()
	o.Passed, o.Passing = passed.latest()
	o.Traffic.Start = now.UTC().Truncate(time.Hour).Add(-(trafficHours - 1) * time.Hour)
	o.Traffic.Step = time.Hour.Seconds()
	for _, list := range []*[]uint64{&o.Traffic.Allowed, &o.Traffic.Denied, &o.Traffic.Up, &o.Traffic.Down} {
		*list = make([]uint64, trafficHours)
	}
	for d, err := range j.Digests(o.Traffic.Start, time.Time{}) {
		switch damage := new(decision.Damage); {
		case ctx.Err() != nil:
			return o, ctx.Err()
		case errors.As(err, &damage):
			o.damaged(damage)
		case err != nil:
			return o, err
		}
		for _, h := range d.Hours {
			o.Traffic.add(&h)
		}
	}
	return o, nil
}

func (o *Overview) damaged(err error) {
	if len(o.Damage) < maxDamaged {
		o.Damage = append(o.Damage, err.Error())
	}
}

func (t *Traffic) add(h *decision.Hour) {
	i := int(h.Start.Sub(t.Start) / time.Hour)
	if h.Start.Before(t.Start) || i >= len(t.Allowed) {
		return
	}
	if h.Verdict == policy.Allow {
		t.Allowed[i] += h.Count
	} else {
		t.Denied[i] += h.Count
	}
	t.Up[i] += h.Up
	t.Down[i] += h.Down
}

// A group is what denied attempts have in common that a person would see as one: DNS
// knows no port, and the ways to try the same port are several.
type group struct {
	client netip.Addr
	name   string
	dest   netip.Addr
	port   uint16
}

type grouper struct {
	groups map[group]*Blocked
	more   int // records of further ones
}

func (g *grouper) add(r *decision.Record) {
	key := group{client: r.Client, name: r.Name, port: r.Port}
	if r.Plane == policy.Firewall {
		key.dest = r.Dest.Addr()
	}
	b := g.groups[key]
	if b == nil {
		if len(g.groups) == maxGroups {
			g.more++
			return
		}
		b = new(Blocked)
		g.groups[key] = b
	}
	last := r.Time
	if r.Until.After(last) {
		last = r.Until
	}
	count := b.Count + max(r.Count, 1)
	if !last.Before(b.Last) {
		*b = Blocked{Client: r.Client, Class: r.Class, Name: r.Name, Port: r.Port, Plane: r.Plane.String(),
			Verdict: r.Verdict.String(), Reason: r.Reason.String(), Service: r.Service, Row: r.Row, Last: last}
		if r.Plane == policy.Firewall {
			b.Dest = r.Dest
			b.Name = strings.Join(r.DestNames(), ", ")
		}
	}
	b.Count = count
}

// latest returns the groups that were tried last, and how many there are beside.
func (g *grouper) latest() (list []Blocked, more int) {
	list = make([]Blocked, 0, len(g.groups))
	for _, b := range g.groups {
		list = append(list, *b)
	}
	slices.SortFunc(list, func(a, b Blocked) int {
		return cmp.Or(b.Last.Compare(a.Last), a.Client.Compare(b.Client), strings.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port))
	})
	shown := min(len(list), maxBlocked)
	return list[:shown], len(list) - shown + g.more
}
