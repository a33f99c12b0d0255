package clock

import (
	"net/netip"
	"testing"
	"time"
)

// After Reset a clock is as one that was just made, but for who listens to it.
func TestReset(t *testing.T) {
	raw := time.Duration(0)
	now := release.AddDate(1, 0, 0)
	c := New(Config{
		Machine: Machine{Raw: func() time.Duration { return raw }, Wall: func() time.Time { return time.Unix(0, 0) }},
		Saved:   State{Trusted: now.Add(-time.Hour)},
		Servers: 1,
	})
	var told []Level
	forgotten := 0
	c.OnChange(func(ch Change) {
		if ch.Kind == Forgotten {
			forgotten++
			return
		}
		told = append(told, ch.Level)
	})
	sample := Sample{Server: netip.MustParseAddr("192.0.2.1"), Delay: time.Millisecond, Stratum: 1, RefTime: now}
	observe := func(t time.Time) {
		raw += 10 * time.Second
		sample.Raw, sample.Time = raw, t
		c.Observe(sample)
	}
	observe(now)
	if c.Level() != Fine || len(c.Sources()) != 1 {
		t.Fatalf("level %v, %d sources before", c.Level(), len(c.Sources()))
	}
	c.Reset()
	if c.Level() != None || !c.Floor().Equal(release) || len(c.Sources()) != 0 || !c.Trusted().IsZero() {
		t.Errorf("level %v, floor %v, %d sources, trusted %v", c.Level(), c.Floor(), len(c.Sources()), c.Trusted())
	}
	earlier := release.Add(time.Hour) // which the floor refused before
	observe(earlier)
	if c.Level() != Fine || c.Now().Sub(earlier).Abs() > time.Second {
		t.Errorf("level %v at %v, want fine at %v", c.Level(), c.Now(), earlier)
	}
	if want := []Level{Fine, None, Fine}; len(told) != 3 || told[0] != want[0] || told[1] != want[1] || told[2] != want[2] {
		t.Errorf("told of %v, want %v", told, want)
	}
	c.Reset()
	c.Reset() // of what is not known either
	if forgotten != 3 {
		t.Errorf("told of %d, want 3", forgotten)
	}
}
