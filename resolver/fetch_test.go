package resolver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestMissesAreMerged(t *testing.T) {
	b := newBench(t)
	release := make(chan struct{})
	asked := 0
	b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
		asked++
		<-release
		return reply(name, qtype, 60, "192.0.9.1"), nil
	}
	k := key{known, dns.TypeA}
	answers := 0
	for range 100 {
		if err := b.fetch(k, func(got cached) {
			if got.state == fresh {
				answers++
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.Stats().Waiting; n != 100 {
		t.Errorf("%d wait", n)
	}
	close(release)
	b.fetches.running.Wait()
	if asked != 1 || answers != 100 || b.Stats().Waiting != 0 {
		t.Errorf("asked %d times, %d answers, %d still wait", asked, answers, b.Stats().Waiting)
	}
}

func TestFetchBounds(t *testing.T) {
	b := newBench(t)
	release := make(chan struct{})
	b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
		<-release
		return reply(name, qtype, 60, "192.0.9.1"), nil
	}
	calls := 0
	name := func(i int) key { return key{fmt.Sprintf("n%d", i), dns.TypeA} }
	for i := range maxFetches {
		if err := b.fetch(name(i), nil); err != nil {
			t.Fatalf("name %d: %v", i, err)
		}
	}
	if err := b.fetch(name(maxFetches), nil); !errors.Is(err, errLimit) {
		t.Errorf("one name too many: %v", err)
	}
	for i := range maxWaiting {
		if err := b.fetch(name(0), func(cached) { calls++ }); err != nil {
			t.Fatalf("waiting query %d: %v", i, err)
		}
	}
	if err := b.fetch(name(0), func(cached) { t.Error("called") }); !errors.Is(err, errLimit) {
		t.Errorf("one query too many: %v", err)
	}

	// At the bound, a client is told at once, and other answers are as before.
	if got := gist(b.atOnce(till, queryFor(known, dns.TypeA))); got != "SERVFAIL opt ede0" {
		t.Errorf("a name that can't wait: %s", got)
	}
	if got := b.atOnce(till, queryFor("example.com", dns.TypeA)); got.Rcode != dns.RcodeNameError {
		t.Errorf("a denied name: %s", gist(got))
	}
	close(release)
	b.fetches.close()
	if calls != maxWaiting {
		t.Errorf("%d of %d were called", calls, maxWaiting)
	}
	if err := b.fetch(name(1), nil); !errors.Is(err, errLimit) {
		t.Errorf("after the end: %v", err)
	}
}

// atOnce returns the reply to a query that must not wait for the upstream.
func (b *bench) atOnce(client string, m *dns.Msg) *dns.Msg {
	b.t.Helper()
	wire, err := m.Pack()
	if err != nil {
		b.t.Fatal(err)
	}
	var got *dns.Msg
	q := &query{client: addrs(client)[0], at: b.now}
	q.req, q.fault = parse(wire)
	q.send = func(wire []byte) {
		got = new(dns.Msg)
		if err := got.Unpack(wire); err != nil {
			b.t.Fatal(err)
		}
	}
	if b.serve(q); got == nil {
		b.t.Fatal("no reply at once")
	}
	return got
}

// TestNamesInUseStayFresh: a name asked for once is asked for upstream before each
// end of its answer, for as long as it counts as in use, and no longer.
func TestNamesInUseStayFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl, warm = 300, time.Hour
		b := newBench(t, func(c *Config) { c.Warm = warm })
		b.deps.Now = time.Now
		asked := 0
		b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
			asked++
			return reply(name, qtype, ttl, "192.0.9.1"), nil
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.keepWarm(ctx); close(done) }()

		k := key{known, dns.TypeA}
		begin := time.Now()
		b.fetch(k, nil)
		synctest.Wait()
		b.cache.get(k, begin)
		for time.Since(begin) < warm-time.Minute {
			<-time.After(time.Second)
			synctest.Wait()
			b.cache.mu.Lock()
			left := time.Until(b.cache.items[k].expires)
			b.cache.mu.Unlock()
			if left <= 0 {
				t.Fatalf("%v after the start: past its end", time.Since(begin))
			}
		}
		inUse := asked
		if most := int(warm/(ttl*time.Second)*10/9) + 2; inUse < 12 || inUse > most {
			t.Errorf("asked %d times in an hour, want 12 to %d", inUse, most)
		}
		<-time.After(2 * warm)
		synctest.Wait()
		if asked > inUse+1 {
			t.Errorf("asked %d times more after it was not in use", asked-inUse)
		}
		stop()
		<-done
	})
}
