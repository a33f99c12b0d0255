package decision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tillgate/policy"
)

// Bounds of the feed from memory.
const (
	ringRecords     = 2048    // records held for those who subscribe later
	ringBytes       = 1 << 20 // of their lines
	maxSubscribers  = 16
	subscriberQueue = 512 // records that wait for one subscriber, beyond its backlog
)

// ErrTooMany is returned to a subscriber beyond the number that the journal serves.
var ErrTooMany = errors.New("too many followers of the journal; close one of them")

// ErrClosed is returned by [Subscription.Next] after the last record, when
// either side has ended the subscription.
var ErrClosed = errors.New("the journal's feed has ended")

// feed hands records from memory to subscribers. It is guarded by [Journal.mu].
type feed struct {
	ring   []told // oldest first; the front is cut off as it leaves
	bytes  int
	subs   []*Subscription
	closed bool
}

// told is a record of the ring.
type told struct {
	r    *Record // never changed
	size int     // of its line
}

// push tells r to all who follow.
func (f *feed) push(r *Record, size int) {
	f.ring = append(f.ring, told{r, size})
	f.bytes += size
	for len(f.ring) > ringRecords || f.bytes > ringBytes {
		f.bytes -= f.ring[0].size
		f.ring[0].r = nil // the array behind lives on until it is full
		f.ring = f.ring[1:]
	}
	for _, s := range f.subs {
		s.push(r)
	}
}

func (f *feed) close() {
	f.closed = true
	for _, s := range f.subs {
		s.end()
	}
	f.subs = nil
}

// Subscription is one follower of the journal, for one goroutine.
type Subscription struct {
	j     *Journal
	q     Query
	ready chan struct{} // holds one: there is something for Next

	// Guarded by Journal.mu.
	queue  []*Record
	bound  int // of queue
	missed uint64
	since  time.Time // of what was missed
	until  time.Time
	closed bool
}

// Subscribe follows the journal: the last backlog records in memory that match
// q, then every further one as it is recorded. A subscriber that is too slow
// misses records, and gets a record of event gap in their place whose count
// says how many. The error is [ErrTooMany] or [ErrClosed].
func (j *Journal) Subscribe(q Query, backlog int) (*Subscription, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := &j.feed
	if f.closed {
		return nil, ErrClosed
	}
	if len(f.subs) >= maxSubscribers {
		return nil, ErrTooMany
	}
	s := &Subscription{j: j, q: q, ready: make(chan struct{}, 1)}
	for i := len(f.ring) - 1; i >= 0 && len(s.queue) < backlog; i-- {
		if q.Match(f.ring[i].r) {
			s.queue = append(s.queue, f.ring[i].r)
		}
	}
	slices.Reverse(s.queue)
	s.bound = len(s.queue) + subscriberQueue
	f.subs = append(f.subs, s)
	return s, nil
}

// push never waits. Once a record is missed, so are all after it until Next has
// caught up: the gap has one place.
func (s *Subscription) push(r *Record) {
	if !s.q.Match(r) {
		return
	}
	if s.missed == 0 && len(s.queue) < s.bound {
		s.queue = append(s.queue, r)
	} else {
		if s.missed == 0 {
			s.since = r.Time
		}
		s.missed++
		s.until = r.Time
	}
	s.wake()
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *Subscription) end() {
	s.closed = true
	s.wake()
}

// Next waits for the next record. The error is ctx's, or [ErrClosed].
func (s *Subscription) Next(ctx context.Context) (Record, error) {
	for {
		r, ok, closed := s.take()
		if ok {
			return r, nil
		}
		if closed {
			return Record{}, ErrClosed
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return Record{}, ctx.Err()
		}
	}
}

// take returns what there is now.
func (s *Subscription) take() (r Record, ok, closed bool) {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	switch {
	case len(s.queue) > 0:
		r, ok = *s.queue[0], true
		s.queue[0] = nil
		s.queue = s.queue[1:]
	case s.missed > 0:
		r, ok = Record{
			Time: s.since, Boot: s.j.cfg.Boot, Plane: policy.System, Event: EventGap, Count: s.missed, Until: s.until,
			Detail: fmt.Sprintf("%d records came too fast for this follower; the journal has them", s.missed),
		}, true
		s.missed = 0
	}
	return r, ok, s.closed
}

// Close ends the subscription; Next still returns what is waiting.
func (s *Subscription) Close() {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	s.j.feed.subs = slices.DeleteFunc(s.j.feed.subs, func(other *Subscription) bool { return other == s })
	s.end()
}
