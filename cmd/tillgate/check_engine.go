package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"tillgate/decision"
	"tillgate/internal/check"
	"tillgate/internal/clock"
	"tillgate/policy"
	"tillgate/resolver"
)

// check tests the destinations for the API: from the box itself by its own resolver and
// clock, or as one of its terminals.
func (a *appliance) check(ctx context.Context, req check.Request, emit func(check.Line) error) error {
	cfg := check.Config{
		Now:      a.clock.Now,
		Fastest:  func() uint64 { return a.proxy.Stats().Fastest },
		Troubles: a.troubles,
	}
	if req.Via.IsValid() {
		gate, err := a.gate(req.Via)
		if err != nil {
			return err
		}
		return checkVia(ctx, check.Via(cfg, gate), req, a.policy.set(), a.clock.Trusted(), false, emit)
	}
	plan, err := newCheckPlan(a.policy.set(), req, a.clock.Trusted())
	if err != nil {
		return err
	}
	a.resolver.Probe(ctx) // names that are kept would hide that it fails; troubles tells of it
	return check.Direct(cfg, checkLookup(a.resolver)).Run(ctx, plan, req.Speed, emit)
}

// tellWho is what a client is told that wants to test by way of this box.
func (a *appliance) tellWho(set *policy.Set, class *policy.Class, client netip.Addr) any {
	return check.NewWho(set, class, client, a.clock.Trusted())
}

// troubles are the parts that are not well.
func (a *appliance) troubles() (texts []string) {
	for _, h := range a.parts() {
		if h.State != decision.OK {
			texts = append(texts, fmt.Sprintf("%s: %s: %s", h.Part, h.State, h.Text))
		}
	}
	return texts
}

// gate is a box as terminals see it at an address. Where that is one of this machine the
// ports are those that this box has there.
func (a *appliance) gate(via netip.Addr) (check.Gate, error) {
	g := check.Gate{Addr: via}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return g, fmt.Errorf("listing this machine's addresses: %w", err)
	}
	if !slices.ContainsFunc(own, func(o net.Addr) bool {
		p, err := netip.ParsePrefix(o.String())
		return err == nil && p.Addr().WithZone("") == via.WithZone("")
	}) && !via.IsLoopback() {
		return g, nil
	}
	for _, l := range a.listeners() {
		for _, addr := range l.addrs {
			if addr.Addr() != via && !addr.Addr().IsUnspecified() {
				continue
			}
			switch l.name {
			case "dns":
				g.DNS = addr.Port()
			case "proxy":
				g.Proxy = addr.Port()
			case "ntp":
				g.NTP = addr.Port()
			}
		}
	}
	return g, nil
}

// checkVia tests by way of a box. What is tried is what that says that this machine may reach,
// unless there is another class or there are files to go by: so who looks whether all is well
// leaves no denials in the box's log, and needs no files.
func checkVia(ctx context.Context, c *check.Checker, req check.Request, set *policy.Set, now time.Time, byFiles bool, emit func(check.Line) error) error {
	if err := checkSpeed(req); err != nil {
		return err
	}
	who, err := c.Who(ctx)
	told, _ := errors.AsType[*check.Trouble](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case told != nil && (told.Fault != check.Untold || req.Class == ""):
		return c.Stop(ctx, check.Plan{Class: req.Class, Via: req.Via}, told, emit)
	case told == nil && !byFiles && (req.Class == "" || req.Class == who.Class):
		return c.Run(ctx, who.Plan, req.Speed, emit)
	case req.Class == "":
		req.Class = who.Class
	}
	plan, err := newCheckPlan(set, req, now)
	if unknown, ok := errors.AsType[*unknownClassError](err); ok && told == nil {
		unknown.hint = fmt.Sprintf("; without --class that is tried by which the box at %s knows this machine, %s", req.Via, who.Class)
	}
	if err != nil {
		return err
	}
	plan.Client, plan.Known = who.Client, who.Class
	return c.Run(ctx, plan, req.Speed, emit)
}

// unknownClassError is a class that the policy does not have.
type unknownClassError struct {
	err  error
	by   string // whose policy that is, in words
	hint string
}

func (e *unknownClassError) Error() string { return e.err.Error() + e.by + e.hint }

func checkSpeed(req check.Request) error {
	if req.Speed == "" {
		return nil
	}
	return check.CheckSpeedURL(req.Speed)
}

// newCheckPlan is what there is to test of a policy.
func newCheckPlan(set *policy.Set, req check.Request, now time.Time) (check.Plan, error) {
	var class *policy.Class
	if req.Class != "" {
		i := slices.IndexFunc(set.Classes(), func(c *policy.Class) bool { return c.Name == req.Class })
		if i < 0 {
			var known []string
			for _, c := range set.Classes() {
				known = append(known, c.Name)
			}
			return check.Plan{}, &unknownClassError{err: oneOf("class", req.Class, known)}
		}
		class = set.Classes()[i]
	}
	if err := checkSpeed(req); err != nil {
		return check.Plan{}, err
	}
	plan := check.NewPlan(set, class, now)
	plan.Via = req.Via
	return plan, nil
}

// checkLookup has a resolver say why it has no address.
func checkLookup(r *resolver.Resolver) check.LookupFunc {
	return func(ctx context.Context, name string) ([]netip.Addr, error) {
		addrs, err := r.Lookup(ctx, name)
		switch {
		case err == nil:
			return addrs, nil
		case errors.Is(err, resolver.ErrNoAddress):
			return nil, &check.Trouble{Fault: check.NoName, Detail: "the upstream has no address for it"}
		case errors.Is(err, resolver.ErrUntimed), errors.Is(err, clock.ErrConflict):
			return nil, &check.Trouble{Fault: check.UnknownTime, Detail: r.Health().Text}
		}
		if h := r.Health(); h.State != decision.OK {
			return nil, &check.Trouble{Fault: check.Unresolved, Detail: h.Text}
		}
		return nil, &check.Trouble{Fault: check.Unresolved, Detail: err.Error()}
	}
}

// checkHere tests without a box: with a resolver of its own, made as the box's would be, and
// a clock that knows what the upstream's certificate and the system's clock tell.
func checkHere(ctx context.Context, set *policy.Set, s settings, req check.Request, byFiles bool, p process, emit func(check.Line) error) error {
	built := readBuild().Time
	if req.Via.IsValid() {
		c := clock.System(p.lab.machine.Wall, built)
		err := checkVia(ctx, check.Via(check.Config{Now: c.Now}, check.Gate{Addr: req.Via}), req, set, c.Now(), byFiles, emit)
		if _, ok := errors.AsType[*unknownClassError](err); ok {
			return err
		}
		return failed(err)
	}
	c := clock.New(clock.Config{Machine: p.lab.machine, Built: built})
	plan, err := newCheckPlan(set, req, c.Trusted())
	if err != nil {
		return err
	}
	r, err := resolver.New(resolver.Config{
		URL:         s.Upstream.URL,
		Addresses:   s.Upstream.Addresses,
		Timeout:     s.Upstream.Timeout,
		Entries:     s.Cache.Entries,
		TimeServers: s.Time.Servers,
	}, resolver.Deps{
		Policy: func() *policy.Set { return set },
		Clock:  c,
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- r.Serve(serving) }()
	defer func() { stop(); <-served }()
	return failed(check.Direct(check.Config{Now: c.Now}, checkLookup(r)).Run(ctx, plan, req.Speed, emit))
}
