package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"tillgate/policy"
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
		if err := b.fetch(k, netip.Addr{}, func(got cached) {
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
	client := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
	count := func(cached) { calls++ }

	// One client's share of names, and of waiting.
	for i := range maxClientFetches {
		if err := b.fetch(name(i), client(0), nil); err != nil {
			t.Fatalf("name %d: %v", i, err)
		}
	}
	if err := b.fetch(name(maxClientFetches), client(0), nil); !errors.Is(err, errLimit) {
		t.Errorf("one name too many of a client: %v", err)
	}
	for i := maxClientFetches; i < maxFetches; i++ {
		if err := b.fetch(name(i), client(i), nil); err != nil {
			t.Fatalf("name %d, of another client: %v", i, err)
		}
	}
	if err := b.fetch(name(maxFetches), client(maxFetches), nil); !errors.Is(err, errLimit) {
		t.Errorf("one name too many: %v", err)
	}
	for i := range maxClientWaiting {
		if err := b.fetch(name(0), client(0), count); err != nil {
			t.Fatalf("waiting query %d: %v", i, err)
		}
	}
	if err := b.fetch(name(0), client(0), func(cached) { t.Error("called") }); !errors.Is(err, errLimit) {
		t.Errorf("one query too many of a client: %v", err)
	}
	for i := maxClientWaiting; i < maxWaiting; i++ {
		if err := b.fetch(name(0), client(i), count); err != nil {
			t.Fatalf("waiting query %d, of another client: %v", i, err)
		}
	}
	if err := b.fetch(name(0), client(maxWaiting), func(cached) { t.Error("called") }); !errors.Is(err, errLimit) {
		t.Errorf("one query too many: %v", err)
	}

	// At the bound, a client is told at once, and other answers are as before.
	if got := gist(b.atOnce(till, queryFor(known, dns.TypeA))); got != "SERVFAIL opt ede0" {
		t.Errorf("a name that can't wait: %s", got)
	}
	if rec := b.records.last(); rec.Reason != policy.LimitReached || rec.Verdict != policy.Deny {
		t.Errorf("recorded %v %v", rec.Verdict, rec.Reason)
	}
	if got := b.atOnce(till, queryFor("example.com", dns.TypeA)); got.Rcode != dns.RcodeNameError {
		t.Errorf("a denied name: %s", gist(got))
	}
	// An answer past its end is better than none.
	b.cache.put(key{known, dns.TypeA}, &answer{ttl: 1, addrs: addrs("192.0.9.1")}, b.now.Add(-time.Minute))
	if got := gist(b.atOnce(till, queryFor(known, dns.TypeA))); got != "NOERROR "+known+"./30/A/192.0.9.1 opt ede3" {
		t.Errorf("a name that can't wait, with an old answer: %s", got)
	}
	close(release)
	b.fetches.close()
	if calls != maxWaiting {
		t.Errorf("%d of %d were called", calls, maxWaiting)
	}
	if n := len(b.fetches.shares); n != 0 {
		t.Errorf("%d clients have a share of nothing", n)
	}
	if err := b.fetch(name(1), client(1), nil); !errors.Is(err, errLimit) {
		t.Errorf("after the end: %v", err)
	}
}

// TestNoNameOfAnOldPolicyStaysWarm: what nobody may have any more is not asked for.
func TestNoNameOfAnOldPolicyStaysWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.deps.Now = time.Now
		text := strings.Replace(testPolicy, ", mode: observe", "", 1)
		set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		b.deps.Policy = func() *policy.Set { return set }
		asked := map[string]int{}
		b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
			asked[name]++
			return reply(name, qtype, 60, "192.0.9.1"), nil
		}
		for _, name := range []string{known, "example.com"} {
			b.cache.put(key{name, dns.TypeA}, &answer{ttl: 60, addrs: addrs("192.0.9.1")}, time.Now())
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.keepWarm(ctx); close(done) }()
		<-time.After(10 * time.Minute)
		stop()
		<-done
		b.fetches.close()
		if asked[known] < 9 || asked["example.com"] != 0 || b.cache.len() != 1 {
			t.Errorf("asked for %v, %d names are kept", asked, b.cache.len())
		}
	})
}

// TestTimeServersAreNotKeptWarm: no client is given their addresses where the box serves
// time, and the box itself asks for them once an hour.
func TestTimeServersAreNotKeptWarm(t *testing.T) {
	for _, serves := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.deps.Now = time.Now
			text := strings.Replace(testPolicy, ", mode: observe", "", 1)
			set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
			if err != nil {
				t.Fatal(err)
			}
			b.deps.Policy = func() *policy.Set { return set }
			b.deps.Steer = func() bool { return serves }
			var mu sync.Mutex
			asked := map[string]int{}
			b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
				mu.Lock()
				defer mu.Unlock()
				asked[name]++
				return reply(name, qtype, 60, "192.0.9.1"), nil
			}
			for _, name := range []string{known, "pool.ntp.org"} {
				b.cache.put(key{name, dns.TypeA}, &answer{ttl: 60, addrs: addrs("192.0.9.1")}, time.Now())
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { b.keepWarm(ctx); close(done) }()
			<-time.After(10 * time.Minute)
			stop()
			<-done
			b.fetches.close()
			if asked[known] < 9 || (asked["pool.ntp.org"] == 0) != serves || b.cache.len() != 2 {
				t.Errorf("where it serves time, %v: asked for %v, %d names are kept", serves, asked, b.cache.len())
			}
		})
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
	q := &query{client: addrs(client)[0], set: b.deps.Policy(), at: b.now}
	q.send = func(wire []byte) {
		got = new(dns.Msg)
		if err := got.Unpack(wire); err != nil {
			b.t.Fatal(err)
		}
	}
	if b.serve(q, wire); got == nil {
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
		b.fetch(k, netip.Addr{}, nil)
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
