package ntprelay

import (
	"time"

	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// turn is what the requests that are answered together have in common.
type turn struct {
	set     *policy.Set
	trusted time.Time // for who is judged, and not in the memo
	present
}

func (r *Relay) turn() turn { return turn{set: r.deps.Policy(), present: r.present()} }

// serveAll serves the packets of a batch, each in turn as q. Nothing is allocated for one
// whose like was recorded shortly before.
func (r *Relay) serveAll(m *memo, q *request, packets []pktinfo.Packet) {
	// The system's clock before the raw one: where the machine stalls in between the packets
	// came late, which the clients see as delay. In the other order they came early, which
	// nobody sees.
	now := time.Now()
	t := r.turn()
	m.begin(&t, now)
	for i := range packets {
		p := &packets[i]
		q.packet = p
		q.raw = t.raw - age(p.Info.Stamp, now)
		q.from, q.client = p.From, p.From.Addr()
		q.local, q.ifindex = p.Info.Local, p.Info.Interface
		q.parse(p.Data)
		if p.Cut {
			q.fault = badLength
		}
		if !m.answer(&t, q) {
			r.serve(&t, q)
			m.keep(&t, q)
		}
	}
	m.end(&r.stats)
	// Nothing but the sending comes between this stamp and the wire.
	sent := stampOf(t.e.At(r.deps.Clock.Raw()))
	for i := range packets {
		if reply := packets[i].Reply; len(reply) > 0 {
			sent.put(reply)
		}
	}
}

// serve answers a request, parks it, or leaves it without an answer; but never without a
// record. Who may not have the time hears nothing: a client asks for it of several servers,
// or again, and there is no way to say no that all of them understand.
func (r *Relay) serve(t *turn, q *request) {
	r.stats.requests.Add(1)
	t.trusted = r.deps.Clock.Trusted()
	q.decision = t.set.Decide(policy.Request{
		Plane:     policy.NTP,
		Client:    q.client,
		Interface: r.ifaces.Name(q.ifindex),
		Port:      ntpPort,
		Proto:     policy.UDP,
		Now:       t.trusted,
	})
	switch {
	case q.decision.Class == nil:
		r.drop(q, policy.UnknownClient)
	case q.fault != sound:
		r.drop(q, policy.Malformed)
	case !q.decision.Pass():
		r.drop(q, q.decision.Reason)
	case !r.withinRate(q):
		r.drop(q, policy.RateLimited)
	case !r.park(t, q):
		r.answer(&t.present, q)
	}
}

// withinRate takes from what the client may ask.
func (r *Relay) withinRate(q *request) (ok bool) {
	q.known, ok = r.clients.take(q.client, q.decision.Class.Name, q.raw)
	return ok
}

// park lets a request wait for the first synchronisation, if that is under way.
func (r *Relay) park(t *turn, q *request) bool {
	if t.fine() || !r.hasServers(t.set, t.trusted) {
		return false
	}
	ok, instead := r.parked.add(q, time.Now())
	if instead != nil {
		r.answer(&t.present, instead)
	}
	return ok
}

// hasServers reports whether there is anybody to have the time of.
func (r *Relay) hasServers(set *policy.Set, trusted time.Time) bool {
	return len(r.cfg.Servers) > 0 || set.HasTimeServers(trusted)
}
