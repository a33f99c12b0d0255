package clock

import (
	"strings"
	"testing"
	"time"
)

const year = 365 * 24 * time.Hour

// A start with the network in order, whatever the system's clock says.
func TestBoot(t *testing.T) {
	for _, tt := range []struct {
		name        string
		wall        time.Duration // the system's clock less the truth
		provisional bool
	}{
		{"right", 0, false},
		{"a month ahead, which the certificate does not tell", 30 * 24 * time.Hour, false},
		{"two years back", -2 * year, true},
		{"fifty years back", -50 * year, true},
		{"at the floor, before the certificate", -80 * 24 * time.Hour, true},
		{"five years ahead", 5 * year, true},
		{"four hundred years ahead", 250 * year, true},
	} {
		for _, how := range []string{"Date", "no Date", "servers first"} {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				b := newBoot(t, Config{})
				b.wall = tt.wall
				b.add(good, good, good, good)
				b.level(None)
				if how == "servers first" {
					b.poll()
					b.level(Fine)
					b.near(20 * time.Millisecond)
					if !b.clock.Floor().Equal(release) {
						t.Error("the floor was raised by what time servers alone say")
					}
					b.proved()
					if passed := b.truth.Sub(b.clock.Floor()); passed > 15*time.Second {
						t.Errorf("with a chain that agrees the floor is still %v back", passed)
					}
				} else if tt.provisional {
					p := b.provisional()
					b.level(None)
					if !p.NotBefore.Equal(date(t, "2027-02-01 00:00:00")) || !p.NotAfter.Equal(date(t, "2027-04-20 00:00:00")) {
						t.Errorf("the proof is for %v to %v", p.NotBefore, p.NotAfter)
					}
					if how == "Date" {
						if err := b.clock.Dated(p, b.truth.Truncate(time.Second)); err != nil {
							t.Fatal(err)
						}
						b.level(Coarse)
						b.near(time.Second)
						b.proved()
					}
				} else {
					b.proved()
					b.level(Coarse)
					b.near(tt.wall.Abs() + time.Millisecond)
				}
				if b.clock.Level() < Fine && !b.clock.Trusted().IsZero() {
					t.Errorf("trusted at level %v", b.clock.Level())
				}
				b.poll()
				b.level(Fine)
				b.near(20 * time.Millisecond)
				if off := b.clock.Trusted().Sub(b.truth).Abs(); off > 20*time.Millisecond {
					t.Errorf("trusted: wrong by %v", off)
				}
				if passed := b.truth.Sub(b.clock.Floor()); passed < 0 || passed > 5*time.Second {
					t.Errorf("the floor is %v back", passed)
				}
				b.proved()
			})
		}
	}
}

// Without time servers Coarse has to do.
func TestNoServers(t *testing.T) {
	for _, wall := range []time.Duration{0, -50 * year} {
		b := newBoot(t, Config{})
		b.wall = wall
		if !b.clock.Trusted().IsZero() {
			t.Error("trusted with nothing known")
		}
		if b.clock.Observe(Sample{}); len(b.clock.Sources()) != 0 {
			t.Error("a server that is not configured is heard")
		}
		if wall == 0 {
			b.proved()
		} else if err := b.clock.Dated(b.provisional(), b.truth); err != nil {
			t.Fatal(err)
		}
		b.level(Coarse)
		if off := b.clock.Trusted().Sub(b.truth).Abs(); off > time.Second {
			t.Errorf("trusted: wrong by %v", off)
		}
		b.add(good, good, good)
		if !b.clock.Trusted().IsZero() {
			t.Error("with time servers to ask, Coarse is trusted")
		}
	}
}

// What a quorum says is refused, and said to be, if it cannot be.
func TestBadQuorums(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrong time.Duration
		chain bool // one was seen
		want  string
	}{
		{"before the floor", -year, false, "but 2026-11-22 00:00:00 UTC has passed"},
		{"a year ahead, against the chain", year, true, "contradicts dns.google's certificate"},
		{"before the chain, after the floor", -40 * 24 * time.Hour, true, "contradicts dns.google's certificate"},
	} {
		for _, wall := range []time.Duration{0, -50 * year} {
			b := newBoot(t, Config{})
			b.wall = wall
			want := None
			if tt.chain {
				if p, err := b.verify(); err != nil {
					t.Fatal(err)
				} else if p.Provisional {
					if err := b.clock.Dated(p, b.truth); err != nil {
						t.Fatal(err)
					}
				}
				want = Coarse
			}
			b.add(tt.wrong, tt.wrong, tt.wrong)
			b.poll()
			b.poll()
			b.level(want)
			if got := b.told(Refused); len(got) != 1 || !strings.Contains(got[0].Why, tt.want) {
				t.Errorf("%s: told %+v, want one with %q", tt.name, got, tt.want)
			}
			for _, s := range b.clock.Sources() {
				if s.State != Disbelieved || !strings.Contains(s.Why, tt.want) {
					t.Errorf("%s: %+v", tt.name, s)
				}
			}
			if got := b.clock.State(); len(got.Servers) != 0 || !got.Trusted.Equal(release) {
				t.Errorf("%s: left to the next run: %+v", tt.name, got)
			}
			for _, server := range b.servers {
				server.wrong = 0
			}
			for range 3 {
				b.poll()
			}
			b.level(Fine)
			b.near(50 * time.Millisecond)
		}
	}
}

// A saved time that is years ahead is a floor like any other: the box has no time
// until somebody has it forget it.
func TestSavedAhead(t *testing.T) {
	b := newBoot(t, Config{Saved: State{Trusted: date(t, "2200-01-01 00:00:00")}})
	b.add(good, good, good)
	if _, err := b.verify(); err == nil {
		t.Error("a chain that expired before the floor is good")
	}
	b.poll()
	b.level(None)
	if got := b.told(Refused); len(got) != 1 || !strings.Contains(got[0].Why, "2200-01-01") {
		t.Errorf("told %+v", got)
	}
}
