package proxy

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tillgate/policy"
)

var (
	till1 = netip.MustParseAddr("10.20.1.11")
	till2 = netip.MustParseAddr("10.20.1.12")
	till3 = netip.MustParseAddr("fd10:20:1::11")

	unbounded = limit{1000, 1000}
)

// rules is a policy of which a test says only the services.
func rules(t testing.TB, services string) *policy.Set {
	t.Helper()
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(`
version: 1
packs: []
classes:
  till: {networks: [10.20.1.0/24], services: ["local/*"]}
services:
` + services)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A desk is a registry with the policy and the time that it judges by.
type desk struct {
	*registry
	mu  sync.Mutex
	set *policy.Set
	now time.Time
}

func newDesk(set *policy.Set, guests, tunnels limit) *desk {
	d := &desk{set: set}
	d.registry = newRegistry(guests, tunnels, func(f flow) policy.Decision {
		d.mu.Lock()
		defer d.mu.Unlock()
		f.Now = d.now
		return d.set.Decide(f.Request)
	}, func() time.Time {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.now
	})
	return d
}

func (d *desk) become(set *policy.Set) {
	d.mu.Lock()
	d.set = set
	d.mu.Unlock()
	d.recheck()
}

func (d *desk) at(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = now
}

func to(client netip.Addr, name string) policy.Request {
	return policy.Request{Plane: policy.Connect, Client: client, Name: name, Port: 443, Proto: policy.TCP}
}

func mustAdmit(t testing.TB, d *desk, req policy.Request) *slot {
	t.Helper()
	s, err := d.admit(req)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantCut is nil for a slot that is to go on.
func wantCut(t testing.TB, s *slot, want *cutError) {
	t.Helper()
	cause := context.Cause(s.ctx)
	if want == nil {
		if cause != nil {
			t.Errorf("%s was cut: %v", s.flow.Name, cause)
		}
		return
	}
	var got *cutError
	if !errors.As(cause, &got) || *got != *want {
		t.Errorf("%s: cause %v, want %v", s.flow.Name, cause, want)
	}
}

const pos = `
  - {id: local/pos, reason: test, destinations: [{host: a.example, ports: [tcp/443]}, {host: b.example, ports: [tcp/443]}]}
`

func TestRegistryLimits(t *testing.T) {
	for _, tt := range []struct {
		kind  string
		limit limit
		from  []netip.Addr
		want  []string // the refusal of each
	}{
		{"guest", limit{3, 2}, []netip.Addr{till1, till1, till1, till2, till2, till3}, []string{
			"", "", "2 connections that have asked for nothing of this client already",
			"", "3 connections that have asked for nothing in all already", "3 connections that have asked for nothing in all already",
		}},
		{"tunnel", limit{3, 2}, []netip.Addr{till1, till1, till1, till2, till2, till3}, []string{
			"", "", "2 tunnels of this client already",
			"", "3 tunnels in all already", "3 tunnels in all already",
		}},
		{"guest", limit{}, []netip.Addr{till1}, []string{"0 connections that have asked for nothing in all already"}},
		{"tunnel", limit{5, 0}, []netip.Addr{till1}, []string{"0 tunnels of this client already"}},
	} {
		// Each kind has bounds of its own.
		guests, tunnels := tt.limit, unbounded
		if tt.kind == "tunnel" {
			guests, tunnels = tunnels, guests
		}
		d := newDesk(rules(t, pos), guests, tunnels)
		enter := func(client netip.Addr) (release func(), err error) {
			if tt.kind == "guest" {
				g, err := d.arrive(client, func() { t.Error("a guest was cut") })
				if err != nil {
					return nil, err
				}
				return g.release, nil
			}
			s, err := d.admit(to(client, "a.example"))
			if err != nil {
				return nil, err
			}
			return s.release, nil
		}
		for range 2 { // the second time, all places are free again
			var releases []func()
			for i, client := range tt.from {
				release, err := enter(client)
				var refused *limitError
				switch {
				case err == nil && tt.want[i] == "":
					releases = append(releases, release)
				case err == nil || !errors.As(err, &refused) || refused.Error() != tt.want[i]:
					t.Errorf("%s %d of %v: %v, want %q", tt.kind, i, tt.limit, err, tt.want[i])
				}
			}
			if g, s := d.count(); g+s != len(releases) {
				t.Errorf("%d guests and %d tunnels, want %d", g, s, len(releases))
			}
			for _, release := range releases {
				release()
				release() // does nothing
			}
		}
		if n := len(d.guests.perClient) + len(d.slots.perClient); n != 0 {
			t.Errorf("%d clients are remembered that have gone", n)
		}
	}
}

func TestRegistryRecheck(t *testing.T) {
	d := newDesk(rules(t, pos), unbounded, unbounded)
	a, b := mustAdmit(t, d, to(till1, "a.example")), mustAdmit(t, d, to(till2, "b.example"))
	gone := mustAdmit(t, d, to(till1, "b.example"))
	gone.release()

	d.become(rules(t, pos))
	wantCut(t, a, nil)
	wantCut(t, b, nil)

	d.become(rules(t, `
  - {id: local/pos, reason: test, destinations: [{host: a.example, ports: [tcp/443]}]}
`))
	wantCut(t, a, nil)
	wantCut(t, b, &cutError{byPolicy, "not-documented"})
	if cause := context.Cause(gone.ctx); cause != context.Canceled {
		t.Errorf("a slot that was given back was cut: %v", cause)
	}

	d.become(rules(t, `
  - {id: local/pos, reason: test, destinations: [{host: a.example, ports: [tcp/80]}]}
`))
	wantCut(t, a, &cutError{byPolicy, "port"})
	wantCut(t, b, &cutError{byPolicy, "not-documented"}) // the first cause stays

	if _, n := d.count(); n != 2 {
		t.Errorf("%d slots are held, want 2: one that was cut is held until it is released", n)
	}
}

// A policy that has come between the decision and the slot counts.
func TestRegistryStaleDecision(t *testing.T) {
	d := newDesk(rules(t, pos), unbounded, unbounded)
	wantCut(t, mustAdmit(t, d, to(till1, "c.example")), &cutError{byPolicy, "not-documented"})
}

func TestRegistryDest(t *testing.T) {
	var asked []netip.AddrPort
	r := newRegistry(unbounded, unbounded, func(f flow) policy.Decision {
		asked = append(asked, f.Dest)
		if f.Dest.IsValid() {
			return policy.Decision{Reason: policy.PrivateAddress}
		}
		return policy.Decision{Verdict: policy.Allow}
	}, func() time.Time { return time.Time{} })
	s, err := r.admit(to(till1, "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	wantCut(t, s, nil)
	s.connected(netip.MustParseAddrPort("10.0.0.1:443"))
	wantCut(t, s, &cutError{byPolicy, "private-address"})
	if len(asked) != 2 {
		t.Errorf("asked about %v", asked)
	}
}

func TestRegistryUntil(t *testing.T) {
	noon := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		d := newDesk(rules(t, `
  - {id: local/trial, reason: test, until: 2027-01-31T12:00:00Z, destinations: [{host: a.example, ports: [tcp/443]}, {host: b.example, ports: [tcp/443]}]}
  - {id: local/next, reason: test, until: 2027-02-28T12:00:00Z, destinations: [{host: b.example, ports: [tcp/443]}]}
  - {id: local/pos, reason: test, destinations: [{host: c.example, ports: [tcp/443]}]}
`), unbounded, unbounded)
		go d.watch(ctx)
		d.at(noon.Add(-time.Second))
		a, b, c := mustAdmit(t, d, to(till1, "a.example")), mustAdmit(t, d, to(till1, "b.example")), mustAdmit(t, d, to(till1, "c.example"))
		for _, step := range []struct {
			now  time.Time
			a, b *cutError
		}{
			{noon.Add(-time.Nanosecond), nil, nil},
			{time.Time{}, nil, nil}, // time is not trusted any more
			{noon, &cutError{byUntil, "expired"}, nil},
			{noon.AddDate(0, 1, 0), &cutError{byUntil, "expired"}, &cutError{byUntil, "expired"}},
		} {
			d.at(step.now)
			time.Sleep(untilEvery)
			synctest.Wait()
			wantCut(t, a, step.a)
			wantCut(t, b, step.b)
			wantCut(t, c, nil)
		}
	})
}

// What the registry says becomes how the tunnel ends.
func TestRegistryEndsTunnels(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	other := rules(t, `
  - {id: local/other, reason: test, destinations: [{host: b.example, ports: [tcp/443]}]}
`)
	for _, tt := range []struct {
		name string
		do   func(*desk)
		want tunnelEnd
	}{
		{"policy", func(d *desk) { d.become(other) }, tunnelEnd{Up: 5, By: byPolicy, Why: "not-documented"}},
		{"until", func(d *desk) { d.expire(time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)) }, tunnelEnd{Up: 5, By: byUntil, Why: "expired"}},
		{"stop", func(d *desk) { d.drain(time.Millisecond) }, tunnelEnd{Up: 5, By: byStop}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(rules(t, `
  - {id: local/trial, reason: test, until: 2027-01-31T12:00:00Z, destinations: [{host: a.example, ports: [tcp/443]}]}
`), unbounded, unbounded)
			r := newRig(t, "early", time.Hour)
			s := mustAdmit(t, d, to(till1, "a.example"))
			d.at(time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC))
			go func() {
				end := r.tunnel.run(s.ctx)
				s.release()
				r.ended <- end
			}()
			hear(t, r.server, "early")
			tt.do(d)
			if got := r.wait(t); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}
