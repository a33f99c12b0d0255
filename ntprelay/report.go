package ntprelay

import (
	"sync/atomic"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// Stats are counts since the start.
type Stats struct {
	Requests uint64 // that were read
	Answered uint64 // with the time
	NoTime   uint64 // answered that there is none
	Denied   uint64 // by the policy: no answer
	Dropped  uint64 // no answer: over the rate, or no request for the time
	Unsent   uint64 // answers that the kernel did not take
	Parked   int    // requests that wait for the first synchronisation now
	Clients  int    // that are remembered
}

type stats struct {
	requests, answered, noTime, denied, dropped, unsent atomic.Uint64
}

// Stats returns what was counted.
func (r *Relay) Stats() Stats {
	return Stats{
		Requests: r.stats.requests.Load(),
		Answered: r.stats.answered.Load(),
		NoTime:   r.stats.noTime.Load(),
		Denied:   r.stats.denied.Load(),
		Dropped:  r.stats.dropped.Load(),
		Unsent:   r.stats.unsent.Load(),
		Parked:   r.parked.len(),
		Clients:  r.clients.len(),
	}
}

// Health says whether the box has the time, and whom it has it of. With nobody to have it of
// the relay is off: its clients are told that there is no time.
func (r *Relay) Health() decision.Health {
	h := r.sourcesHealth()
	switch {
	case !r.hasServers(r.deps.Policy(), r.deps.Clock.Trusted()):
		h.Text = "off: " + h.Text
	case len(r.cfg.Listen) == 0:
		h.Text += "; listen.ntp is empty, so no client is served"
	}
	return h
}

// drop leaves a request without an answer.
func (r *Relay) drop(q *request, why policy.Reason) {
	if why == policy.RateLimited || why == policy.Malformed {
		r.stats.dropped.Add(1)
	} else {
		r.stats.denied.Add(1)
	}
	rec := q.record(policy.Deny, why)
	if r.deps.Records.Repeat(rec.Key()) {
		return
	}
	q.explain(&rec)
	if why == policy.Malformed {
		rec.Detail = q.fault.String()
	}
	r.deps.Records.Record(rec)
}

// noteAnswer records an answer, or counts it, and learns what the client's clock shows. That
// the box does not know the time denies the request.
func (r *Relay) noteAnswer(q *request, h *header, waited time.Duration) {
	rec := q.record(q.decision.Verdict, q.decision.Reason)
	if h.leap == unknown {
		r.stats.noTime.Add(1)
		rec.Verdict, rec.Reason = policy.Deny, policy.TimeUntrusted
	} else {
		r.stats.answered.Add(1)
		if offset := q.transmit.sub(h.receive); q.transmit != 0 && r.clients.told(q.client, offset, q.raw) {
			rec.OffsetMs = milliseconds(offset)
		}
	}
	if r.deps.Records.Repeat(rec.Key()) {
		return
	}
	q.explain(&rec)
	rec.Ms = milliseconds(waited)
	r.deps.Records.Record(rec)
}

// record is what the records of a client's requests with the same outcome have alike.
func (q *request) record(verdict policy.Verdict, reason policy.Reason) decision.Record {
	return decision.Record{
		Plane:   policy.NTP,
		Verdict: verdict,
		Reason:  reason,
		Client:  q.client,
		Proto:   policy.UDP,
	}
}

// explain fills in what is looked up for those records that are written.
func (q *request) explain(rec *decision.Record) {
	if class := q.decision.Class; class != nil {
		rec.Class = class.Name
	}
	if rule := q.decision.Rule; rule != nil {
		rec.Rule = rule.Pos.String()
		if s := rule.Service; s != nil {
			rec.Service, rec.Row = s.ID, s.Row
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
