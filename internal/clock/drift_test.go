package clock

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestDrift(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		rate   float64 // ppm
		bound  time.Duration
		every  time.Duration
		n      int
		bad    int           // every so many-th estimate is wrong by badBy; 0: none
		badBy  time.Duration // more than the bound
		within float64       // ppm
		known  bool
	}{
		{"two points are none", 50, ms, time.Hour, 2, 0, 0, 0, false},
		{"too short to tell", 50, 10 * ms, time.Minute, 4, 0, 0, 0, false},
		{"slow", 50, 10 * ms, 10 * time.Minute, 100, 0, 0, 0.5, true},
		{"fast", -80, 10 * ms, 1024 * time.Second, 200, 0, 0, 0.5, true},
		{"none", 0, 10 * ms, 1024 * time.Second, 40, 0, 0, 0.5, true},
		{"within an hour, of good servers", 20, ms, time.Minute, 60, 0, 0, 0.5, true},
		{"one in five is bad", 30, 5 * ms, 1024 * time.Second, 60, 5, 80 * ms, 1.5, true},
		{"a machine that is out of order", 2000, ms, time.Minute, 60, 0, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			var d drift
			d.remember(0)
			for i := range tt.n {
				raw := time.Duration(i+1) * tt.every
				p := point{raw: raw, offset: 1e18 + int64(scale(raw, tt.rate/million)), bound: tt.bound}
				p.offset += random.Int64N(int64(tt.bound)/2) - int64(tt.bound)/4
				if tt.bad > 0 && i%tt.bad == tt.bad-1 {
					p.offset += int64(tt.badBy)
				}
				d.add(p)
				if len(d.points) >= driftPoints {
					t.Fatalf("%d points are kept", len(d.points))
				}
			}
			if known := d.residual < unknownDrift; known != tt.known {
				t.Fatalf("residual %.1f ppm, known %t", d.residual*million, known)
			}
			if !tt.known {
				if d.rate != 0 {
					t.Errorf("rate %.2f ppm of nothing", d.rate*million)
				}
				return
			}
			if off := d.rate*million - tt.rate; off < -tt.within || off > tt.within {
				t.Errorf("rate %.2f ppm, want %v", d.rate*million, tt.rate)
			}
			if d.residual < wander {
				t.Errorf("residual %.2f ppm: an oscillator wanders more", d.residual*million)
			}
			// A step: what was measured stays, until it is measured better.
			rate, residual := d.rate, d.residual
			d.restart()
			for i := range 5 {
				d.add(point{raw: time.Duration(tt.n)*tt.every + time.Duration(i+1)*10*time.Minute, offset: int64(i) * int64(20*ms), bound: 20 * ms})
			}
			if d.rate != rate || d.residual != residual {
				t.Errorf("after a step: %.2f ± %.2f ppm, had %.2f ± %.2f", d.rate*million, d.residual*million, rate*million, residual*million)
			}
		})
	}
}

// What the last run measured is where this one begins, but may be another board's.
func TestDriftRemembered(t *testing.T) {
	s := newSim(t, 1, startAt, Config{Saved: State{Drift: -60}})
	s.drift = 100 / million
	s.add(good, good, good)
	for range 20 {
		s.poll()
		s.pass(30 * time.Minute)
		s.honest()
	}
	if got := s.clock.State().Drift; got < 98 || got > 102 {
		t.Errorf("drift %.2f ppm, want 100", got)
	}
}

// The bound of an estimate may be a lie when most servers lie. A few such do not move
// the rate, even those that span the most.
func TestDriftIsRobust(t *testing.T) {
	var d drift
	d.remember(0)
	for i := range 30 {
		wrong := time.Duration(0)
		if i == 0 || i == 29 {
			wrong = 300 * time.Millisecond * time.Duration(i-15)
		}
		raw := time.Duration(i) * 20 * time.Minute
		d.add(point{raw: raw, offset: int64(scale(raw, 10/million) + wrong), bound: time.Millisecond})
		if i == 28 && (d.rate < 9.9/million || d.rate > 10.1/million) {
			t.Errorf("rate %.2f ppm with one bad point, want 10", d.rate*million)
		}
	}
	if d.rate < 9.9/million || d.rate > 10.1/million {
		t.Errorf("rate %.2f ppm, want 10", d.rate*million)
	}
}
