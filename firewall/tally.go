package firewall

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"tillgate/policy"
)

// Bounds of a tally. They are what it costs the box and the journal that somebody tries
// all ports of all addresses.
const (
	// maxAttempts is how many of one client's attempts are told one by one within
	// attemptRest. The journal has room for those of eight clients that share a shard of
	// its table of repeats (256 windows).
	maxAttempts = 32
	maxClients  = 256     // of a class, of one family
	maxAll      = 8192    // attempts that are told one by one, of all clients
	maxSeen     = 1 << 15 // elements of which it is known how much was told
	maxSources  = 8192
	attemptRest = 10 * time.Second
)

// A label is what the rules say of a packet beside its head.
type label struct {
	class   string
	verdict policy.Verdict
	reason  policy.Reason
}

// A tally counts attempts until the box has taken them. It is the memory for a box that
// does not answer as well: what finds no room in it is counted by client, then by class.
//
// The kernel counts each packet three times: by class, by source and, of attempts that
// have an element in a set, by attempt. What is told of these is taken off what is owed of
// their source and their class, so the rest of a source is what it sent beyond, and the rest
// of a class is what of it has no source. So what the log or a table lost is told all the
// same, if by a name less exact. The first packet of an attempt comes by the log as well, at
// once; but it may have been counted a moment before. So a rest is told when it has been one
// for a whole round.
type tally struct {
	now  func() time.Time
	wake chan struct{} // holds one when there is something to take

	mu      sync.Mutex
	round   uint64 // of reading the sets
	seen    map[attempt]*seen
	sources map[netip.Addr]*source
	classes map[label]*debt

	groups   map[group]*clients // what was not taken yet
	attempts int                // in all groups
}

// seen is an element of a set, of which so many packets are told.
type seen struct {
	packets uint64
	sighted bool // by the log, too
	round   uint64
}

// A debt is how many packets are owed yet: below zero while the log is ahead of the counter.
type debt struct {
	owed int64
	old  int64 // what was owed at the end of the last round, and was not told since
}

// due is what is to be told of it: all, or what has been owed for a round.
func (d *debt) due(all bool) int64 {
	if all {
		return d.owed
	}
	return min(d.owed, d.old)
}

// told takes off what was told.
func (d *debt) told(n uint64) {
	d.owed -= int64(n)
	d.old -= int64(n)
}

// A source is its counter as it was read last.
type source struct {
	debt
	packets     uint64
	label       label     // of the last packet that the log had; until then nothing can be told
	ended       []attempt // whose elements ended in this round,
	endedBefore []attempt // and in the one before
	round       uint64
}

// read notes what the counter is now. One that went back is a new one.
func (s *source) read(packets uint64) {
	if packets < s.packets {
		s.packets = 0
	}
	s.owed += int64(packets - s.packets)
	s.packets = packets
}

// A group has bounds of its own. A source that does not belong where it came from is
// whatever its sender likes, so all of those are one client.
type group struct {
	label label
	ipv6  bool
}

type clients struct {
	byAddr map[netip.Addr]*client
	rest   count // of those that found no room
}

type client struct {
	attempts map[attempt]*count
	rest     count
}

// A count is how many attempts were not taken yet.
type count struct {
	n    uint64
	last time.Time
}

func newTally(now func() time.Time) *tally {
	t := &tally{now: now, wake: make(chan struct{}, 1), groups: make(map[group]*clients)}
	t.renewed()
	return t
}

// renewed says that the table is a new one, whose counters begin at zero.
func (t *tally) renewed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(true)
	t.seen = make(map[attempt]*seen)
	t.sources = make(map[netip.Addr]*source)
	t.classes = make(map[label]*debt)
}

// sight counts the first packet of an attempt.
func (t *tally) sight(l label, a attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.reason == policy.Spoofed {
		t.add(l, a, 1) // these are in no set
		return
	}
	if src := t.source(a.src); src != nil {
		src.label = l
		s := t.seen[a]
		switch {
		case s == nil: // without room its further packets are told as the source's
			if len(t.seen) < maxSeen {
				t.seen[a] = &seen{packets: 1, sighted: true, round: t.round}
			}
		case !s.sighted:
			s.sighted = true // the set was read before
			return
		default: // a new element, after the one that was known had its end
			src.ended = append(src.ended, a)
			*s = seen{packets: 1, sighted: true, round: t.round}
		}
		t.add(l, a, 1)
	}
}

// begin begins a round of reading. Counters are read before the sets that have more exact
// ones: so what comes in between is owed later, and nothing is told twice.
func (t *tally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round++
}

// classCounter takes what the counter of a class has counted since it was read last. It
// begins at zero again with each reading: so what came while nobody read is told by the next.
func (t *tally) classCounter(l label, packets uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.class(l).owed += int64(packets)
}

// sourceCounter takes the counter of a source.
func (t *tally) sourceCounter(addr netip.Addr, packets uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if src := t.source(addr); src != nil {
		src.read(packets)
	}
}

// attemptCounter takes the counter of an attempt.
func (t *tally) attemptCounter(a attempt, packets uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	src := t.source(a.src)
	if src == nil || src.label == (label{}) {
		return
	}
	s := t.seen[a]
	if s == nil {
		if len(t.seen) >= maxSeen {
			return
		}
		s = new(seen)
		t.seen[a] = s
	}
	if packets < s.packets { // a new element, whose first packet the log lost
		src.ended = append(src.ended, a)
		*s = seen{}
	}
	t.add(src.label, a, packets-s.packets)
	s.packets, s.round = packets, t.round
}

// end ends a round: what has been owed for as long as one is told.
func (t *tally) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a, s := range t.seen {
		if s.round < t.round {
			delete(t.seen, a)
			if src := t.sources[a.src]; src != nil {
				src.ended = append(src.ended, a)
			}
		}
	}
	t.tell(false)
	t.sweep()
}

// last tells all that is owed: there is no further round.
func (t *tally) last() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(true)
}

// tell tells what is due of all debts.
func (t *tally) tell(all bool) {
	for addr, src := range t.sources {
		gone := src.round < t.round
		if n := src.due(all || gone); n > 0 && src.label != (label{}) {
			ended := src.endedBefore
			if all || gone {
				ended = slices.Concat(ended, src.ended)
			}
			a := attempt{src: addr}
			if len(ended) == 1 {
				a = ended[0] // its last packets, after its counter was read last
			}
			t.add(src.label, a, uint64(n))
		}
		src.old = src.owed
		src.endedBefore, src.ended = src.ended, nil
		if gone {
			delete(t.sources, addr)
		}
	}
	for l, d := range t.classes {
		if n := d.due(all); n > 0 {
			t.add(l, attempt{}, uint64(n))
		}
		d.old = d.owed
	}
}

// source returns what is known of one, or nil where there is no room.
func (t *tally) source(addr netip.Addr) *source {
	src := t.sources[addr]
	if src == nil {
		if len(t.sources) >= maxSources {
			return nil
		}
		src = new(source)
		t.sources[addr] = src
	}
	src.round = t.round
	return src
}

func (t *tally) class(l label) *debt {
	d := t.classes[l]
	if d == nil {
		d = new(debt)
		t.classes[l] = d
	}
	return d
}

// add tells n attempts.
func (t *tally) add(l label, a attempt, n uint64) {
	if n == 0 {
		return
	}
	t.class(l).told(n)
	if src := t.sources[a.src]; src != nil && l.reason != policy.Spoofed {
		src.told(n)
	}
	c := t.place(l, a)
	c.n += n
	c.last = t.now()
	t.signal()
}

// signal says that there is something to take.
func (t *tally) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}
