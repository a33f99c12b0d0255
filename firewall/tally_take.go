package firewall

import "tillgate/decision"

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
