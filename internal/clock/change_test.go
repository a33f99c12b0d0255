package clock

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The system's clock, as long as it is what the time rests on, may be set by others.
func TestSystemClockIsSet(t *testing.T) {
	b := newBoot(t, Config{})
	b.proved()
	b.level(Coarse)
	for _, tt := range []struct {
		wall time.Duration
		want Level
	}{
		{10 * time.Second, Coarse},
		{-2 * year, None},
		{-20 * 24 * time.Hour, Coarse},
		{60 * 24 * time.Hour, None},
		{0, Coarse},
	} {
		b.wall = tt.wall
		b.level(tt.want)
		b.near(tt.wall.Abs())
	}
	var levels []Level
	for _, c := range b.told(LevelChanged) {
		levels = append(levels, c.Level)
	}
	if diff := cmp.Diff([]Level{Coarse, None, Coarse, None, Coarse}, levels); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What counts is the last chain.
	b.wall = 0
	b.chain = b.ca.chain(t, "2027-02-20 00:00:00", "2027-05-20 00:00:00")
	b.proved()
	b.wall = 60 * 24 * time.Hour
	b.level(Coarse)

	// It was 40 days behind, inside of the validity of a chain: the next chain tells.
	b = newBoot(t, Config{})
	b.chain = b.ca.chain(t, "2027-01-01 00:00:00", "2027-03-10 00:00:00")
	b.wall = -40 * 24 * time.Hour
	b.proved()
	b.level(Coarse)
	b.chain = b.ca.chain(t, "2027-02-01 00:00:00", "2027-04-20 00:00:00")
	p := b.provisional()
	b.level(None)
	if err := b.clock.Dated(p, b.truth); err != nil {
		t.Fatal(err)
	}
	b.level(Coarse)
	b.near(time.Second)
}

// A chain is proof of when it was seen, not of now: a box whose upstream is not to be
// had for a year keeps its time.
func TestLongWithoutUpstream(t *testing.T) {
	b := newBoot(t, Config{})
	b.proved()
	b.add(good, good, good)
	for range 400 {
		b.poll()
		b.pass(24 * time.Hour)
	}
	b.poll()
	b.level(Fine)
	b.near(50 * time.Millisecond)

	b = newBoot(t, Config{})
	b.proved()
	b.pass(400 * 24 * time.Hour)
	b.level(Coarse)
}

// A proved time is not given up for a chain that is over at it. But one that is not yet
// valid tells that the machine has slept.
func TestChainAgainstProof(t *testing.T) {
	b := newBoot(t, Config{})
	b.proved()
	b.add(good, good, good)
	b.poll()
	b.level(Fine)
	old := b.chain
	b.chain = b.ca.chain(t, "2026-12-01 00:00:00", "2027-02-20 00:00:00")
	if _, err := b.verify(); err == nil {
		t.Error("a chain that is over is good")
	}
	b.level(Fine)
	b.pass(7 * 24 * time.Hour) // in which nobody answers
	b.chain = b.ca.chain(t, "2026-12-01 00:00:00", "2027-03-05 00:00:00")
	if _, err := b.verify(); err == nil {
		t.Error("a chain that is over, but not before the floor, is good")
	}
	b.level(Coarse)
	b.near(20 * time.Second)
	b.poll()

	b.chain = old
	b.sleep(90 * 24 * time.Hour)
	b.poll2() // the servers alone are refused: the chain that was seen was not valid then
	b.level(Fine)
	if got := b.told(Refused); len(got) != 1 {
		t.Fatalf("told %+v", got)
	}
	b.wall = -50 * year
	b.chain = b.ca.chain(t, "2027-05-01 00:00:00", "2027-07-20 00:00:00")
	b.provisional()
	b.level(None)
	b.poll2()
	b.level(Fine)
	b.near(20 * time.Millisecond)
	b.proved()
}

// What time servers said long ago, and no chain ever agreed with, is nothing to set
// against a chain.
func TestChainAgainstOldQuorum(t *testing.T) {
	b := newBoot(t, Config{})
	b.lied = true
	b.add(year, year, year)
	b.poll()
	b.level(Fine)
	b.pass(claimLife + time.Minute)
	b.proved()
	b.level(Coarse)
	b.near(time.Second)
}

// Who is told a change and never comes back does not fill the memory.
func TestChangesWait(t *testing.T) {
	b := newBoot(t, Config{})
	heard, release := make(chan Change), make(chan struct{})
	b.clock.OnChange(func(c Change) { heard <- c; <-release })
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.proved()
	}()
	<-heard
	b.clock.mu.Lock()
	for range 1000 {
		b.clock.note(Change{Kind: Refused})
	}
	if n := len(b.clock.changes); n != maxChanges {
		t.Errorf("%d changes wait, want %d", n, maxChanges)
	}
	b.clock.mu.Unlock()
	close(release)
	for range maxChanges {
		<-heard
	}
	<-done
}

// poll2 polls twice, without looking whether the bound holds: the machine has slept.
func (s *sim) poll2() {
	for range 2 {
		for _, server := range s.servers {
			s.clock.Observe(s.ask(server))
		}
	}
}

// Changes are told in their order and one at a time, to all, and whoever hears of one
// may ask and tell the clock.
func TestOnChange(t *testing.T) {
	b := newBoot(t, Config{})
	var first, second []Level
	b.clock.OnChange(func(c Change) {
		if c.Kind != LevelChanged {
			return
		}
		if got := b.clock.Level(); got < c.Level {
			t.Errorf("told of %v at %v", c.Level, got)
		}
		first = append(first, c.Level)
		if c.Level == Coarse {
			b.poll()
			if len(second) != 0 {
				t.Error("a change within a change is told before the first is told to all")
			}
		}
	})
	b.clock.OnChange(func(c Change) {
		if c.Kind == LevelChanged {
			second = append(second, c.Level)
		}
	})
	b.add(good, good, good)
	b.proved()
	want := []Level{Coarse, Fine}
	if !cmp.Equal(first, want) || !cmp.Equal(second, want) {
		t.Errorf("told %v and %v, want %v", first, second, want)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoot(t, Config{})
		b.add(good, good, good)
		var samples []Sample // taken before anybody else looks at the world
		for _, server := range b.servers {
			samples = append(samples, b.ask(server))
		}
		if err := b.clock.Wait(t.Context(), None); err != nil {
			t.Error(err)
		}
		done := make(chan Level, 2)
		for _, level := range []Level{Coarse, Fine} {
			go func() {
				if err := b.clock.Wait(t.Context(), level); err != nil {
					t.Error(err)
				}
				done <- level
			}()
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- b.clock.Wait(ctx, Fine) }()
		synctest.Wait()
		b.proved()
		if got := <-done; got != Coarse {
			t.Errorf("who waits for %v is let go at Coarse", got)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		for _, sample := range samples {
			b.clock.Observe(sample)
		}
		if got := <-done; got != Fine {
			t.Errorf("who waits for %v is let go at Fine", got)
		}
	})
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		is   fmt.Stringer
		want string
	}{
		{None, "none"}, {Fine, "fine"},
		{LevelChanged, "level"}, {LeapPassed, "leap-passed"},
		{LeapNone, "none"}, {Unsynchronised, "unsynchronised"},
		{Pending, "pending"}, {Disbelieved, "refused"},
	} {
		if got := tt.is.String(); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}
