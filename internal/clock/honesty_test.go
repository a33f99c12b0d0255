package clock

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const good, startAt = 0, "2027-03-01 12:00:00"

// Whatever the network does, and whatever less than half of the servers that answered
// say, the truth is inside of the bound at every step.
func TestBoundHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSim(t, rapid.Uint64().Draw(rt, "seed"), startAt, Config{Quorum: 3})
		s.home = rapid.Float64Range(-90, 90).Draw(rt, "drift") / million
		s.drift, s.wander = s.home, 7/million
		n := rapid.IntRange(1, 7).Draw(rt, "servers")
		liars := rapid.IntRange(0, (n-1)/2).Draw(rt, "liars")
		for i := range n {
			s.add(good)
			server := s.servers[i]
			server.out, server.back = s.random(300*time.Millisecond), s.random(300*time.Millisecond)
			server.jitter = s.random(200 * time.Millisecond)
			server.root = s.random(50 * time.Millisecond)
			server.wrong = s.random(2*server.root+1) - server.root
		}
		for range rapid.IntRange(5, 60).Draw(rt, "polls") {
			for i := range liars { // sometimes just beside the truth, so that they overlap
				s.servers[n-1-i].wrong = s.random(time.Second) - time.Second/2
			}
			s.poll()
			s.pass(s.random(2 * 1024 * time.Second))
			s.honest()
		}
		if e := s.clock.Estimate(); e.Stratum == 0 && liars == 0 {
			rt.Fatalf("%d honest servers make no estimate", n)
		}
	})
}

// The estimate is as good as the network, not only its bound.
func TestAccuracy(t *testing.T) {
	s := newSim(t, 1, startAt, Config{})
	s.drift = 40 / million
	s.add(good, 3*time.Millisecond, -3*time.Millisecond, good)
	for range 40 {
		s.poll()
		s.pass(1024 * time.Second)
	}
	s.level(Fine)
	if off := s.off().Abs(); off > 10*time.Millisecond {
		t.Errorf("after 40 polls of good servers: wrong by %v", off)
	}
	if got := s.clock.State().Drift; got < 39 || got > 41 {
		t.Errorf("drift %.2f ppm, want 40", got)
	}
}

// A week without the Internet: the bound stays true, the time stops being Fine when it
// may be wrong by more than max_error, and is Fine again after a single poll.
func TestOutage(t *testing.T) {
	for _, drift := range []float64{-95, -12, 0, 60, 100} {
		t.Run(fmt.Sprintf("%v ppm", drift), func(t *testing.T) {
			s := newSim(t, 2, startAt, Config{MaxError: time.Second})
			s.home, s.wander = drift/million, 7/million
			s.drift = s.home
			s.add(good, good, good, good)
			for range 40 {
				s.poll()
				s.pass(1024 * time.Second)
			}
			s.level(Fine)
			s.told(LevelChanged)
			var lost time.Duration
			for outage := time.Duration(0); outage < 7*24*time.Hour; outage += 10 * time.Minute {
				s.pass(10 * time.Minute)
				s.honest()
				s.clock.Check()
				if level := s.clock.Level(); level == Fine && s.clock.Estimate().Error(s.raw) > time.Second {
					t.Fatalf("after %v it is Fine with an error of %v", outage, s.clock.Estimate().Error(s.raw))
				} else if level < Fine && lost == 0 {
					lost = outage
				}
			}
			s.level(Coarse)
			if lost < 8*time.Hour || lost > 24*time.Hour {
				t.Errorf("Fine was lost after %v: the drift was measured, so it should last", lost)
			}
			if !s.clock.Trusted().IsZero() {
				t.Error("a Coarse time is trusted, though there are servers to ask")
			}
			if got := s.told(LevelChanged); len(got) != 1 || got[0].Was != Fine || got[0].Level != Coarse {
				t.Errorf("told %+v", got)
			}
			s.poll()
			s.level(Fine)
			if off := s.off().Abs(); off > 20*time.Millisecond {
				t.Errorf("after the outage: wrong by %v", off)
			}
			if got := s.told(LevelChanged); len(got) != 1 || got[0].Was != Coarse || got[0].Level != Fine {
				t.Errorf("told %+v", got)
			}
		})
	}
}

// An outage before the drift is known is judged by the worst oscillator.
func TestOutageEarly(t *testing.T) {
	s := newSim(t, 3, startAt, Config{})
	s.drift = 100 / million
	s.add(good, good, good)
	s.poll()
	s.level(Fine)
	for range 100 {
		s.pass(2 * time.Minute)
		s.honest()
	}
	s.level(Coarse)
}

// A machine that was suspended, or a truth that jumps for all servers at once.
func TestStep(t *testing.T) {
	for _, tt := range []struct {
		name string
		jump time.Duration
	}{
		{"suspended for an hour", time.Hour},
		{"suspended for two months", 60 * 24 * time.Hour},
		{"all servers set back by 3 s", -3 * time.Second},
		{"by more than the bound, but little", 200 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSim(t, 4, startAt, Config{})
			s.add(good, good, good)
			for range 20 {
				s.poll()
				s.pass(1024 * time.Second)
			}
			s.told(Stepped)
			s.truth = s.truth.Add(tt.jump)
			ask := func() (again bool) {
				for _, server := range s.servers {
					again = s.clock.Observe(s.ask(server)) || again
					s.pass(time.Second)
				}
				return again
			}
			if !ask() {
				t.Error("servers that all contradict what is known are not to be asked again soon")
			}
			if off := s.off(); off.Abs() < tt.jump.Abs()-10*time.Millisecond {
				t.Errorf("one sample of each moved the time: off by %v", off)
			}
			ask()
			ask()
			s.honest()
			s.level(Fine)
			steps := s.told(Stepped)
			if len(steps) != 1 || (steps[0].Step-tt.jump).Abs() > 50*time.Millisecond {
				t.Errorf("told %+v, want one step of %v", steps, tt.jump)
			}
			for range 5 {
				s.pass(1024 * time.Second)
				s.poll()
			}
			if steps := s.told(Stepped); len(steps) != 0 {
				t.Errorf("stepped again: %+v", steps)
			}
		})
	}
}

// The quorum has to contradict us twice in a row: all servers may be asked at once,
// through the same bad line.
func TestStepIsConfirmed(t *testing.T) {
	s := newSim(t, 4, startAt, Config{})
	s.add(good, good, good)
	s.poll()
	s.truth = s.truth.Add(time.Hour)
	again := false
	for range 2 {
		for _, server := range s.servers {
			again = s.clock.Observe(s.ask(server))
		}
	}
	if off := s.off().Abs(); off < time.Hour-time.Second || !again {
		t.Errorf("at the first time it is off by %v, again %t", off, again)
	}
	s.clock.Observe(s.ask(s.servers[0]))
	s.honest()
	if off := s.off().Abs(); off > 20*time.Millisecond {
		t.Errorf("at the second it is off by %v", off)
	}
}

// An estimate whose error may be above max_error is none to serve from, and no proof
// that a time has passed.
func TestPoorServers(t *testing.T) {
	b := newBoot(t, Config{MaxError: 100 * time.Millisecond})
	b.proved()
	b.add(good, good, good)
	for _, server := range b.servers {
		server.root = 200 * time.Millisecond
	}
	b.poll()
	b.level(Coarse)
	if e := b.clock.Estimate(); e.Level != Coarse || e.Stratum != 3 || !b.clock.Floor().Equal(release) {
		t.Errorf("%+v", e)
	}
	for _, server := range b.servers {
		server.root = 0
	}
	b.poll()
	b.level(Fine)
}

// One bad sample of each server moves nothing.
func TestGlitch(t *testing.T) {
	s := newSim(t, 5, startAt, Config{})
	s.add(good, good, good)
	for range 5 {
		s.poll()
		s.pass(64 * time.Second)
	}
	for _, server := range s.servers {
		server.wrong = 5 * time.Second
		s.clock.Observe(s.ask(server))
		s.honest()
		server.wrong = 0
	}
	s.pass(64 * time.Second)
	s.poll()
	if off := s.off().Abs(); off > 10*time.Millisecond {
		t.Errorf("wrong by %v", off)
	}
	if steps := s.told(Stepped); len(steps) != 0 {
		t.Errorf("told %+v", steps)
	}
}

// The seconds of NTP's timestamps begin again in 2036. A server whose time was read as
// of the era before is understood, and so is a century that is no leap year.
func TestEras(t *testing.T) {
	for _, start := range []string{"2036-02-07 06:00:00", "2100-02-28 23:30:00", "2104-02-26 09:00:00"} {
		for _, wrapped := range []bool{false, true} {
			s := newSim(t, 6, start, Config{Built: date(t, start).AddDate(-60, 0, 0)})
			s.add(good, good, good)
			for range 8 {
				for _, server := range s.servers {
					sample := s.ask(server)
					if wrapped && sample.Time.After(date(t, "2036-02-07 06:28:16")) {
						sample.Time = sample.Time.Add(-era)
					}
					s.clock.Observe(sample)
					s.honest()
				}
				s.pass(10 * time.Minute)
			}
			s.level(Fine)
			if off := s.off().Abs(); off > 100*time.Millisecond {
				t.Errorf("%s, wrapped %t: wrong by %v", start, wrapped, off)
			}
		}
	}
}
