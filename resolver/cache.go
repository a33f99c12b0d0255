package resolver

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

// key is what an answer is kept by. The policy is asked before the cache, and
// addresses are checked for each client, so one answer serves every class and a
// new policy needs no flush. DO and CD are no part of it: they never go upstream.
type key struct {
	name  string
	qtype uint16
}

// cache keeps answers and the failures to get one. It is bounded: a new key takes
// the place of one of those that were not asked for longest.
type cache struct {
	max   int
	stale time.Duration

	mu    sync.Mutex
	items map[key]*item
}

// item is what is known of one key. An item without an answer holds a failure.
type item struct {
	answer   *answer
	expires  time.Time
	restored bool      // read from disk: good for nothing but a stale answer
	asked    time.Time // last, by a client
	failed   error     // the last attempt, nil after a good one
	retry    time.Time // no new attempt before this, after a failed one
}

// state is what the cache can do for a query.
type state uint8

const (
	missing state = iota // ask the upstream
	fresh                // answer
	stale                // answer: past its end, but the upstream fails (RFC 8767)
	failing              // no answer: the upstream failed shortly before (RFC 9520)
)

// cached is what the cache says of a key.
type cached struct {
	state   state
	answer  *answer       // of fresh and stale
	ttl     uint32        // seconds, of fresh and stale
	tick    time.Duration // until ttl is another, or the answer is not fresh; of fresh
	cause   error         // of stale and failing
	refresh bool          // ask the upstream in the background too
}

func newCache(max int, stale time.Duration) *cache {
	return &cache{max: max, stale: stale, items: make(map[key]*item)}
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.items)
}

// get says what the cache has for k, which a client asked for at now.
//
// An answer past its end is given only when an attempt to replace it has failed. While
// attempts go on failing it is given at once, and tried for in the background: a
// terminal need not wait out the upstream's timeout for every name.
func (c *cache) get(k key, now time.Time) cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.items[k]
	if it == nil {
		return cached{state: missing}
	}
	it.asked = now
	if it.answer != nil && !it.restored && now.Before(it.expires) {
		left := it.expires.Sub(now)
		ttl := seconds(left)
		return cached{state: fresh, answer: it.answer, ttl: ttl, tick: left - time.Duration(ttl-1)*time.Second}
	}
	if it.failed == nil {
		return cached{state: missing}
	}
	due := !now.Before(it.retry)
	if got := c.second(it, now); got.state == stale || !due {
		got.refresh = due
		return got
	}
	return cached{state: missing}
}

// second is the second best of an item whose last attempt failed: what it had before,
// within the bound, else the failure.
func (c *cache) second(it *item, now time.Time) cached {
	if it.answer != nil && now.Before(it.expires.Add(c.stale)) {
		return cached{state: stale, answer: it.answer, ttl: staleTTL, cause: it.failed}
	}
	return cached{state: failing, cause: it.failed}
}

// without returns what the cache has for k when the upstream can't be asked, for a reason
// that is no failure of the name's.
func (c *cache) without(k key, cause error, now time.Time) cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := item{failed: cause}
	if kept := c.items[k]; kept != nil {
		it.answer, it.expires = kept.answer, kept.expires
	}
	return c.second(&it, now)
}

// forgive lets all that failed be tried again at once: what was in the way is gone.
func (c *cache) forgive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.items {
		it.retry = time.Time{}
	}
}

// rest takes a key for one that was last asked for at a time, so that it is not kept
// fresh.
func (c *cache) rest(k key, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.items[k]; it != nil {
		it.asked = asked
	}
}

// forget drops a key.
func (c *cache) forget(k key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.items, k)
}

// seconds rounds up: an answer's last second is not zero.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// put keeps a good answer, and returns it as it goes to those who waited for it: one
// with a TTL of zero is theirs alone.
func (c *cache) put(k key, a *answer, now time.Time) cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.item(k, now)
	it.answer, it.expires, it.restored = a, now.Add(time.Duration(a.ttl)*time.Second), false
	it.failed = nil
	return cached{state: fresh, answer: a, ttl: a.ttl}
}

// fail keeps a failure for ttl seconds beside the answer from before, and returns the better of both.
func (c *cache) fail(k key, err error, now time.Time, ttl int) cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.item(k, now)
	it.failed, it.retry = err, now.Add(time.Duration(ttl)*time.Second)
	return c.second(it, now)
}

// item returns the key's item; a new one pushes out another at the bound.
func (c *cache) item(k key, now time.Time) *item {
	it := c.items[k]
	if it == nil {
		if len(c.items) >= c.max {
			c.evict()
		}
		it = &item{asked: now}
		c.items[k] = it
	}
	return it
}

// evict removes the least recently asked of a handful of items: maps are walked from
// a random place, so that no list has to be kept in order for every hit.
func (c *cache) evict() {
	const sample = 16
	var oldest key
	var at time.Time
	n := 0
	for k, it := range c.items {
		if n == 0 || it.asked.Before(at) {
			oldest, at = k, it.asked
		}
		if n++; n == sample {
			break
		}
	}
	delete(c.items, oldest)
}

// due returns the keys to refresh: those asked for within warm whose answer ends
// within the lead, or failed and may be tried again. At most max.
func (c *cache) due(now time.Time, warm time.Duration, max int) []key {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []key
	for k, it := range c.items {
		if len(keys) == max {
			break
		}
		if now.Sub(it.asked) >= warm || it.answer == nil || !it.restored && !it.answer.lasting() {
			continue
		}
		lead := min(time.Duration(it.answer.ttl)*time.Second/10, warmLead)
		if (it.restored || !now.Before(it.expires.Add(-lead))) && (it.failed == nil || !now.Before(it.retry)) {
			keys = append(keys, k)
		}
	}
	return keys
}

// minWarmTTL is the least TTL of an answer that is kept fresh, in seconds: one that its
// owner wants asked for all the time is asked for when somebody wants it.
const minWarmTTL = 30

// lasting reports whether an answer is worth being kept fresh. A name that does not exist is
// not: whoever makes up names would have them all asked for, for a day.
func (a *answer) lasting() bool { return a.ttl >= minWarmTTL && a.rcode == dns.RcodeSuccess }

// warmLead is the longest time before its end that an answer is fetched again.
const warmLead = 30 * time.Second
