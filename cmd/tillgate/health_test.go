package main

import (
	"testing"
	"time"

	"tillgate/decision"
	"tillgate/internal/clock"
)

// Trouble is told at once, its end when it has lasted, and a line that comes
// and goes only once.
func TestHealthLog(t *testing.T) {
	const ok, warn, bad = decision.OK, decision.Warn, decision.Bad
	start := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	var log healthLog
	for _, step := range []struct {
		second int
		state  decision.State
		since  int
		want   string
	}{
		{0, ok, 0, ""},
		{5, bad, 5, "bad: text"},
		{6, bad, 5, ""},
		{7, ok, 7, ""},
		{8, bad, 8, ""}, // told already
		{9, ok, 9, ""},
		{18, ok, 9, ""},
		{19, ok, 9, "ok after 4s: text"},
		{20, warn, 20, "warn: text"},
		{21, bad, 21, "bad: text"},
		{22, warn, 22, ""},
		{32, warn, 22, "warn: text"},
		{33, ok, 33, ""},
		{43, ok, 33, "ok after 11s: text"},
	} {
		parts := []decision.Health{{Part: "line", State: step.state, Text: "text"}}
		changes := log.note(parts, start.Add(time.Duration(step.second)*time.Second))
		got := ""
		for _, c := range changes {
			got += c.text
			if want := start.Add(time.Duration(step.since) * time.Second); !c.since.Equal(want) {
				t.Errorf("second %d: the record has %v, want %v", step.second, c.since, want)
			}
		}
		if got != step.want {
			t.Errorf("second %d: told %q, want %q", step.second, got, step.want)
		}
		if want := start.Add(time.Duration(step.since) * time.Second); !parts[0].Since.Equal(want) {
			t.Errorf("second %d: since %v, want %v", step.second, parts[0].Since, want)
		}
	}
}

func TestTimeHealth(t *testing.T) {
	at := func(year, servers int) *clock.Clock {
		return clock.New(clock.Config{Servers: servers, Machine: clock.Machine{Wall: func() time.Time {
			return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		}}})
	}
	want := decision.Health{Part: "time", State: decision.Bad, Text: "not known: the system's clock says 1970-01-01 00:00:00, but " +
		at(1970, 4).Floor().Format(time.DateTime) + " has passed (if it has not: tillgate time reset); see the part ntp"}
	if h := timeHealth(at(1970, 4)); h != want {
		t.Errorf("a clock without a battery: %+v\nwant %+v", h, want)
	}
}
