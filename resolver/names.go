package resolver

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of the memory of what was given to whom. Who finds it full takes the place of
// what was used least lately: at worst an old client that says no SNI is denied until
// it resolves again.
const (
	maxGivenClients = 256
	maxGivenPairs   = 256 // addresses with their names, of one client
	// givenAge is how long a client may use an address after it was given: old
	// clients keep one long beyond its TTL.
	givenAge = 12 * time.Hour
)

// given remembers which names each client was given an address for. The zero value is
// ready.
type given struct {
	mu      sync.Mutex
	clients map[netip.Addr]*givenClient
}

type givenClient struct {
	last  time.Time
	pairs map[givenPair]time.Time // and when it was given last
}

type givenPair struct {
	addr netip.Addr
	name string
}

// add remembers that a client was given addresses for a name.
func (g *given) add(client netip.Addr, name string, addrs []netip.Addr, now time.Time) {
	if len(addrs) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[client]
	if c == nil {
		if g.clients == nil {
			g.clients = make(map[netip.Addr]*givenClient)
		}
		if len(g.clients) >= maxGivenClients {
			dropOldest(g.clients, func(c *givenClient) time.Time { return c.last })
		}
		c = &givenClient{pairs: make(map[givenPair]time.Time)}
		g.clients[client] = c
	}
	c.last = now
	for _, addr := range addrs {
		pair := givenPair{addr, name}
		if _, known := c.pairs[pair]; !known && len(c.pairs) >= maxGivenPairs {
			dropOldest(c.pairs, func(at time.Time) time.Time { return at })
		}
		c.pairs[pair] = now
	}
}

// dropOldest looks at all of a full table: at a few hundred entries that costs less than
// a list that is kept in order at each answer.
func dropOldest[K comparable, V any](m map[K]V, last func(V) time.Time) {
	var oldest K
	var at time.Time
	first := true
	for k, v := range m {
		if t := last(v); first || t.Before(at) {
			oldest, at, first = k, t, false
		}
	}
	delete(m, oldest)
}

// names returns what the client was given the address for, in alphabetical order.
func (g *given) names(client, addr netip.Addr, now time.Time) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[client]
	if c == nil {
		return nil
	}
	maps.DeleteFunc(c.pairs, func(_ givenPair, at time.Time) bool { return now.Sub(at) >= givenAge })
	var names []string
	for pair := range c.pairs {
		if pair.addr == addr {
			names = append(names, pair.name)
		}
	}
	slices.Sort(names)
	return names
}

// NamesOf returns the names for which this client was given this address in the last
// hours, in alphabetical order: at most a few hundred, the latest. It tells what a
// connection is for that says no name itself.
func (r *Resolver) NamesOf(client, addr netip.Addr) []string {
	return r.given.names(client, addr, r.deps.Now())
}
