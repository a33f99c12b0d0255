package clock

import (
	"cmp"
	"slices"
)

// An interval is where a server says that the truth is.
type interval struct{ low, mid, high int64 }

// overlap returns the least and the greatest point that lie in at least k of the
// intervals, ends included. Between them there may be points that do not.
func overlap(intervals []interval, k int) (low, high int64, ok bool) {
	type edge struct {
		at   int64
		open int // 1: an interval begins, -1: it ends
	}
	edges := make([]edge, 0, 2*len(intervals))
	for _, v := range intervals {
		edges = append(edges, edge{v.low, 1}, edge{v.high, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.open, a.open)) // touching is overlapping
	})
	depth := 0
	for _, e := range edges {
		depth += e.open
		switch {
		case e.open > 0 && depth == k && !ok:
			low, ok = e.at, true
		case e.open < 0 && depth == k-1:
			high = e.at
		}
	}
	return low, high, ok
}

// A choice is what the intervals prove.
type choice struct {
	low, high int64  // the truth is here if more than half are right
	chosen    []bool // by interval: it is not proved wrong
	count     int    // how many are chosen
}

// choose finds who is right: the intersection algorithm of RFC 5905 §11.2.1, as the
// reference implementation has it (without the count of midpoints, by which two good
// servers of unlike quality would find no majority).
//
// The region where the most agree tells who is wrong. It is not the bound: two liars
// who overlap some of three honest servers can move it off the truth. What holds
// the truth as long as more than half are honest is what lies in more than half of
// the intervals.
func choose(intervals []interval) (c choice, ok bool) {
	n := len(intervals)
	majority := n/2 + 1
	if c.low, c.high, ok = overlap(intervals, majority); !ok {
		return choice{}, false
	}
	var low, high int64
	for k := n; k >= majority; k-- {
		if low, high, ok = overlap(intervals, k); ok {
			break
		}
	}
	c.chosen = make([]bool, n)
	for i, v := range intervals {
		if v.low <= high && v.high >= low {
			c.chosen[i] = true
			c.count++
		}
	}
	return c, true
}

// combine returns the mean of the chosen midpoints, weighed by how short the
// intervals are, held inside of what is proved, and the bound of its error.
func (c choice) combine(intervals []interval) (at, bound int64) {
	var sum, weights float64
	origin := c.low // float64 has no room for nanoseconds since 1970
	for i, v := range intervals {
		if c.chosen[i] {
			w := 1 / float64(v.high-v.low+1)
			sum += w * float64(v.mid-origin)
			weights += w
		}
	}
	at = min(max(origin+int64(sum/weights), c.low), c.high)
	return at, max(c.high-at, at-c.low)
}
