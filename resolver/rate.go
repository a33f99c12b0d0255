package resolver

import (
	"net/netip"
	"sync"
	"time"
)

// maxBuckets is how many clients have a bucket of their own. A store has a hundred
// devices; who makes more addresses than this forges them, and those that come
// when the table is full share one bucket.
const maxBuckets = 4096

// What all clients in no class may ask together: that they are told so is a courtesy, and
// they can have as many addresses as they like. It also bounds the replies to addresses
// that nobody has, which the kernel keeps for seconds.
const (
	strangerRate  = 10
	strangerBurst = 20
)

// limiter is a token bucket for each client, by its address: a VLAN is one /64, so a
// prefix would make all of its terminals one client.
type limiter struct {
	rate, burst float64 // tokens a second, tokens

	mu      sync.Mutex
	buckets map[netip.Addr]*bucket
	rest    bucket // of all without one
	swept   time.Time
}

type bucket struct {
	tokens float64
	at     time.Time // when tokens was right
}

// newLimiter allows rate queries a second and client, and burst at once. A rate of
// zero is no limit.
func newLimiter(rate, burst int) *limiter {
	l := &limiter{rate: float64(rate), burst: float64(max(burst, 1)), buckets: make(map[netip.Addr]*bucket)}
	l.rest.tokens = l.burst
	return l
}

// take reports whether the client may send a query now.
func (l *limiter) take(client netip.Addr, now time.Time) bool {
	if l.rate == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[client]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.sweep(now)
		}
		if len(l.buckets) < maxBuckets {
			b = &bucket{tokens: l.burst, at: now}
			l.buckets[client] = b
		} else {
			b = &l.rest
		}
	}
	l.fill(b, now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (l *limiter) fill(b *bucket, now time.Time) {
	b.tokens = min(l.burst, b.tokens+now.Sub(b.at).Seconds()*l.rate)
	b.at = now
}

// sweep forgets the full buckets: a new one is the same. Once a second, since it
// looks at all of them.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for c, b := range l.buckets {
		if l.fill(b, now); b.tokens >= l.burst {
			delete(l.buckets, c)
		}
	}
}
