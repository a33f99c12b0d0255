package resolver

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
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
	bucketSize
	limited bool

	mu      sync.Mutex
	buckets map[netip.Addr]*bucket
	rest    *bucket // of all without one
	swept   time.Time
}

// bucketSize is what all buckets of a limiter have in common.
type bucketSize struct {
	epoch time.Time     // where their time begins
	token time.Duration // in which a bucket gets one
	whole time.Duration // in which it gets as many as it holds
}

// A bucket is one word, so that who has found it need not look for it again, or lock
// anything: the moment at which it is full, since the epoch. Each query moves that on by
// a token (which is the GCRA of ATM, or a leaky bucket as a meter).
type bucket struct {
	*bucketSize
	full atomic.Int64
}

// gone is when a bucket is full that the limiter has forgotten: never.
const gone = math.MaxInt64 / 2

// newLimiter allows rate queries a second and client, and burst at once, from the
// epoch on. A rate of zero is no limit.
func newLimiter(rate, burst int, epoch time.Time) *limiter {
	l := &limiter{limited: rate > 0, buckets: make(map[netip.Addr]*bucket)}
	l.epoch, l.token = epoch, time.Second/time.Duration(max(rate, 1))
	l.whole = l.token * time.Duration(max(burst, 1))
	l.rest = &bucket{bucketSize: &l.bucketSize}
	return l
}

// take reports whether the client may send a query now, and returns its bucket: nil
// without a limit.
func (l *limiter) take(client netip.Addr, now time.Time) (*bucket, bool) {
	if !l.limited {
		return nil, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[client]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.sweep(now)
		}
		if len(l.buckets) < maxBuckets {
			b = &bucket{bucketSize: &l.bucketSize}
			b.full.Store(int64(now.Sub(l.epoch)))
			l.buckets[client] = b
		} else {
			b = l.rest
		}
	}
	return b, b.take(now)
}

// take reports whether there was a token. A bucket that is forgotten has none.
func (b *bucket) take(now time.Time) bool {
	at := int64(now.Sub(b.epoch))
	for {
		full := b.full.Load()
		next := max(full, at) + int64(b.token)
		if next-at > int64(b.whole) {
			return false
		}
		if b.full.CompareAndSwap(full, next) {
			return true
		}
	}
}

// forgotten reports whether the client may have another bucket by now.
func (b *bucket) forgotten() bool { return b.full.Load() == gone }

// sweep forgets the full buckets: a new one is the same. Once a second, since it
// looks at all of them.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	at := int64(now.Sub(l.epoch))
	for c, b := range l.buckets {
		if full := b.full.Load(); full <= at && b.full.CompareAndSwap(full, gone) {
			delete(l.buckets, c)
		}
	}
}
