package main

import (
	"context"
	"testing"
	"time"

	"tillgate/decision"
)

func TestProber(t *testing.T) {
	asked := 0
	p := prober{ask: func(context.Context) error { asked++; return nil }}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		after time.Duration
		state decision.State
		asked int
	}{
		{0, decision.OK, 0},
		{0, decision.Warn, 0},
		{0, decision.Bad, 1},
		{probeEvery - 1, decision.Bad, 1},
		{1, decision.Bad, 2},
		{probeEvery, decision.OK, 2},
	} {
		now = now.Add(tt.after)
		p.tick(t.Context(), []decision.Health{{Part: "ntp", State: decision.Bad}, {Part: "upstream", State: tt.state}}, now)
		if asked != tt.asked {
			t.Errorf("%v: asked %d times, want %d", tt.state, asked, tt.asked)
		}
	}
}
