package resolver

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// Bounds of a memo. Who finds its place taken takes it: what was there is made again by the
// next query.
const (
	memoAge   = time.Second
	memoSets  = 256 // places by the hash
	memoWays  = 4   // answers of one place
	memoReply = 512 // bytes; more have few
	// memoQuery is the longest query that can be in it: a name, and an OPT. Options may be
	// others in each query.
	memoQuery = headerSize + maxWireName + 4 + optSize
	memoKey   = 16 + 16 + 4 + memoQuery - 2
)

// A memo is what one reader answered within the last second, byte for byte: who asks the same
// again, at the same address, in the same way, gets the same, but for the ID and the case
// of the question's letters. All that is unusual is not in it and goes the whole way.
//
// An answer is in it for a second at most, and no longer than its TTL stays what it is and
// no `until` of the policy comes; a new policy empties it. What else may change is felt within
// that second: a step of the clock, an address of the box, a refreshed answer (of which the one
// before is still good).
//
// Each query takes from its client's rate, and is counted here until it is told: before the
// journal writes counts, or when the answer goes. So the counts of all records still add
// up to the attempts.
type memo struct {
	tell func(tally)
	seed maphash.Seed
	key  [memoKey]byte // of the query that is being answered
	used int           // bytes of key
	hash uint64

	mu    sync.Mutex // held by the reader for a batch
	set   *policy.Set
	ends  []time.Time // of its services
	table [memoSets][memoWays]*remembered
	// What was answered in this batch.
	queries, hits, denied uint64
}

// remembered is one answer.
type remembered struct {
	tally
	key    []byte
	hash   uint64
	reply  []byte
	bucket *bucket // nil: no limit
	until  time.Time
}

// A tally is how often the reply to a query was given again, and when.
type tally struct {
	q           *query
	n           uint64
	first, last time.Time
}

func newMemo(tell func(tally)) *memo { return &memo{tell: tell, seed: maphash.MakeSeed()} }

// begin begins a batch, of one policy.
func (m *memo) begin(set *policy.Set) {
	m.mu.Lock()
	if m.set == set {
		return
	}
	for e := range m.all {
		m.drop(e)
	}
	m.set, m.ends = set, nil
	for _, s := range set.Services() {
		if !s.Until.IsZero() {
			m.ends = append(m.ends, s.Until)
		}
	}
}

// end ends a batch.
func (m *memo) end(stats *stats) {
	if m.queries > 0 {
		stats.queries.Add(m.queries)
		stats.hits.Add(m.hits)
		stats.denied.Add(m.denied)
		m.queries, m.hits, m.denied = 0, 0, 0
	}
	m.mu.Unlock()
}

// answer answers a packet if the like was answered a moment ago.
func (m *memo) answer(p *pktinfo.Packet, now time.Time) bool {
	asked := m.look(p)
	if asked == 0 {
		return false
	}
	place := m.place()
	if place == nil {
		return false
	}
	e := *place
	if !now.Before(e.until) {
		m.drop(place)
		return false
	}
	if e.bucket != nil && !e.bucket.take(now) {
		if e.bucket.forgotten() {
			m.drop(place)
		}
		return false
	}
	if e.n == 0 {
		e.first = now
	}
	e.n++
	e.last = now
	m.queries++
	if e.q.hit {
		m.hits++
	}
	if e.q.denied {
		m.denied++
	}
	p.Reply = append(p.Reply, e.reply...)
	copy(p.Reply, p.Data[:2])
	copy(p.Reply[headerSize:], p.Data[headerSize:asked])
	return true
}

// look makes the key of a query, and returns where its name ends; 0: it can't be in the
// memo. Letters are lower-cased in all of the name's bytes: lengths are not letters.
func (m *memo) look(p *pktinfo.Packet) int {
	m.used = 0
	asked := nameEnd(p.Data)
	if asked == 0 || len(p.Data) > memoQuery {
		return 0
	}
	client, local := p.From.Addr().As16(), p.Info.Local.As16()
	key := append(m.key[:0], client[:]...)
	key = append(key, local[:]...)
	key = binary.NativeEndian.AppendUint32(key, uint32(p.Info.Interface))
	name := len(key) + headerSize - 2
	key = append(key, p.Data[2:]...)
	for i, c := range key[name : name+asked-headerSize] {
		if c-'A' < 26 {
			key[name+i] = c | 0x20
		}
	}
	m.used, m.hash = len(key), maphash.Bytes(m.seed, key)
	return asked
}

// place returns where the query is remembered that was looked for, or nil.
func (m *memo) place() **remembered {
	ways := &m.table[m.hash%memoSets]
	for i, e := range ways {
		if e != nil && e.hash == m.hash && bytes.Equal(e.key, m.key[:m.used]) {
			return &ways[i]
		}
	}
	return nil
}

// keep remembers the reply to the query that was looked for last, if it may be given again.
// A query without a reply may be somebody else's by now.
func (m *memo) keep(q *query, p *pktinfo.Packet) {
	if m.used == 0 || len(p.Reply) == 0 || len(p.Reply) > memoReply || q.keep == 0 || !bare(p.Data, headerSize+len(q.asked)) {
		return
	}
	age := min(q.keep, memoAge)
	for _, end := range m.ends {
		if left := end.Sub(q.trusted); left > 0 {
			age = min(age, left)
		}
	}
	ways := &m.table[m.hash%memoSets]
	place := &ways[m.hash>>32%memoWays]
	for i, e := range ways {
		if e == nil || !q.at.Before(e.until) {
			place = &ways[i]
			break
		}
	}
	if *place != nil {
		m.drop(place)
	}
	q.req, q.asked, q.send = nil, nil, nil
	*place = &remembered{
		tally:  tally{q: q},
		key:    bytes.Clone(m.key[:m.used]),
		hash:   m.hash,
		reply:  bytes.Clone(p.Reply),
		bucket: q.bucket,
		until:  q.at.Add(age),
	}
}

// drop forgets an answer, and tells how often it was given.
func (m *memo) drop(place **remembered) {
	e := *place
	*place = nil
	if e.n > 0 {
		m.tell(e.tally)
	}
}

// settle tells all that was counted, and forgets what is too old.
func (m *memo) settle(now time.Time) {
	var counted []tally
	m.mu.Lock()
	for place := range m.all {
		e := *place
		if e.n > 0 {
			counted = append(counted, e.tally)
			e.n = 0
		}
		if !now.Before(e.until) {
			*place = nil
		}
	}
	m.mu.Unlock()
	for _, t := range counted { // the reader need not wait for it
		m.tell(t)
	}
}

// all goes through the places that are taken.
func (m *memo) all(yield func(**remembered) bool) {
	for i := range m.table {
		for w, e := range &m.table[i] {
			if e != nil && !yield(&m.table[i][w]) {
				return
			}
		}
	}
}

// Settle tells the recorder what was answered from memory and counted since. Whoever writes
// counts calls it before.
func (r *Resolver) Settle() {
	now := r.deps.Now()
	for _, s := range r.udp {
		s.memo.settle(now)
	}
}

// tell records a tally.
func (r *Resolver) tell(t tally) {
	now := r.deps.Now()
	r.deps.Records.Repeats(t.q.record(), t.n, now.Sub(t.first), now.Sub(t.last))
}
