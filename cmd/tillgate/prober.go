package main

import (
	"context"
	"time"

	"tillgate/decision"
)

// probeEvery is how often an upstream that is away is asked whether it is back.
const probeEvery = 30 * time.Second

// A prober asks the upstream when it is away and nobody else may ask: a store is quiet at
// night, and what was wrong in the evening would still be told in the morning.
type prober struct {
	ask  func(context.Context) error // within the upstream's timeout
	last time.Time
}

// tick asks if it is time to.
func (p *prober) tick(ctx context.Context, parts []decision.Health, now time.Time) {
	for _, h := range parts {
		if h.Part == "upstream" && h.State == decision.Bad && now.Sub(p.last) >= probeEvery {
			p.last = now
			p.ask(ctx) // what comes of it is the part's to tell
		}
	}
}
