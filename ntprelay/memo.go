package ntprelay

import (
	"net/netip"
	"sync"
	"time"

	"tillgate/internal/clock"
	"tillgate/policy"
)

const (
	// memoAge is how long who was admitted is known.
	memoAge = time.Second
	// maxAdmitted is how many a reader knows. Those after them are judged each time.
	maxAdmitted = 256
)

// A memo is whom one reader gave the time within the last second: who asks again, by the same
// interface, gets it without being judged again. The answer itself is made anew, and takes from
// the client's rate. All that is unusual goes the whole way: what is no sound request, who has
// used up its rate, all while the time is not known. A new policy and a new estimate of the
// time empty the memo, and nobody is in it beyond the next `until` of the policy.
//
// The answers are counted here until they are told: before the journal writes counts, and when
// their client is judged again. So the counts of all records still add up to the attempts.
type memo struct {
	clients *clients
	tell    func(tally)

	mu       sync.Mutex // held by the reader for a batch
	set      *policy.Set
	estimate *clock.Estimate
	ends     []time.Time // of the policy's services
	admitted map[way]*admitted
	now      time.Time // of this batch
	answered uint64    // in this batch
}

// A way is one by which a client asks: its class may depend on the interface.
type way struct {
	client  netip.Addr
	ifindex int
}

// admitted is one that may have the time.
type admitted struct {
	tally
	client *remembered
	until  time.Duration // as the clock's Raw
}

// A tally is how often the like of a request was answered, and when.
type tally struct {
	like        request // what its record is made of
	policy      string  // its ID
	n           uint64
	first, last time.Time
}

func newMemo(c *clients, tell func(tally)) *memo {
	return &memo{clients: c, tell: tell, admitted: make(map[way]*admitted)}
}

// begin begins a batch.
func (m *memo) begin(t *turn, now time.Time) {
	m.mu.Lock()
	m.now = now
	if m.set == t.set && m.estimate == t.e {
		return
	}
	for _, a := range m.admitted {
		m.flush(a)
	}
	clear(m.admitted)
	if m.set != t.set {
		m.ends = nil
		for _, s := range t.set.Services() {
			if !s.Until.IsZero() {
				m.ends = append(m.ends, s.Until)
			}
		}
	}
	m.set, m.estimate = t.set, t.e
}

// end ends a batch.
func (m *memo) end(stats *stats) {
	if m.answered > 0 {
		stats.requests.Add(m.answered)
		stats.answered.Add(m.answered)
		m.answered = 0
	}
	m.mu.Unlock()
}

// answer answers a request of a batch if its client was admitted a moment ago.
func (m *memo) answer(t *turn, q *request) bool {
	if q.fault != sound || !t.fine() {
		return false
	}
	a := m.admitted[way{q.client, q.ifindex}]
	if a == nil || t.raw >= a.until {
		return false
	}
	h := t.reply(q)
	if !m.clients.again(a.client, q, &h) {
		return false
	}
	q.packet.Reply = q.packet.Reply[:headerSize]
	h.put(q.packet.Reply)
	if a.n == 0 {
		a.first = m.now
	}
	a.n++
	a.last = m.now
	m.answered++
	return true
}

// keep knows the client of a request from now on, if it was given the time.
func (m *memo) keep(t *turn, q *request) {
	if !t.fine() || len(q.packet.Reply) == 0 || t.trusted.IsZero() {
		return
	}
	age := memoAge
	for _, end := range m.ends {
		if left := end.Sub(t.trusted); left > 0 {
			age = min(age, left)
		}
	}
	by := way{q.client, q.ifindex}
	a := m.admitted[by]
	switch {
	case a != nil:
		m.flush(a)
	case len(m.admitted) < maxAdmitted:
		a = new(admitted)
		m.admitted[by] = a
	default:
		return
	}
	a.like = request{client: q.client, decision: q.decision}
	a.policy, a.client, a.until = t.set.ID(), q.known, t.raw+age
}

// flush tells what was counted.
func (m *memo) flush(a *admitted) {
	if a.n > 0 {
		m.tell(a.tally)
		a.n = 0
	}
}

// settle tells all that was counted, and forgets who was admitted too long ago, at raw.
func (m *memo) settle(raw time.Duration) {
	var counted []tally
	m.mu.Lock()
	for by, a := range m.admitted {
		if a.n > 0 {
			counted = append(counted, a.tally)
			a.n = 0
		}
		if raw >= a.until {
			delete(m.admitted, by)
		}
	}
	m.mu.Unlock()
	for _, t := range counted { // the reader need not wait for it
		m.tell(t)
	}
}

// Settle tells the recorder what was answered and counted since. Whoever writes counts
// calls it before.
func (r *Relay) Settle() {
	raw := r.deps.Clock.Raw()
	for _, m := range r.memos {
		m.settle(raw)
	}
}

// tell records a tally.
func (r *Relay) tell(t tally) {
	now := time.Now()
	rec := t.like.record(t.like.decision.Verdict, t.like.decision.Reason)
	t.like.explain(&rec)
	rec.Policy = t.policy
	r.deps.Records.Repeats(rec, t.n, now.Sub(t.first), now.Sub(t.last))
}
