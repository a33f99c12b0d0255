package clock

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// around makes intervals of pairs of a midpoint and a distance.
func around(pairs ...[2]int64) (all []interval) {
	for _, p := range pairs {
		all = append(all, interval{p[0] - p[1], p[0], p[0] + p[1]})
	}
	return all
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name      string
		intervals []interval
		low, high int64
		chosen    []bool // nil: no majority
	}{
		{"none", nil, 0, 0, nil},
		{"one", around([2]int64{5, 2}), 3, 7, []bool{true}},
		{"good", around([2]int64{0, 10}, [2]int64{1, 10}, [2]int64{2, 10}, [2]int64{-1, 10}), -9, 10, []bool{true, true, true, true}},
		{"two that agree, though one is much better", around([2]int64{0, 5}, [2]int64{20, 50}), -5, 5, []bool{true, true}},
		{"two that do not", around([2]int64{0, 5}, [2]int64{20, 5}), 0, 0, nil},
		{"touching", around([2]int64{0, 5}, [2]int64{10, 5}), 5, 5, []bool{true, true}},
		{"one of them biased by less than its distance", around([2]int64{0, 5}, [2]int64{1, 5}, [2]int64{8, 5}), -4, 6, []bool{true, true, true}},
		{"one liar of three", around([2]int64{0, 5}, [2]int64{1, 5}, [2]int64{1000, 5}), -4, 5, []bool{true, true, false}},
		{"a liar who is very sure", around([2]int64{0, 5}, [2]int64{1, 5}, [2]int64{-3, 5}, [2]int64{900, 0}), -4, 2, []bool{true, true, true, false}},
		{"two liars of five who agree", around([2]int64{0, 5}, [2]int64{100, 5}, [2]int64{1, 5}, [2]int64{101, 5}, [2]int64{2, 5}), -3, 5, []bool{true, false, true, false, true}},
		{"half of four", around([2]int64{0, 5}, [2]int64{1, 5}, [2]int64{100, 5}, [2]int64{101, 5}), 0, 0, nil},
		{"all disjoint", around([2]int64{0, 5}, [2]int64{100, 5}, [2]int64{200, 5}), 0, 0, nil},
		{"a chain of overlaps without a majority at any point", around([2]int64{0, 5}, [2]int64{8, 5}, [2]int64{16, 5}, [2]int64{24, 5}), 0, 0, nil},
		// Four agree on -1 to 1; the fifth knows that it is 8 to 10, and is right. The bound
		// must hold that: three honest ones agree on it.
		{"liars who overlap two of three honest ones",
			around([2]int64{0, 10}, [2]int64{0, 10}, [2]int64{9, 1}, [2]int64{0, 1}, [2]int64{0, 1}), -1, 10, []bool{true, true, false, true, true}},
	} {
		c, ok := choose(tt.intervals)
		if ok != (tt.chosen != nil) || c.low != tt.low || c.high != tt.high || !cmp.Equal(c.chosen, tt.chosen) {
			t.Errorf("%s: %+v %t, want %d to %d, %v", tt.name, c, ok, tt.low, tt.high, tt.chosen)
		}
		if !ok {
			continue
		}
		at, bound := c.combine(tt.intervals)
		if at < c.low || at > c.high || at-bound > c.low || at+bound < c.high {
			t.Errorf("%s: %d ± %d does not cover %d to %d", tt.name, at, bound, c.low, c.high)
		}
	}
}

func TestCombine(t *testing.T) {
	const now = 1_800_000_000_000_000_000 // where a float64 counts in steps of 256 ns
	for _, tt := range []struct {
		name      string
		intervals []interval
		want      int64
	}{
		{"one", around([2]int64{now + 5, 100}), now + 5},
		{"equal ones", around([2]int64{now + 10, 100}, [2]int64{now + 20, 100}), now + 15},
		{"the better one counts more", around([2]int64{now, 1000}, [2]int64{now + 100, 9000}), now + 10},
		{"a falseticker does not count", around([2]int64{now, 100}, [2]int64{now + 8, 100}, [2]int64{now + 5000, 10}), now + 4},
	} {
		c, ok := choose(tt.intervals)
		if got, _ := c.combine(tt.intervals); !ok || got < tt.want-1 || got > tt.want+1 {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// The sweep finds what counting at every end finds.
func TestOverlapOracle(t *testing.T) {
	naive := func(intervals []interval, k int) (low, high int64, ok bool) {
		for _, v := range intervals {
			for _, at := range []int64{v.low, v.high} {
				depth := 0
				for _, w := range intervals {
					if w.low <= at && at <= w.high {
						depth++
					}
				}
				if depth < k {
					continue
				}
				if !ok {
					low, high, ok = at, at, true
				}
				low, high = min(low, at), max(high, at)
			}
		}
		return low, high, ok
	}
	one := rapid.Custom(func(t *rapid.T) interval {
		mid, distance := rapid.Int64Range(-20, 20).Draw(t, "mid"), rapid.Int64Range(0, 15).Draw(t, "distance")
		return interval{mid - distance, mid, mid + distance}
	})
	rapid.Check(t, func(t *rapid.T) {
		intervals := rapid.SliceOfN(one, 0, 12).Draw(t, "intervals")
		for k := 1; k <= len(intervals)+1; k++ {
			low, high, ok := overlap(intervals, k)
			wantLow, wantHigh, wantOK := naive(intervals, k)
			if low != wantLow || high != wantHigh || ok != wantOK {
				t.Fatalf("%d of %v: %d to %d, %t, want %d to %d, %t", k, intervals, low, high, ok, wantLow, wantHigh, wantOK)
			}
		}
		// With more than half of them around a truth, it is between.
		truth := rapid.Int64Range(-20, 20).Draw(t, "truth")
		honest := 0
		for _, v := range intervals {
			if v.low <= truth && truth <= v.high {
				honest++
			}
		}
		if c, ok := choose(intervals); 2*honest > len(intervals) && (!ok || truth < c.low || truth > c.high) {
			t.Fatalf("%v: %+v misses the truth %d", intervals, c, truth)
		}
	})
}
