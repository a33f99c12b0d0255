package ntprelay

import (
	"time"

	"tillgate/internal/clock"
	"tillgate/policy"
)

// serve answers a request, parks it, or leaves it without an answer; but never without a
// record. Who may not have the time hears nothing: a client asks for it of several servers,
// or again, and there is no way to say no that all of them understand.
func (r *Relay) serve(q *request) {
	r.stats.requests.Add(1)
	set := r.deps.Policy()
	q.decision = set.Decide(policy.Request{
		Plane:     policy.NTP,
		Client:    q.client,
		Interface: r.ifaces.Name(q.ifindex),
		Port:      ntpPort,
		Proto:     policy.UDP,
		Now:       r.deps.Clock.Trusted(),
	})
	switch class := q.decision.Class; {
	case class == nil:
		r.drop(q, policy.UnknownClient)
	case q.fault != sound:
		r.drop(q, policy.Malformed)
	case !q.decision.Pass():
		r.drop(q, q.decision.Reason)
	case !r.clients.take(q.client, class.Name, q.raw):
		r.drop(q, policy.RateLimited)
	case !r.park(q, set):
		r.answer(q)
	}
}

// park lets a request wait for the first synchronisation, if that is under way.
func (r *Relay) park(q *request, set *policy.Set) bool {
	if r.deps.Clock.Estimate().LevelAt(q.raw) == clock.Fine || !r.hasServers(set) {
		return false
	}
	ok, instead := r.parked.add(q, time.Now())
	if instead != nil {
		r.answer(instead)
	}
	return ok
}

// hasServers reports whether there is anybody to have the time of.
func (r *Relay) hasServers(set *policy.Set) bool {
	return len(r.cfg.Servers) > 0 || len(set.TimeServers(r.deps.Clock.Trusted())) > 0
}
