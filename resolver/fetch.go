package resolver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tillgate/decision"
)

const (
	// maxFetches is how many names may be asked for upstream at once, maxWaiting how
	// many queries may wait for them. They bound what an upstream that hangs can
	// hold: one that answers nothing for its whole timeout, with every name asked
	// for by everybody.
	maxFetches = 256
	maxWaiting = 4096
)

// errLimit is a query that could not wait for the upstream.
var errLimit = errors.New("too many names wait for the upstream")

// fetches are the names that are asked for upstream now, and the queries that wait
// for each. The zero value is ready.
type fetches struct {
	mu      sync.Mutex
	waiters map[key][]func(cached)
	count   int // of waiters
	closed  bool
	running sync.WaitGroup
}

func (f *fetches) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// find calls then with what the cache has for k at now, or, without waiting for it,
// when the upstream has answered.
func (r *Resolver) find(k key, now time.Time, then func(cached)) {
	got := r.cache.get(k, now)
	switch got.state {
	case fresh:
		r.stats.hits.Add(1)
	case stale:
		r.stats.stale.Add(1)
	case missing:
		r.stats.misses.Add(1)
		err := r.fetch(k, then)
		if err == nil {
			return
		}
		got = cached{state: failing, cause: err}
	}
	if got.refresh {
		r.fetch(k, nil) // in the background; at a bound, another time
	}
	then(got)
}

// fetch asks the upstream for k, unless that is under way, and calls then (if not nil)
// with the outcome. It does not wait. An error means that then will not be called.
func (r *Resolver) fetch(k key, then func(cached)) error {
	f := &r.fetches
	f.mu.Lock()
	defer f.mu.Unlock()
	waiters, running := f.waiters[k]
	switch {
	case f.closed:
		return fmt.Errorf("%w: the box is stopping", errLimit)
	case then != nil && f.count >= maxWaiting, !running && len(f.waiters) >= maxFetches:
		return errLimit
	}
	if f.waiters == nil {
		f.waiters = make(map[key][]func(cached))
	}
	if then != nil {
		waiters = append(waiters, then)
		f.count++
	}
	f.waiters[k] = waiters
	if !running {
		f.running.Go(func() { r.exchange(k) })
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
	var got cached
	if now := r.deps.Now(); err == nil {
		got = r.cache.put(k, a, now)
	} else {
		got = r.cache.fail(k, err, now)
	}

	f := &r.fetches
	f.mu.Lock()
	waiters := f.waiters[k]
	delete(f.waiters, k)
	f.count -= len(waiters)
	f.mu.Unlock()
	for _, then := range waiters {
		then(got)
	}
}

// close lets no fetch begin any more, and waits for those that are under way.
func (f *fetches) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.running.Wait()
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
				if err := r.fetch(k, nil); err != nil {
					break
				}
			}
		}
	}
}
