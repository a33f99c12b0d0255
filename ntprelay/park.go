package ntprelay

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Bounds of what is parked. A client that retries has closed the socket of its first try,
// or tells the two apart, so it needs no more places than these.
const (
	maxParked          = 512
	maxParkedPerClient = 2
	// parkTime is shorter than any client waits (Android: 5 s).
	parkTime = 3 * time.Second
)

// parked holds the requests that wait for the first synchronisation. After that it is closed,
// and takes none.
type parked struct {
	begun chan struct{} // there is one, after there was none

	mu    sync.Mutex
	takes bool
	queue []waiting // oldest first
}

type waiting struct {
	request
	since time.Time
}

func newParked() *parked { return &parked{begun: make(chan struct{}, 1), takes: true} }

// add parks a copy of q, if there is room. Of a client's that are too many the oldest gives
// way: it is returned, to be answered now.
func (p *parked) add(q *request, now time.Time) (ok bool, instead *request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.takes {
		return false, nil
	}
	oldest, n := p.of(q.client)
	if n >= maxParkedPerClient {
		instead = p.remove(oldest)
	} else if len(p.queue) >= maxParked {
		return false, nil
	}
	p.queue = append(p.queue, waiting{*q, now})
	p.queue[len(p.queue)-1].packet = nil // which is the next request's
	if len(p.queue) == 1 {
		select {
		case p.begun <- struct{}{}:
		default:
		}
	}
	return true, instead
}

// of returns where a client's oldest request is, and how many it has.
func (p *parked) of(client netip.Addr) (oldest, n int) {
	for i := len(p.queue) - 1; i >= 0; i-- {
		if p.queue[i].client == client {
			oldest = i
			n++
		}
	}
	return oldest, n
}

func (p *parked) remove(i int) *request {
	q := p.queue[i].request
	p.queue = append(p.queue[:i], p.queue[i+1:]...)
	return &q
}

// expire takes out what has waited long enough, and says how long the next one has still
// to wait; zero: there is none.
func (p *parked) expire(now time.Time) (over []waiting, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && now.Sub(p.queue[n].since) >= parkTime {
		n++
	}
	over = append(over, p.queue[:n]...)
	p.queue = append(p.queue[:0], p.queue[n:]...)
	if len(p.queue) > 0 {
		next = parkTime - now.Sub(p.queue[0].since)
	}
	return over, next
}

// close takes out all, and takes no more.
func (p *parked) close() []waiting {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.queue
	p.takes, p.queue = false, nil
	return all
}

func (p *parked) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// expireParked answers what has waited for parkTime, until ctx ends.
func (r *Relay) expireParked(ctx context.Context) {
	timer := time.NewTimer(parkTime)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.parked.begun:
		case <-timer.C:
		}
		over, next := r.parked.expire(time.Now())
		for i := range over {
			r.answerLate(&over[i].request)
		}
		if next > 0 {
			timer.Reset(next)
		}
	}
}
