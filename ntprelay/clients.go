package ntprelay

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// maxClients is how many clients are remembered. A store has a hundred devices; who makes
// more addresses than this forges them.
const maxClients = 4096

// clients remembers each client by its address: what it may ask still, and what its
// clock shows. A VLAN is one /64, so a prefix would make all of its terminals one client.
type clients struct {
	rate, burst float64 // answers a second, answers
	random      func() uint32

	mu  sync.Mutex
	all map[netip.Addr]*remembered
}

type remembered struct {
	class string
	seen  time.Duration // its last request, as the clock's Raw
	gone  bool          // forgotten: the client may have another entry by now
	bucket
	clockError
}

// newClients allows rate answers a second and client, and burst at once. A rate of zero
// is no limit.
func newClients(rate, burst int, random func() uint32) *clients {
	return &clients{
		rate:   float64(rate),
		burst:  float64(max(burst, 1)),
		random: random,
		all:    make(map[netip.Addr]*remembered),
	}
}

// take reports whether a client gets an answer now, and returns what is remembered of it.
func (c *clients) take(client netip.Addr, class string, now time.Duration) (*remembered, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.all[client]
	if m == nil {
		if len(c.all) >= maxClients {
			c.forget()
		}
		m = &remembered{seen: now, bucket: bucket{tokens: c.burst}}
		c.all[client] = m
	}
	m.class = class
	elapsed := max(now-m.seen, 0)
	m.seen += elapsed
	return m, c.rate == 0 || m.bucket.take(c.rate*elapsed.Seconds(), c.burst, c.random)
}

// again is take and told at once, for a request of a client that was found before and its
// answer. It reports false, and changes nothing, if the client has none left of its rate or
// is forgotten.
func (c *clients) again(m *remembered, q *request, h *header) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	elapsed := max(q.raw-m.seen, 0)
	if m.gone || c.rate > 0 && !m.bucket.spend(c.rate*elapsed.Seconds(), c.burst) {
		return false
	}
	m.seen += elapsed
	if q.transmit != 0 {
		m.clockError.learn(q.transmit.sub(h.receive), q.raw)
	}
	return true
}

// forget makes room: of some clients it forgets the one that has been silent for longest. All
// of them are too many to look at for each packet of a flood.
func (c *clients) forget() {
	const some = 16
	var silent netip.Addr
	var seen time.Duration
	n := 0
	for client, m := range c.all {
		if n == 0 || m.seen < seen {
			silent, seen = client, m.seen
		}
		if n++; n == some {
			break
		}
	}
	c.all[silent].gone = true
	delete(c.all, silent)
}

// told takes what a client's clock shows less what it should, and reports whether that may
// be believed. now is when it asked.
func (c *clients) told(client netip.Addr, offset, now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.all[client]
	return m != nil && m.clockError.learn(offset, now)
}

// A Client is one that asked for the time and told its own.
type Client struct {
	Addr  netip.Addr
	Class string
	// Offset is what its clock showed less what it should when it asked: negative is
	// slow. Most clients set their clocks by the answer.
	Offset time.Duration
	Asked  time.Time
}

// Clients returns the clients that tell what their clocks show, by address.
func (r *Relay) Clients() []Client {
	e := r.deps.Clock.Estimate()
	c := r.clients
	c.mu.Lock()
	defer c.mu.Unlock()
	var told []Client
	for addr, m := range c.all {
		if m.credible {
			told = append(told, Client{addr, m.class, m.offset, e.At(m.at)})
		}
	}
	slices.SortFunc(told, func(a, b Client) int { return a.Addr.Compare(b.Addr) })
	return told
}

func (c *clients) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}
