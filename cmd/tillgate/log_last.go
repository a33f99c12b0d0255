package main

import (
	"bytes"
	"iter"
	"time"

	"tillgate/console"
)

// maxLast bounds log -n, whose records wait in memory until the last has come.
const maxLast = 10000

// latest yields the last n lines that a query has. A journal is read from its older end, and
// nobody wants a year of it read for ten lines: so the last hour is tried first, then more.
func latest(n int, q console.LogQuery, now time.Time, read logSource) iter.Seq2[console.LogLine, error] {
	spans := []time.Duration{time.Hour, day, 30 * day, 0} // 0: all that the query has
	if !q.Since.IsZero() {
		spans = spans[len(spans)-1:]
	}
	if !q.Until.IsZero() && q.Until.Before(now) {
		now = q.Until
	}
	return func(yield func(console.LogLine, error) bool) {
		for _, span := range spans {
			part := q
			if span > 0 {
				part.Since = now.Add(-span)
			}
			var kept []console.LogLine // full, it is a ring
			next := 0                  // of a full ring: the oldest
			for line, err := range read(part) {
				line.JSON = bytes.Clone(line.JSON) // the reader's, until it reads on
				switch {
				case err != nil:
					yield(line, err)
					return
				case line.Progress != nil:
					if !yield(line, nil) {
						return
					}
				case len(kept) < n:
					kept = append(kept, line)
				default:
					kept[next] = line
					next = (next + 1) % n
				}
			}
			if len(kept) < n && span > 0 {
				continue
			}
			for i := range kept {
				if !yield(kept[(next+i)%len(kept)], nil) {
					return
				}
			}
			return
		}
	}
}
