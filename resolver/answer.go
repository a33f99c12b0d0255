package resolver

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/policy"
)

// serve answers one query: the whole way but for the waiting. q.send is called
// exactly once, now or when the upstream has answered. What gets no answer is not
// read either: that is what a flood costs.
func (r *Resolver) serve(q *query, wire []byte) {
	r.stats.queries.Add(1)
	q.class = q.set.Class(q.client, r.ifaces.Name(q.ifindex))
	switch {
	case q.class == nil && policy.CheckAddr(q.client) == nil: // the Internet hears nothing
		r.drop(q, policy.UnknownClient)
		return
	case !isQuery(wire):
		r.drop(q, policy.Malformed)
		return
	case !r.withinRate(q):
		r.drop(q, policy.RateLimited)
		return
	}
	fault := q.read(wire)
	switch {
	case q.class == nil:
		r.stranger(q)
		return
	case fault != sound:
		r.finish(q, q.reply(faultRcodes[fault]), outcome{reason: policy.Malformed})
		return
	}

	q.keep, q.trusted = memoAge, r.deps.Clock.Trusted()
	question := q.req.Question[0]
	name, ok := policy.WireName(question.Name)
	q.name, q.qtype = name, question.Qtype
	if !ok {
		q.name = canonical(question.Name)
		q.decision = policy.Decision{Reason: policy.BadName, Class: q.class}
	} else if m, o, ok := r.special(q); ok {
		r.finish(q, m, o)
		return
	} else {
		q.decision = q.set.Decide(policy.Request{
			Plane:     policy.DNS,
			Client:    q.client,
			Interface: r.ifaces.Name(q.ifindex),
			Name:      q.name,
			Now:       q.trusted,
		})
	}

	switch d := q.decision; {
	case !d.Pass():
		q.denied = true
		r.finish(q, q.denial(d), outcome{reason: d.Reason})
	case d.Steer && r.deps.Steer():
		m, o := r.steer(q)
		r.finish(q, m, o)
	case q.qtype != dns.TypeA && q.qtype != dns.TypeAAAA && q.qtype != dns.TypeCNAME:
		// HTTPS and SVCB records would hide the SNI (ECH) and carry addresses past
		// the check; the rest no terminal needs. The name itself is not denied.
		r.finish(q, q.empty(), outcome{verdict: d.Verdict, reason: policy.QtypeSuppressed})
	default:
		r.resolve(q)
	}
}

// withinRate takes from what the client may ask, or from what all strangers may.
func (r *Resolver) withinRate(q *query) (ok bool) {
	if q.class == nil {
		_, ok = r.strangers.take(netip.Addr{}, q.at)
		return ok
	}
	q.bucket, ok = r.rate.take(q.client, q.at)
	return ok
}

// resolve answers an allowed name from the cache, or when the upstream has answered.
func (r *Resolver) resolve(q *query) {
	k := key{q.name, q.qtype}
	got := r.cache.get(k, q.at)
	if got.state == fresh {
		q.hit, q.keep = true, got.tick
		r.give(q, got)
		return
	}
	q.keep = 0
	q.wait()
	r.follow(got, k, q.client, q.at, func(got cached) {
		if got.answer != nil {
			r.give(q, got)
		} else {
			r.fail(q, got.cause)
		}
	})
}

// give sends a cached answer, less the addresses that no rule lets a name lead to.
func (r *Resolver) give(q *query, got cached) {
	a := got.answer
	addrs, removed := a.addrs, error(nil)
	if rule := q.decision.Rule; !(q.decision.Verdict == policy.Allow && rule != nil && rule.Private) {
		addrs, removed = publicOnly(a.addrs)
	}
	if removed != nil && len(addrs) == 0 {
		// The name exists, so NODATA: all that it has is refused (DNS rebinding).
		m := q.empty()
		explain(m, dns.ExtendedErrorCodeBlocked, policy.PrivateAddress.String()+": "+removed.Error())
		q.denied = true
		r.finish(q, m, outcome{reason: policy.PrivateAddress, cname: a.cname, detail: removed.Error()})
		return
	}

	r.given.add(q.client, q.name, addrs, q.at)
	m := q.reply(a.rcode)
	a.write(m, addrs, got.ttl)
	if len(addrs) == 0 && a.soa == nil && !(q.qtype == dns.TypeCNAME && len(a.cname) > 0) {
		m.Ns = []dns.RR{q.soa(got.ttl)}
	}
	o := outcome{verdict: q.decision.Verdict, reason: q.decision.Reason, answers: addrs, cname: a.cname}
	if removed != nil {
		o.detail = "left out: " + removed.Error()
	}
	if got.state == stale {
		o.stale = true
		o.detail = "kept from before: " + got.cause.Error()
		explain(m, dns.ExtendedErrorCodeStaleAnswer, "the upstream does not answer")
	} else if asked := q.req.IsEdns0(); q.req.AuthenticatedData || asked != nil && asked.Do() {
		m.AuthenticatedData = a.ad && removed == nil // RFC 6840 §5.7, §5.8
	}
	r.finish(q, m, o)
}

// publicOnly returns the addresses that are not special-purpose, and an error for
// the first that is.
func publicOnly(addrs []netip.Addr) (public []netip.Addr, first error) {
	for i, a := range addrs {
		err := policy.CheckAddr(a)
		if err != nil && first == nil {
			first = err
			public = append(public, addrs[:i]...)
		} else if err == nil && first != nil {
			public = append(public, a)
		}
	}
	if first == nil {
		return addrs, nil
	}
	return public, first
}

// fail says SERVFAIL and why.
func (r *Resolver) fail(q *query, cause error) {
	r.stats.failed.Add(1)
	code := dns.ExtendedErrorCodeNetworkError
	o := outcome{verdict: q.decision.Verdict, reason: q.decision.Reason, detail: cause.Error()}
	switch {
	case errors.Is(cause, errUpstreamTimeout):
		code = dns.ExtendedErrorCodeNoReachableAuthority
	case errors.Is(cause, ErrUntimed), errors.Is(cause, clock.ErrConflict):
		code = dns.ExtendedErrorCodeNotReady
		o.verdict, o.reason = policy.Deny, policy.TimeUntrusted
	case errors.Is(cause, errLimit), errors.Is(cause, errUpstreamBusy):
		code = dns.ExtendedErrorCodeOther
		o.verdict, o.reason = policy.Deny, policy.LimitReached
	}
	r.finish(q, q.failure(code, cause.Error()), o)
}

// stranger tells a client of no class, which is in the store's own networks, that it is
// one.
func (r *Resolver) stranger(q *query) {
	if len(q.req.Question) == 1 {
		q.name, q.qtype = canonical(q.req.Question[0].Name), q.req.Question[0].Qtype
	}
	m := q.reply(dns.RcodeRefused)
	explain(m, dns.ExtendedErrorCodeProhibited, policy.UnknownClient.String()+": "+policy.UnknownClient.Text())
	q.denied = true
	r.finish(q, m, outcome{reason: policy.UnknownClient})
}

// drop leaves a query without an answer, but not without a record.
func (r *Resolver) drop(q *query, why policy.Reason) {
	r.stats.dropped.Add(1)
	q.name, q.qtype = "", 0 // it is counted by client: a flood's names would fill the table
	r.note(q, nil, outcome{reason: why})
	q.send(nil)
}

// outcome is what the record of a query says.
type outcome struct {
	verdict policy.Verdict
	reason  policy.Reason
	answers []netip.Addr
	cname   []string
	stale   bool
	detail  string
}

// finish records what was decided and sends the reply.
func (r *Resolver) finish(q *query, m *dns.Msg, o outcome) {
	if q.hit {
		r.stats.hits.Add(1)
	}
	if q.denied {
		r.stats.denied.Add(1)
	}
	r.note(q, m, o)
	r.respond(q, m)
}

// note writes the query's one record, or counts it.
func (r *Resolver) note(q *query, m *dns.Msg, o outcome) {
	q.outcome = o
	if m != nil {
		q.rcode = rcodeName(m.Rcode)
	}
	rec := q.repeated()
	if r.deps.Records.Repeat(rec.Key()) {
		return
	}
	rec = q.record()
	if waited := r.deps.Now().Sub(q.at); waited > 0 {
		rec.Ms = float64(waited) / float64(time.Millisecond)
	}
	r.deps.Records.Record(rec)
}

// repeated is what the records of repeats have in common.
func (q *query) repeated() decision.Record {
	rec := decision.Record{
		Plane:   policy.DNS,
		Verdict: q.outcome.verdict,
		Reason:  q.outcome.reason,
		Client:  q.client,
		Name:    q.name,
		Proto:   q.proto,
		Rcode:   q.rcode,
		Stale:   q.outcome.stale,
	}
	if q.qtype != 0 {
		rec.Qtype = dns.Type(q.qtype).String()
	}
	return rec
}

// record is the whole of it.
func (q *query) record() decision.Record {
	rec := q.repeated()
	rec.Policy = q.set.ID()
	if q.class != nil {
		rec.Class = q.class.Name
	}
	if rule := q.decision.Rule; rule != nil {
		rec.Rule = rule.Pos.String()
		if s := rule.Service; s != nil {
			rec.Service, rec.Row = s.ID, s.Row
		}
	}
	rec.Name = strings.Clone(q.name)
	rec.Answers, rec.CNAME, rec.Detail = q.outcome.answers, q.outcome.cname, q.outcome.detail
	return rec
}
