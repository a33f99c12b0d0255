package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/internal/crew"
)

const (
	// maxFetches is how many names may be asked for upstream at once, maxWaiting how
	// many queries may wait for them. They bound what an upstream that hangs can
	// hold: one that answers nothing for its whole timeout, with every name asked
	// for by everybody.
	maxFetches = 256
	maxWaiting = 4096
	// One client's shares of them: fewer names than the upstream has places, so that
	// there is always one for another.
	maxClientFetches = upstreamInFlight * 3 / 4
	maxClientWaiting = maxWaiting / 4
)

// errLimit is a query that could not wait for the upstream.
var errLimit = errors.New("too many names wait for the upstream")

// fetches are the names that are asked for upstream now, and the queries that wait
// for each. The zero value is ready.
type fetches struct {
	mu      sync.Mutex
	names   map[key]*fetch
	count   int // of waiters
	shares  map[netip.Addr]share
	closed  bool
	running sync.WaitGroup
	askers  crew.Crew
}

// fetch is one name that is asked for. Its client is the one that asked first, no address
// where it was the box itself.
type fetch struct {
	client  netip.Addr
	waiters []waiter
}

type waiter struct {
	client netip.Addr
	then   func(cached)
}

// share is what one client has of the fetches.
type share struct{ names, waiting int }

// add changes a client's share; the box itself has no bound.
func (f *fetches) add(client netip.Addr, names, waiting int) {
	if !client.IsValid() {
		return
	}
	if f.shares == nil {
		f.shares = make(map[netip.Addr]share)
	}
	s := f.shares[client]
	s.names += names
	s.waiting += waiting
	if s == (share{}) {
		delete(f.shares, client)
	} else {
		f.shares[client] = s
	}
}

func (f *fetches) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// find calls then with what the cache has for k at now, or, without waiting for it,
// when the upstream has answered. The client is no address for the box itself.
func (r *Resolver) find(k key, client netip.Addr, now time.Time, then func(cached)) {
	r.follow(r.cache.get(k, now), k, client, now, then)
}

// follow is find with what the cache said.
func (r *Resolver) follow(got cached, k key, client netip.Addr, now time.Time, then func(cached)) {
	counted := client.IsValid() // what the box asks itself is no query
	if got.state == missing {
		if counted {
			r.stats.misses.Add(1)
		}
		err := r.fetch(k, client, then)
		if err == nil {
			return
		}
		got = r.cache.without(k, err, now)
	}
	if counted && got.state == stale {
		r.stats.stale.Add(1)
	}
	if got.refresh {
		r.fetch(k, netip.Addr{}, nil) // in the background; at a bound, another time
	}
	then(got)
}

// fetch asks the upstream for k, unless that is under way, and calls then (if not nil)
// with the outcome. It does not wait. An error means that then will not be called.
func (r *Resolver) fetch(k key, client netip.Addr, then func(cached)) error {
	f := &r.fetches
	f.mu.Lock()
	defer f.mu.Unlock()
	running := f.names[k]
	s := f.shares[client]
	switch {
	case f.closed:
		return fmt.Errorf("%w: the box is stopping", errLimit)
	case running == nil && (len(f.names) >= maxFetches || s.names >= maxClientFetches),
		then != nil && (f.count >= maxWaiting || s.waiting >= maxClientWaiting):
		return errLimit
	}
	if running == nil {
		running = &fetch{client: client}
		if f.names == nil {
			f.names = make(map[key]*fetch)
		}
		f.names[k] = running
		f.add(client, 1, 0)
		f.running.Add(1)
		f.askers.Do(func() {
			defer f.running.Done()
			r.exchange(k)
		})
	}
	if then != nil {
		running.waiters = append(running.waiters, waiter{client, then})
		f.count++
		f.add(client, 0, 1)
	}
	return nil
}

// exchange asks the upstream, keeps what comes of it and tells those who wait.
func (r *Resolver) exchange(k key) {
	m, err := r.ask(r.life, k.name, k.qtype)
	var a *answer
	if err == nil {
		a, err = checkAnswer(m, k.name, k.qtype)
	}
	failed := failTTL
	if r.deps.Clock.Level() == clock.None {
		failed = untimedFailTTL
		if err == nil {
			a.ttl = min(a.ttl, untimedTTL) // of a time server; who gave it may turn out to be a liar
		}
	}
	var got cached
	if now := r.deps.Now(); err == nil {
		got = r.cache.put(k, a, now)
	} else {
		got = r.cache.fail(k, err, now, failed)
	}

	f := &r.fetches
	f.mu.Lock()
	ended := f.names[k]
	delete(f.names, k)
	f.count -= len(ended.waiters)
	f.add(ended.client, -1, 0)
	for _, w := range ended.waiters {
		f.add(w.client, 0, -1)
	}
	f.mu.Unlock()
	for _, w := range ended.waiters {
		w.then(got)
	}
}

// close lets no fetch begin any more, and waits for those that are under way.
func (f *fetches) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.askers.Close()
}

// keepWarm refreshes the names in use until ctx ends.
func (r *Resolver) keepWarm(ctx context.Context) {
	if r.cfg.Warm <= 0 {
		return
	}
	// The least time between two looks at the cache, and the most names of each:
	// a full cache of short-lived names costs the upstream this much and no more.
	const every, most = time.Second, 32
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n := most
			if r.Health().State == decision.Bad {
				n = 1 // is it back?
			}
			for _, k := range r.cache.due(r.deps.Now(), r.cfg.Warm, n) {
				may, steered := r.deps.Policy().AnyoneMay(k.name, r.deps.Clock.Trusted())
				switch {
				case !may:
					r.cache.forget(k) // the policy of when it was asked for is gone
					continue
				case steered && r.deps.Steer():
					r.cache.rest(k, r.deps.Now().Add(-r.cfg.Warm)) // the box alone asks for it, seldom
					continue
				}
				if err := r.fetch(k, netip.Addr{}, nil); err != nil {
					break
				}
			}
		}
	}
}
