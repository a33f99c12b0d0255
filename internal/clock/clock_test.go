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
