package firewall

import (
	"net/netip"

	"tillgate/decision"
	"tillgate/policy"
)

// A batch is what is handed over at once.
type batch struct {
	records []decision.Record
	counts  []*count // of each record
}

// take returns attempts that were not taken yet, as records, so many at most. They count as
// taken when [tally.taken] says so: until then, more of them may come. One at a time takes.
func (t *tally) take(limit int) (b batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	put := func(c *count, r decision.Record) {
		if c.n == 0 || len(b.records) == limit {
			return
		}
		if c.n > 1 {
			r.Count = c.n
		}
		b.records, b.counts = append(b.records, r), append(b.counts, c)
	}
	for key, g := range t.groups {
		for addr, c := range g.byAddr {
			for a, at := range c.attempts {
				put(at, key.label.record(a))
			}
			put(&c.rest, key.label.record(attempt{src: addr}))
		}
		put(&g.rest, key.label.record(attempt{}))
	}
	return b
}

// empty reports whether all is taken.
func (t *tally) empty() bool { return len(t.take(1).records) == 0 }

// taken says that the box has these.
func (t *tally) taken(b batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, c := range b.counts {
		c.n -= max(b.records[i].Count, 1)
	}
}

// place is where attempts are counted until they are taken.
func (t *tally) place(l label, a attempt) *count {
	g := t.groups[group{l, a.src.Is6()}]
	if g == nil {
		g = &clients{byAddr: make(map[netip.Addr]*client)}
		t.groups[group{l, a.src.Is6()}] = g
	}
	if !a.src.IsValid() {
		return &g.rest
	}
	who := a.src
	if l.reason == policy.Spoofed {
		who = netip.Addr{}
	}
	c := g.byAddr[who]
	if c == nil {
		if len(g.byAddr) >= maxClients {
			return &g.rest
		}
		c = &client{attempts: make(map[attempt]*count)}
		g.byAddr[who] = c
	}
	if !a.dst.IsValid() {
		return &c.rest
	}
	at := c.attempts[a]
	if at == nil {
		if len(c.attempts) >= maxAttempts || t.attempts >= maxAll {
			return &c.rest
		}
		at = new(count)
		c.attempts[a] = at
		t.attempts++
	}
	return at
}

// sweep forgets what was taken and has been quiet.
func (t *tally) sweep() {
	old := t.now().Add(-attemptRest)
	for key, g := range t.groups {
		for addr, c := range g.byAddr {
			for a, at := range c.attempts {
				if at.n == 0 && at.last.Before(old) {
					delete(c.attempts, a)
					t.attempts--
				}
			}
			if len(c.attempts) == 0 && c.rest.n == 0 {
				delete(g.byAddr, addr)
			}
		}
		if len(g.byAddr) == 0 && g.rest.n == 0 {
			delete(t.groups, key)
		}
	}
}
