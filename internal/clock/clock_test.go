package clock

import (
	"testing"
	"time"
)

func TestLevel(t *testing.T) {
	built := release.AddDate(0, 1, 0)
	for _, tt := range []struct {
		name  string
		now   time.Time
		built time.Time
		want  Level
	}{
		{"epoch", time.Unix(0, 0), time.Time{}, None},
		{"just before the release", release.Add(-time.Nanosecond), time.Time{}, None},
		{"at the release", release, time.Time{}, Fine},
		{"after the release, before the build", release, built, None},
		{"after the build", built.Add(time.Hour), built, Fine},
		{"an old build stamp lowers nothing", release.Add(-time.Hour), time.Unix(0, 0), None},
	} {
		c := System(func() time.Time { return tt.now }, tt.built)
		if got := c.Level(); got != tt.want {
			t.Errorf("%s: level %v, want %v", tt.name, got, tt.want)
		}
		if trusted := c.Trusted(); trusted.IsZero() != (tt.want != Fine) {
			t.Errorf("%s: trusted time %v at level %v", tt.name, trusted, tt.want)
		}
		if !c.Now().Equal(tt.now) {
			t.Errorf("%s: now %v, want %v", tt.name, c.Now(), tt.now)
		}
	}
}

// A clock that believes the system's judges chains by it, and learns nothing from them.
func TestSystemVerifies(t *testing.T) {
	b := newBoot(t, Config{})
	for _, tt := range []struct {
		now  string
		good bool
	}{
		{startAt, true},
		{"2027-06-01 00:00:00", false},
		{"1970-01-01 00:00:00", false},
	} {
		c := System(func() time.Time { return date(t, tt.now) }, time.Time{})
		before := c.Level()
		p, err := c.Verify("dns.google", b.chain, b.ca.roots)
		if (err == nil) != tt.good || p.Provisional || p.NotAfter.IsZero() == tt.good || c.Level() != before {
			t.Errorf("%s: %+v, %v, level %v, was %v", tt.now, p, err, c.Level(), before)
		}
		if err := c.Dated(p, date(t, startAt)); (err == nil) != tt.good || !c.Now().Equal(date(t, tt.now)) {
			t.Errorf("%s: %v, now %v", tt.now, err, c.Now())
		}
	}
}
