package proxy

import (
	"errors"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// deny ends an attempt: with the policy's reason, or with that of a guard, which
// overrides what the policy said. It writes the attempt's one record.
func (p *Proxy) deny(a *attempt, reason policy.Reason, detail string) {
	p.stats.denied.Add(1)
	p.know(a)
	a.decision.Verdict, a.decision.Reason = policy.Deny, reason
	p.note(a, "", detail)
}

// allow writes the record of an attempt that goes on, after dial if there is one.
func (p *Proxy) allow(a *attempt) {
	p.stats.allowed.Add(1)
	p.note(a, "", a.detail)
}

// failed writes the record of an attempt that may pass but could not be connected, or
// of its denial if that is what dial ran into.
func (p *Proxy) failed(a *attempt, err error) {
	switch fault := faultOf(err); fault {
	case privateAddress:
		p.deny(a, policy.PrivateAddress, err.Error())
	case overLimit:
		if full, ok := errors.AsType[*limitError](err); ok {
			p.reportLimit(full)
		}
		p.deny(a, policy.LimitReached, err.Error())
	default:
		p.stats.failed.Add(1)
		p.note(a, fault.String(), err.Error())
	}
}

// closing is the record of the end of what an attempt was let through to, but for how that
// went.
func (a *attempt) closing() *decision.Record {
	rec := a.record()
	rec.Event, rec.Dest = decision.EventClose, a.dest
	return &rec
}

// closed counts the bytes of a tunnel or an exchange, and writes the record of its end.
func (p *Proxy) closed(rec *decision.Record, end tunnelEnd) {
	p.stats.up.Add(end.Up)
	p.stats.down.Add(end.Down)
	p.noteEnd(rec, end)
}

// noteEnd writes the record of an end.
func (p *Proxy) noteEnd(rec *decision.Record, end tunnelEnd) {
	rec.Up, rec.Down = end.Up, end.Down
	rec.Ms = milliseconds(end.Duration)
	rec.By, rec.Rcode, rec.Detail = end.By.String(), end.Fault, end.Why
	p.deps.Records.Record(*rec)
}

// know fills in whose attempt it is where the policy has not been asked yet.
func (p *Proxy) know(a *attempt) {
	if !a.decided {
		a.decided, a.decision.Class = true, p.deps.Policy().Class(a.client, a.iface)
	}
}

// note writes the attempt's one record, or counts it. The rcode tells a failure from a
// success, so that neither is counted as a repeat of the other: it is the error type
// of RFC 9209, as the client of a CONNECT is told it.
func (p *Proxy) note(a *attempt, rcode, detail string) {
	rec := a.record()
	rec.Rcode = rcode
	if p.deps.Records.Repeat(rec.Key()) {
		return
	}
	rec.Dest, rec.Detail = a.dest, detail
	rec.Ms = milliseconds(time.Since(a.began))
	p.deps.Records.Record(rec)
}

// record is what all records of an attempt have alike.
func (a *attempt) record() decision.Record {
	rec := decision.Record{
		Plane:   a.plane,
		Verdict: a.decision.Verdict,
		Reason:  a.decision.Reason,
		Client:  a.client,
		Name:    strings.Clone(a.name), // it may be part of something larger
		Port:    a.port,
		Proto:   policy.TCP,
	}
	if class := a.decision.Class; class != nil {
		rec.Class = class.Name
	}
	if rule := a.decision.Rule; rule != nil {
		rec.Rule = rule.Pos.String()
		if s := rule.Service; s != nil {
			rec.Service, rec.Row = s.ID, s.Row
		}
	}
	return rec
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
