package resolver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	// upstreamInFlight is how many exchanges may be under way, upstreamWaiting how
	// many more may wait for one of them to end. With four addresses these are at
	// most 256 requests, in connections that servers open for 100 or more.
	upstreamInFlight = 64
	upstreamWaiting  = 256

	// upstreamHedge is the least time that a server has before the next is asked too.
	upstreamHedge = 200 * time.Millisecond
	// upstreamPenalty is for how long a server that failed is asked after the others.
	upstreamPenalty = 10 * time.Second
)

// exchange asks for the records of a name (canonical, without a trailing dot) and
// returns the reply, whatever its rcode. It takes the timeout at most. The error is
// an [upstreamError], errUpstreamBusy, errUpstreamClosed, or the context's where the
// caller cancelled it.
//
// The server that answered last is asked first. When it fails the next is asked at
// once, when it is slow the next is asked too; the first reply wins.
func (u *upstream) exchange(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	q, err := newDoHQuery(name, qtype)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()
	if err := u.enter(ctx); err != nil {
		return nil, err
	}
	defer u.leave()
	start := time.Now()
	m, err := u.answer(ctx, q)
	return m, u.settle(ctx, err, start)
}

// enter waits for a place among the exchanges.
func (u *upstream) enter(ctx context.Context) error {
	u.mu.Lock()
	if u.life.Err() != nil {
		u.mu.Unlock()
		return errUpstreamClosed
	}
	select {
	case u.places <- struct{}{}:
		u.running.Add(1)
		u.mu.Unlock()
		return nil
	default:
	}
	if u.waiting == upstreamWaiting {
		u.counts.Busy++
		u.mu.Unlock()
		return errUpstreamBusy
	}
	u.waiting++
	u.running.Add(1)
	u.mu.Unlock()

	var err error
	select {
	case u.places <- struct{}{}:
	case <-ctx.Done():
		err = u.ended(ctx, fmt.Errorf("%w: none ended in time", errUpstreamBusy))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting--
	if err != nil {
		u.running.Done()
		if errors.Is(err, errUpstreamBusy) {
			u.counts.Busy++
		}
	}
	return err
}

func (u *upstream) leave() {
	<-u.places
	u.running.Done()
}

// ended says why ctx has ended: late is for when its time has run out.
func (u *upstream) ended(ctx context.Context, late error) error {
	switch {
	case u.life.Err() != nil:
		return errUpstreamClosed
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	}
	return late
}

// answer is exchange for one that has its place. Nearly always the first server has a
// connection and answers in time: that takes no race, and no goroutine.
func (u *upstream) answer(ctx context.Context, q *dohQuery) (*dns.Msg, error) {
	servers := u.order()
	a := u.begin(servers[0], q)
	if a == nil {
		return u.race(ctx, q, servers, nil, false, nil)
	}
	patience := time.NewTimer(u.patience(ctx, servers[0], len(servers)-1))
	defer patience.Stop()
	select {
	case <-a.exchange.Done():
	case <-patience.C:
		return u.race(ctx, q, servers, a, true, nil)
	case <-ctx.Done():
	}
	if len(servers) > 1 && !a.answered() {
		return u.race(ctx, q, servers, a, false, nil)
	}
	m, err := u.ask(ctx, servers[0], q, a)
	if err == nil || len(servers) == 1 || ctx.Err() != nil {
		return m, err
	}
	return u.race(ctx, q, servers[1:], nil, false, err)
}

// race asks the servers one after the other until one has answered, and returns the
// most telling error when none did. Those that lost are cancelled, not waited for. The
// first may have been asked, by attempt a, and be late; failed is of one that was asked
// before.
func (u *upstream) race(ctx context.Context, q *dohQuery, servers []*upstreamServer, a *attempt, late bool, failed error) (*dns.Msg, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		reply *dns.Msg
		err   error
	}
	results := make(chan result, len(servers)) // so that losers need not wait either
	running := 0
	hedge := time.NewTimer(0)
	defer hedge.Stop()
	next := func(a *attempt) {
		s := servers[0]
		servers = servers[1:]
		running++
		u.running.Go(func() {
			m, err := u.ask(ctx, s, q, a)
			results <- result{m, err}
		})
		hedge.Reset(u.patience(ctx, s, len(servers)))
	}
	next(a)
	if late {
		hedge.Reset(0)
	}
	for {
		slow := hedge.C
		if len(servers) == 0 {
			slow = nil
		}
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.reply, nil
			}
			failed = upstreamTelling(failed, r.err)
			if len(servers) > 0 && ctx.Err() == nil {
				next(nil)
			} else if running == 0 {
				return nil, failed
			}
		case <-slow:
			if ctx.Err() == nil {
				u.mu.Lock()
				u.counts.Hedged++
				u.mu.Unlock()
				next(nil)
			}
		}
	}
}

// patience is how long s has before one of the left others is asked too: twice as long
// as it usually takes, but so that all have their turn before the time is up.
func (u *upstream) patience(ctx context.Context, s *upstreamServer, left int) time.Duration {
	u.mu.Lock()
	rtt := s.rtt
	u.mu.Unlock()
	deadline, _ := ctx.Deadline()
	return min(max(2*rtt, upstreamHedge), time.Until(deadline)/time.Duration(left+1))
}

// order returns the servers as they are to be asked: those that failed of late last,
// the one first that failed the longest ago; of the others the one that answered last.
func (u *upstream) order() []*upstreamServer {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	penalty := func(s *upstreamServer) time.Time {
		if s.failed.IsZero() || now.Sub(s.failed) > upstreamPenalty {
			return time.Time{}
		}
		return s.failed
	}
	servers := slices.Clone(u.servers)
	slices.SortStableFunc(servers, func(a, b *upstreamServer) int {
		return cmp.Or(penalty(a).Compare(penalty(b)), b.answered.Compare(a.answered))
	})
	return servers
}

// settle counts an exchange, keeps the state that [upstream.health] tells of, and
// returns the error for the caller.
func (u *upstream) settle(ctx context.Context, err error, start time.Time) error {
	var ue *upstreamError
	if err != nil && (errors.Is(ctx.Err(), context.Canceled) || !errors.As(err, &ue)) {
		return u.ended(ctx, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts.Exchanges++
	if ue == nil {
		u.lastOK = time.Now()
		if u.failure != nil {
			u.failure, u.since = nil, time.Now()
			u.log.Info("upstream answers again")
		}
		return nil
	}
	u.counts.Failures++
	if u.lastOK.After(start) {
		return err // others got answers meanwhile: it may be the name
	}
	if u.failure == nil {
		u.since = time.Now()
		u.log.Warn("upstream lost", "error", err)
	}
	u.failure = ue
	return err
}
