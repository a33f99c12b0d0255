package console

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of wrong passwords. Those of others than this machine have one bound more for all
// of them, so no table of theirs can grow: whoever is in it has used some of that. An admin
// who comes by SSH is never locked out by them.
const (
	guessBurst    = 5
	guessEvery    = 30 * time.Second
	guessAllBurst = 20
	guessAllEvery = 6 * time.Second
)

// guesses counts passwords that were tried. The zero value has seen none.
type guesses struct {
	mu   sync.Mutex
	all  bucket
	each map[netip.Prefix]*bucket
}

// A bucket leaks what was tried. The zero value is empty.
type bucket struct {
	tried float64
	at    time.Time
}

func (b *bucket) leak(now time.Time, every time.Duration) {
	b.tried = max(0, b.tried-now.Sub(b.at).Seconds()/every.Seconds())
	b.at = now
}

// take reports whether a client may try a password now.
func (g *guesses) take(client netip.Prefix) bool {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all.leak(now, guessAllEvery)
	for who, b := range g.each {
		if b.leak(now, guessEvery); b.tried == 0 {
			delete(g.each, who)
		}
	}
	b, local := g.each[client], client.Addr().IsLoopback()
	if b != nil && b.tried > guessBurst-1 || !local && g.all.tried > guessAllBurst-1 {
		return false
	}
	if b == nil {
		if g.each == nil {
			g.each = make(map[netip.Prefix]*bucket)
		}
		b = &bucket{at: now}
		g.each[client] = b
	}
	b.tried++
	if !local {
		g.all.tried++
	}
	return true
}

// right takes back what a client tried: it has the password.
func (g *guesses) right(client netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.each, client)
	if !client.Addr().IsLoopback() {
		g.all.tried = max(0, g.all.tried-1)
	}
}
