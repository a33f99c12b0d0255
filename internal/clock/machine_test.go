package clock

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The real clocks: raw time goes forward, and what is cheap follows it.
func TestRealMachine(t *testing.T) {
	c := New(Config{})
	for range 1000 {
		before := c.Raw()
		cheap := c.machine.cheap()
		if after := c.Raw(); cheap < before-50*time.Millisecond || cheap > after+50*time.Millisecond {
			t.Fatalf("cheap %v, raw %v to %v", cheap, before, after)
		}
	}
	if off := time.Since(c.Now()).Abs(); off > time.Minute {
		t.Errorf("with nothing known, it is %v beside the system's clock", off)
	}
}

// Raw is read once a second at most, and what is made of it does not run away when
// Go's clock is slewed.
func TestAnchor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, reads := time.Now(), 0
		var m machine
		m.wall, m.goClock, m.start = time.Now, true, start
		m.raw = func() time.Duration { // Go's clock is slewed by 500 ppm
			reads++
			mono := time.Since(start)
			return time.Hour + mono - mono/2000
		}
		m.anchor(0)
		for range 100_000 {
			time.Sleep(time.Millisecond)
			mono := time.Since(start)
			if off := (m.cheap() - (time.Hour + mono - mono/2000)).Abs(); off > 500*time.Microsecond {
				t.Fatalf("after %v it is %v beside raw", mono, off)
			}
		}
		if reads > 101 {
			t.Errorf("raw was read %d times in 100 s", reads)
		}
	})
}

// Everything may be asked and told at once.
func TestAtOnce(t *testing.T) {
	ca := newAuthority(t)
	now := time.Now()
	chain := ca.chain(t, now.AddDate(0, -1, 0).UTC().Format(time.DateTime), now.AddDate(0, 1, 0).UTC().Format(time.DateTime))
	c := New(Config{Built: now.AddDate(0, -1, 0), Servers: 3})
	told := make(chan Level, 100)
	c.OnChange(func(ch Change) {
		select {
		case told <- ch.Level:
		default:
		}
	})
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for range 50 {
				c.Observe(Sample{Server: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Raw: c.Raw(), Time: time.Now(), Delay: time.Millisecond,
					RootDispersion: 100 * time.Millisecond, Stratum: 1})
				c.Check()
				c.Sources()
				c.State()
			}
		})
		all.Go(func() {
			for range 50 {
				p, err := c.Verify("dns.google", chain, ca.roots)
				if err != nil {
					t.Error(err)
				}
				if err := c.Dated(p, time.Now()); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 500 {
				c.Now()
				c.Trusted()
				c.Floor()
				c.Why()
			}
			if err := c.Wait(t.Context(), Fine); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if level := c.Level(); level != Fine {
		t.Errorf("level %v", level)
	}
	last := None
	for len(told) > 0 {
		level := <-told
		if level < last {
			t.Errorf("told of %v after %v", level, last)
		}
		last = level
	}
	if last != Fine {
		t.Errorf("told of %v in the end", last)
	}
}

// At is what the clock would have said of a moment if it had been as it is now.
func TestAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1, startAt, Config{})
		s.wall = -50 * year
		s.add(good, good, good)
		began, truth := time.Now(), s.truth
		time.Sleep(time.Hour)
		s.pass(time.Hour)
		s.poll()
		if off := s.clock.At(began).Sub(truth).Abs(); off > 10*time.Second {
			t.Errorf("wrong by %v", off)
		}
	})
}

// What every decision asks costs no memory.
func TestAllocates(t *testing.T) {
	proved := newBoot(t, Config{})
	proved.proved()
	fine := newBoot(t, Config{})
	fine.add(good, good, good)
	fine.poll()
	for name, c := range map[string]*Clock{
		"real":              New(Config{}),
		"nothing known":     newBoot(t, Config{}).clock,
		"system's clock":    proved.clock,
		"time servers":      fine.clock,
		"system's believed": System(nil, time.Time{}),
	} {
		if n := testing.AllocsPerRun(100, func() {
			c.Now()
			c.Level()
			c.Trusted()
			c.Floor()
			e, raw := c.Estimate(), c.Raw()
			e.At(raw)
			e.Error(raw)
			e.LevelAt(raw)
			e.LeapAt(raw)
			e.RefTime()
			e.RootDispersion(raw)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkTrusted(b *testing.B) {
	c := System(nil, time.Time{})
	c.now.Store(&Estimate{Level: Fine, by: byServers, base: time.Now(), raw: c.Raw(), maxError: time.Hour})
	c.believed = false
	for b.Loop() {
		if c.Trusted().IsZero() {
			b.Fatal("not trusted")
		}
	}
}
