package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		}
		if got != step.want {
			t.Errorf("second %d: told %q, want %q", step.second, got, step.want)
		}
		if want := start.Add(time.Duration(step.since) * time.Second); !parts[0].Since.Equal(want) {
			t.Errorf("second %d: since %v, want %v", step.second, parts[0].Since, want)
		}
	}

	// What a part itself says of the time counts.
	known := start.Add(-time.Hour)
	parts := []decision.Health{{Part: "other", State: bad, Since: known}, {Part: "line"}}
	changes := log.note(parts, start.Add(time.Minute))
	if diff := cmp.Diff([]healthChange{{"other", "bad: "}}, changes, cmp.AllowUnexported(healthChange{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !parts[0].Since.Equal(known) {
		t.Errorf("since %v, want %v", parts[0].Since, known)
	}
}

func TestTimeHealth(t *testing.T) {
	at := func(year int) *clock.Clock {
		return clock.System(func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }, time.Time{})
	}
	if h := timeHealth(at(2040)); h.State != decision.OK {
		t.Errorf("a clock that may be right: %+v", h)
	}
	want := decision.Health{Part: "time", State: decision.Bad, Text: "the system's clock says 1970-01-01 00:00:00, but " +
		at(1970).Floor().Format(time.DateTime) + " has passed; by such a clock no certificate is valid, so documented names fail: set it"}
	if h := timeHealth(at(1970)); h != want {
		t.Errorf("a clock without a battery: %+v\nwant %+v", h, want)
	}
}
