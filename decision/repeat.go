package decision

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tillgate/policy"
)

// Bounds of the table of repeats. They bound the records that decisions can
// cause, too: a window is one when it opens, one when it ends and one each
// [Config.Sync] between, however fast a client asks.
const (
	shards       = 16  // tables, each with its lock; a client's attempts are all in one
	shardWindows = 256 // open windows of a shard, so one flooding client fills one shard only
	shardClients = 32  // clients of a shard that are told apart when it is full
)

// Repeat counts an attempt as a repeat and reports true if k's window is open,
// and was opened under the policy in force. If not, nothing was counted: the
// caller gives the full [Journal.Record].
// k.Name may point into a buffer that is used again. Repeat allocates nothing.
func (j *Journal) Repeat(k Key) bool {
	if !j.repeats.repeat(k, j.cfg.PolicyID(), j.cfg.Now()) {
		return false
	}
	if k.Event == "" {
		j.decided.add(k.Plane, k.Verdict, k.Reason, 1)
	}
	return true
}

// Repeats takes n attempts that the caller has counted, the first and the last of them so
// long ago, all of them such as r says, which is written only if there is no open window. It is
// as if each had been given to [Journal.Repeat] and, in vain, to [Journal.Record].
func (j *Journal) Repeats(r Record, n uint64, first, last time.Duration) {
	now := j.cfg.Now()
	r.Time, r.UntrustedTime = now.Add(-first), !j.cfg.Coarse()
	if n > 1 {
		r.Count, r.Until = n, now.Add(-last)
	}
	j.Record(r)
}

// repeats counts the repeats of decisions, and of the ends of exchanges by HTTP, whose
// bytes it adds up. No attempt and no byte is lost, whatever is full:
//
//   - The first attempt of a [Key] is written at once and opens a window. Those
//     after it are counted; when the window ends, one record stands for them.
//     What was counted is written each [Config.Sync], too, so a power cut takes
//     no more of it than of other records. A new policy ends the window: the
//     record that stands for repeats has the hash and the rule of the first.
//   - A key that finds its shard full is counted by plane, event, verdict, reason and
//     client; when that window ends, one record stands for all of them.
//   - When too many clients are counted so, the further ones are counted
//     together, by plane, event, verdict and reason. These lists are closed, so there
//     are no more windows than their product.
//
// So the counts of all records that decisions cause, where no count is one,
// add up to the attempts.
type repeats struct {
	window  time.Duration
	windows int          // a shard's bound
	clients int          // a shard's bound
	write   func(Record) // must not call back
	shards  [shards]shard
}

type shard struct {
	mu     sync.Mutex
	closed bool
	byKey  map[Key]*window
	over   map[Key]*window // what found byKey full; only some fields of the key are set
	order  []*window       // all of them, oldest first
	counts uint64          // attempts that were counted
}

// A window is the time in which repeats of a key are counted.
type window struct {
	key    Key
	over   bool // is in shard.over
	opened time.Time
	rest   Record // what was counted and is not written; there is nothing if its count is zero
}

func newRepeats(length time.Duration, windows, clients int, write func(Record)) *repeats {
	t := &repeats{window: length, windows: windows, clients: clients, write: write}
	for i := range t.shards {
		t.shards[i].byKey = make(map[Key]*window)
		t.shards[i].over = make(map[Key]*window)
	}
	return t
}

func (t *repeats) shard(client netip.Addr) *shard {
	b := client.As16()
	const golden = 0x9e3779b97f4a7c15 // Fibonacci hashing: neighbours part
	return &t.shards[binary.BigEndian.Uint64(b[8:])*golden>>60]
}

// open reports whether now is in the window. A clock that was set back ends it.
func (w *window) open(now time.Time, length time.Duration) bool {
	d := now.Sub(w.opened)
	return 0 <= d && d < length
}

// count counts attempts, which may be told later than others that were after them.
func (w *window) count(n uint64, first, last time.Time) {
	if w.rest.Count == 0 || first.Before(w.rest.Time) {
		w.rest.Time = first
	}
	if w.rest.Count == 0 || last.After(w.rest.Until) {
		w.rest.Until = last
	}
	w.rest.Count += n
}

// write writes what was counted, and lets w count on.
func (w *window) write(to func(Record)) {
	if w.rest.Count > 0 {
		to(w.rest)
		w.rest.Count, w.rest.Until, w.rest.Up, w.rest.Down = 0, time.Time{}, 0, 0
	}
}

// repeat is [Journal.Repeat], under a policy.
func (t *repeats) repeat(k Key, policy string, now time.Time) bool {
	s := t.shard(k.Client)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byKey[k]
	if w == nil || w.rest.Policy != policy || !w.open(now, t.window) {
		return false
	}
	w.count(1, now, now)
	s.counts++
	return true
}

// record takes a record that is counted: writes it, or counts it. It reports false when the
// table is closed.
func (t *repeats) record(r Record, now time.Time) bool {
	s := t.shard(r.Client)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	t.end(s, now, false)
	k := r.Key()
	w := t.find(s, s.byKey, k, r.Policy)
	if w == nil && len(s.byKey) < t.windows {
		t.write(r)
		s.byKey[k] = s.add(&window{key: k, opened: now, rest: common(r)})
		return true
	}
	if w == nil {
		w = t.overflow(s, &r, now)
	}
	w.count(r.attempts(), r.Time, r.end())
	w.rest.Up += r.Up
	w.rest.Down += r.Down
	s.counts++
	return true
}

// find returns the window of k in m, a map of s. It ends one that was opened
// under another policy.
func (t *repeats) find(s *shard, m map[Key]*window, k Key, policy string) *window {
	w := m[k]
	if w == nil || w.rest.Policy == policy {
		return w
	}
	i := slices.Index(s.order, w)
	s.order = slices.Delete(s.order, i, i+1)
	delete(m, k)
	w.write(t.write)
	return nil
}

func (s *shard) add(w *window) *window {
	s.order = append(s.order, w)
	return w
}

// overflow returns the window in which a decision is counted that has none of
// its own.
func (t *repeats) overflow(s *shard, r *Record, now time.Time) *window {
	k := Key{Plane: r.Plane, Event: r.Event, Verdict: r.Verdict, Reason: r.Reason, Client: r.Client}
	rest := Record{Boot: r.Boot, UntrustedTime: r.UntrustedTime, Plane: r.Plane, Event: r.Event, Verdict: r.Verdict, Reason: r.Reason,
		Client: r.Client, Class: r.Class, Policy: r.Policy, Detail: "various names; too many at once to list"}
	if s.over[k] == nil && len(s.over) >= t.clients {
		k.Client, rest.Client, rest.Class = netip.Addr{}, netip.Addr{}, ""
		rest.Detail = "various clients and names; too many at once to list"
	}
	w := t.find(s, s.over, k, r.Policy)
	if w == nil {
		w = s.add(&window{key: k, over: true, opened: now, rest: rest})
		s.over[k] = w
	}
	return w
}

// common returns what a decision's repeats share with it.
func common(r Record) Record {
	r.Time, r.Count, r.Until = time.Time{}, 0, time.Time{}
	r.Answers, r.CNAME = nil, nil
	r.Up, r.Down, r.Ms, r.OffsetMs = 0, 0, 0, 0
	// The firewall's repeats have one destination, those of a login one outcome, and what is
	// said of that.
	if r.Plane != policy.Firewall && r.Event != EventLogin {
		r.Dest, r.Detail = netip.AddrPort{}, ""
	}
	return r
}

// end ends the windows of s whose time is over, or all.
func (t *repeats) end(s *shard, now time.Time, all bool) {
	n := 0
	for ; n < len(s.order) && (all || !s.order[n].open(now, t.window)); n++ {
		w := s.order[n]
		if w.over {
			delete(s.over, w.key)
		} else {
			delete(s.byKey, w.key)
		}
		w.write(t.write)
	}
	if n > 0 {
		left := copy(s.order, s.order[n:])
		clear(s.order[left:])
		s.order = s.order[:left]
	}
}

// sweep ends the windows whose time is over.
func (t *repeats) sweep(now time.Time) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		t.end(s, now, false)
		s.mu.Unlock()
	}
}

// writeCounts writes what was counted so far.
func (t *repeats) writeCounts() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, w := range s.order {
			w.write(t.write)
		}
		s.mu.Unlock()
	}
}

// close ends all windows; nothing is counted afterwards.
func (t *repeats) close() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.closed = true
		t.end(s, time.Time{}, true)
		s.mu.Unlock()
	}
}

// stats returns the attempts that were counted, and the windows now open.
func (t *repeats) stats() (counts uint64, open int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		counts += s.counts
		open += len(s.order)
		s.mu.Unlock()
	}
	return counts, open
}
