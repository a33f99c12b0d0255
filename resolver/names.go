package resolver

import (
	"container/list"
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
	pairs map[givenPair]*list.Element // of order
	order list.List                   // of givenAt, the one that was given last at the end
}

type givenPair struct {
	addr netip.Addr
	name string
}

type givenAt struct {
	givenPair
	at time.Time
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
			g.dropClient()
		}
		c = &givenClient{pairs: make(map[givenPair]*list.Element)}
		g.clients[client] = c
	}
	c.last = now
	for _, addr := range addrs {
		c.add(givenAt{givenPair{addr, name}, now})
	}
}

// add makes a pair the one that was given last.
func (c *givenClient) add(p givenAt) {
	e := c.pairs[p.givenPair]
	if e == nil && len(c.pairs) >= maxGivenPairs {
		e = c.order.Front()
		delete(c.pairs, e.Value.(*givenAt).givenPair)
	}
	if e == nil {
		c.pairs[p.givenPair] = c.order.PushBack(&givenAt{p.givenPair, p.at})
		return
	}
	*e.Value.(*givenAt) = p
	c.pairs[p.givenPair] = e
	c.order.MoveToBack(e)
}

// dropClient looks at all of the full table: there are new clients seldom.
func (g *given) dropClient() {
	var oldest netip.Addr
	var last time.Time
	for addr, c := range g.clients {
		if last.IsZero() || c.last.Before(last) {
			oldest, last = addr, c.last
		}
	}
	delete(g.clients, oldest)
}

// names returns what the client was given the address for, in alphabetical order.
func (g *given) names(client, addr netip.Addr, now time.Time) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.clients[client]
	if c == nil {
		return nil
	}
	var names []string
	for e := c.order.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*givenAt); p.addr == addr && now.Sub(p.at) < givenAge {
			names = append(names, p.name)
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
