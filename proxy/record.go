package proxy

import (
	"net/netip"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// deny ends an attempt: with the policy's reason, or with that of a guard, which
// overrides what the policy said. It writes the attempt's one record.
func (p *Proxy) deny(a *attempt, reason policy.Reason, detail string) {
	p.know(a)
	a.decision.Verdict, a.decision.Reason = policy.Deny, reason
	p.note(a, netip.AddrPort{}, "", detail)
}

// allow writes the record of an attempt that is connected to dest.
func (p *Proxy) allow(a *attempt, dest netip.AddrPort) {
	p.note(a, dest, "", a.detail)
}

// failed writes the record of an attempt that may pass but could not be connected. An
// address that no rule allows is a denial.
func (p *Proxy) failed(a *attempt, err error) {
	fault := faultOf(err)
	if fault == privateAddress {
		p.deny(a, policy.PrivateAddress, err.Error())
		return
	}
	p.note(a, netip.AddrPort{}, fault.String(), err.Error())
}

// know fills in whose attempt it is where the policy has not been asked yet.
func (p *Proxy) know(a *attempt) {
	if a.set == nil {
		a.set = p.deps.Policy()
		a.decision.Class = a.set.Class(a.client, a.iface)
	}
}

// note writes the attempt's one record, or counts it. The rcode tells a failure from a
// success, so that neither is counted as a repeat of the other: it is the error type
// of RFC 9209, as the client of a CONNECT is told it.
func (p *Proxy) note(a *attempt, dest netip.AddrPort, rcode, detail string) {
	rec := a.record()
	rec.Rcode = rcode
	if p.deps.Records.Repeat(rec.Key()) {
		return
	}
	rec.Name = strings.Clone(rec.Name)
	rec.Dest, rec.Detail = dest, detail
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
		Name:    a.name,
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
