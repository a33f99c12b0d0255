package main

import (
	"context"
	"net/netip"
	"time"

	"tillgate/console"
	"tillgate/decision"
)

// What an explanation shows of the client's own attempts.
const (
	attemptsSince  = time.Hour       // ago
	attemptsWithin = 2 * time.Second // else none: the verdict is what was asked for
	maxAttempts    = 5
)

// attempts returns the latest records of a client about a name, which may have only an
// address that it was given for that, or about an address.
func attempts(ctx context.Context, c *console.Client, e console.Explanation) []decision.Record {
	ctx, cancel := context.WithTimeout(ctx, attemptsWithin)
	defer cancel()
	var q console.LogQuery
	q.Since = time.Now().Add(-attemptsSince)
	client := e.Client.Unmap().WithZone("")
	q.Client = netip.PrefixFrom(client, client.BitLen())
	addr, notAddr := netip.ParseAddr(e.Name)
	story := newStory()
	var latest []decision.Record
	for line, err := range c.Log(ctx, q) {
		switch {
		case err != nil:
			return nil
		case line.Damage != nil:
			continue
		}
		story.hear(&line.Record)
		if !story.isAbout(&line.Record, e.Name) && (notAddr != nil || line.Record.Dest.Addr().Unmap() != addr) {
			continue
		}
		if p := line.Record.Port; notAddr == nil && e.Port != 0 && p != 0 && p != e.Port {
			continue // of an address, another port is another matter
		}
		if len(latest) == maxAttempts {
			latest = append(latest[:0], latest[1:]...)
		}
		latest = append(latest, line.Record)
	}
	return latest
}

// attempted is an attempt in one line, without the client.
func attempted(s *story, r *decision.Record) string {
	verdict, text := r.Verdict.String(), s.why(r, time.Local)
	if r.Event == decision.EventClose {
		verdict, text = string(r.Event), howItEnded(r, time.Local)
	}
	s.hear(r)
	return r.Time.Local().Format(time.TimeOnly) + " " + verdict + " " + target(r) + ": " + text
}
