package ntprelay

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/decision"
	"tillgate/internal/clock"
)

const worldStart = "2027-01-05 07:00:00"

var fourNames = Config{Servers: []string{"a.example", "b.example", "c.example", "d.example"}}

// four makes a world with a good server of each of fourNames.
func four(t testing.TB, truth string) *world {
	w := newWorld(t, truth, fourNames)
	for i, name := range fourNames.Servers {
		w.add(name, fmt.Sprintf("5.5.5.%d", i+1))
	}
	return w
}

// From the start to the first good answer it takes one look-up and one round trip of the
// servers that make the quorum, and no wait besides.
func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		for i, addr := range []string{"5.5.5.1", "5.5.5.2", "5.5.5.3", "5.5.5.4"} {
			w.server(addr).out = time.Duration(i+1) * 10 * time.Millisecond
		}
		w.serve()
		defer w.end()
		if took := w.untilFine(time.Minute); took != 40*time.Millisecond {
			t.Errorf("the time was known after %v; the third server answers after 40 ms", took)
		}
	})
}

// The servers of the last run are asked before names can be looked up, as far as they are
// still named.
func TestFirstSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		w.add("gone.example", "7.7.7.7")
		saved := []clock.SavedServer{{Name: "gone.example", Addr: netip.MustParseAddr("7.7.7.7")},
			{Name: "d.example", Addr: netip.MustParseAddr("10.0.0.7")}}
		for i, name := range fourNames.Servers[:3] {
			saved = append(saved, clock.SavedServer{Name: name, Addr: netip.MustParseAddr(fmt.Sprintf("5.5.5.%d", i+1))})
		}
		w.relay.poller.cfg.Saved = saved
		w.dnsDown = true
		w.serve()
		defer w.end()
		if took := w.untilFine(time.Minute); took != 20*time.Millisecond {
			t.Errorf("the time was known after %v", took)
		}
		w.change(func() { w.dnsDown = false })
		w.pass(2*time.Hour, time.Minute)
		if n := len(w.server("5.5.5.4").at); n == 0 {
			t.Error("the name that could not be looked up at first is never asked")
		}
		if n := len(w.server("7.7.7.7").at); n != 0 {
			t.Errorf("a server that is not named any more was asked %d times", n)
		}
	})
}

// A quorum is not made smaller by who keeps names from being looked up.
func TestSavedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		w.relay.poller.cfg.Saved = []clock.SavedServer{{Name: "a.example", Addr: netip.MustParseAddr("5.5.5.1")}}
		w.dnsDown = true
		w.serve()
		defer w.end()
		w.pass(time.Hour, time.Minute)
		if w.level() == clock.Fine {
			t.Error("one server of four was believed")
		}
		w.change(func() { w.dnsDown = false })
		w.untilFine(64*time.Second + 10*time.Second)
	})
}

// A day with good servers: the time is known all the time, and few packets are sent.
func TestManners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		for _, s := range w.servers {
			s.jitter = 30 * time.Millisecond // more one way than the other, each time
		}
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(2*time.Hour, 20*time.Second)
		w.worst = 0
		w.pass(22*time.Hour, 20*time.Second)
		if w.unsynced > 0 || w.answers < 4000 || w.worst > 30*time.Millisecond {
			t.Errorf("%d answers, worst off by %v; %d without the time", w.answers, w.worst, w.unsynced)
		}
		if h := w.relay.sourcesHealth(); h.State != decision.OK || !strings.HasPrefix(h.Text, "4 of 4 time servers agree") {
			t.Errorf("health %v: %s", h.State, h.Text)
		}
		for addr, s := range w.servers {
			if n := s.between(0, 10*time.Second); n != burst {
				t.Errorf("%v was asked %d times at first", addr, n)
			}
			if n := s.between(0, time.Hour); n > 14 {
				t.Errorf("%v was asked %d times in the first hour", addr, n)
			}
			for h := time.Hour; h < 24*time.Hour; h += time.Hour {
				if n := s.between(h, h+time.Hour); n < 3 || n > 5 {
					t.Errorf("%v was asked %d times in hour %v", addr, n, h)
				}
			}
		}
		phases := make(map[time.Duration]bool)
		for _, s := range w.servers {
			phases[s.at[len(s.at)-1].Truncate(time.Second)] = true
		}
		if len(phases) < 3 {
			t.Errorf("the servers are asked all at once: %v", phases)
		}
	})
}

// One of four lies: it is named, and moves nothing.
func TestLiar(t *testing.T) {
	for _, wrong := range []time.Duration{2 * time.Second, -400 * 24 * time.Hour, 200 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := four(t, worldStart)
			w.server("5.5.5.2").wrong = wrong
			w.serve()
			defer w.end()
			w.untilFine(time.Second)
			w.pass(12*time.Hour, time.Minute)
			if w.unsynced > 0 || w.worst > 20*time.Millisecond {
				t.Errorf("worst off by %v; %d answers without the time", w.worst, w.unsynced)
			}
			h := w.relay.sourcesHealth()
			if h.State != decision.Warn || !strings.HasPrefix(h.Text, "3 of 4 time servers agree; 5.5.5.2 (b.example): it is ") {
				t.Errorf("health %v: %s", h.State, h.Text)
			}
		})
	}
}

// All of them lie by the same years, to before the floor.
func TestAllLie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		for _, s := range w.servers {
			s.wrong = -3 * 366 * 24 * time.Hour
		}
		w.serve()
		defer w.end()
		w.pass(time.Hour, time.Minute)
		if w.level() == clock.Fine || w.answers > 0 {
			t.Errorf("they were believed: %s", w.relay.deps.Clock.Why())
		}
		if h := w.relay.sourcesHealth(); h.State != decision.Bad || h.Text == "" {
			t.Errorf("health %v: %s", h.State, h.Text)
		}
		for addr, s := range w.servers {
			if n := s.between(10*time.Second, time.Hour); n > 64 {
				t.Errorf("%v was asked %d times in an hour", addr, n)
			}
		}
	})
}

// Two of five do not answer: the others suffice, and the dead are not asked more often
// than the living.
func TestDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldStart, Config{Servers: []string{"a.example", "b.example", "c.example", "5.5.5.4", "5.5.5.5"}})
		for i, name := range w.relay.cfg.Servers {
			w.add(name, fmt.Sprintf("5.5.5.%d", i+1)).dead = i%2 == 1
		}
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(12*time.Hour, time.Minute)
		for _, addr := range []string{"5.5.5.2", "5.5.5.4"} {
			for h := time.Hour; h < 12*time.Hour; h += time.Hour {
				if n := w.server(addr).between(h, h+time.Hour); n > 5 {
					t.Errorf("%s was asked %d times in hour %v", addr, n, h)
				}
			}
		}
		if n := w.lookups["b.example"]; n < 8 || n > 14 {
			t.Errorf("the name of a dead server was looked up %d times in 12 hours", n)
		}
		var silent []string
		for _, s := range w.relay.Servers() {
			if s.State == Silent {
				silent = append(silent, s.Name)
			}
		}
		if fmt.Sprint(silent) != "[5.5.5.4 b.example]" {
			t.Errorf("silent: %v", silent)
		}
	})
}

// A server that says RATE is asked half as often each time, and never sooner than it
// says; one that says DENY not until its name has been looked up again. Both are records.
func TestKisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := append([]string{"rate.example", "poll.example", "deny.example"}, fourNames.Servers...)
		w := newWorld(t, worldStart, Config{Servers: names})
		for i, name := range names {
			w.add(name, fmt.Sprintf("5.5.5.%d", i+1))
		}
		rate, poll, deny := w.server("5.5.5.1"), w.server("5.5.5.2"), w.server("5.5.5.3")
		rate.kiss = &kissError{code: "RATE", poll: time.Second}
		poll.kiss = &kissError{code: "RATE", poll: 512 * time.Second}
		deny.kiss = &kissError{code: "DENY"}
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(50*time.Minute, time.Minute)
		if n := len(deny.at); n != 1 {
			t.Errorf("who said DENY was asked %d times", n)
		}
		if n := len(w.records.take()); n < 4 {
			t.Errorf("%d records of kisses", n)
		}
		w.pass(24*time.Hour, time.Minute)
		if n := len(deny.at); n < 20 || n > 30 {
			t.Errorf("who said DENY was asked %d times in 25 hours", n)
		}
		least := 128 * time.Second
		for i, at := range rate.at[1:] {
			if gap := at - rate.at[i]; gap < least {
				t.Errorf("who said RATE was asked again after %v, not %v", gap, least)
			}
			least = min(2*least, maxLeast)
		}
		least = 512 * time.Second
		for i, at := range poll.at[1:] {
			if gap := at - poll.at[i]; gap < least {
				t.Errorf("who said RATE and 512 s was asked again after %v, not %v", gap, least)
			}
			least = min(2*least, maxLeast)
		}
		if len(rate.at) < 6 || len(poll.at) < 3 {
			t.Errorf("they were asked %d and %d times", len(rate.at), len(poll.at))
		}
	})
}

// A box that defends a floor that is yet to come has no time, and no names since no
// certificate is good then. When it is made to forget, it has both at once, though that
// is not the first alarm.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		w.relay.deps.Clock = clock.New(clock.Config{
			Machine: clock.Machine{Raw: w.raw, Wall: w.wallTime},
			Saved:   clock.State{Trusted: w.truth0.AddDate(3, 0, 0)},
		})
		w.relay.poller.deps.Clock = w.relay.deps.Clock
		w.relay.poller.cfg.Saved = []clock.SavedServer{{Name: "a.example", Addr: netip.MustParseAddr("5.5.5.1")}}
		w.dnsDown = true
		w.serve()
		defer w.end()
		w.pass(time.Hour, time.Minute)
		if w.level() != clock.None || w.answers > 0 {
			t.Fatalf("level %v, %d answers, before the floor", w.level(), w.answers)
		}
		w.change(func() { w.dnsDown = false })
		w.relay.deps.Clock.Reset()
		w.untilFine(time.Second)
		w.relay.deps.Clock.Reset()
		w.untilFine(time.Second)
	})
}

// A kiss is not signed. Who was on the way for a moment and made each server say that it
// wants to be left alone for days does not take the time from the box.
func TestKissesOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(3*time.Hour, time.Minute)
		w.change(func() {
			for _, s := range w.servers {
				s.kiss = &kissError{code: "RATE", poll: time.Second << maxPoll}
			}
		})
		w.pass(30*time.Minute, time.Minute)
		w.change(func() {
			for _, s := range w.servers {
				s.kiss = nil
			}
		})
		w.pass(36*time.Hour, time.Minute)
		if w.unsynced > 0 {
			t.Errorf("%d answers without the time", w.unsynced)
		}
	})
}
