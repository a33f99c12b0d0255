package clock

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFilter(t *testing.T) {
	const ms = time.Millisecond
	var d drift
	d.remember(0)
	type add struct {
		second int
		offset time.Duration
		margin time.Duration
	}
	for _, tt := range []struct {
		name string
		adds []add
		odd  []int // which of them wait
		keep []int // seconds of those that are kept in the end
		best int
	}{
		{"one", []add{{0, 0, ms}}, nil, []int{0}, 0},
		{"the one with the least delay", []add{{0, 0, 5 * ms}, {1, 0, ms}, {2, ms, 9 * ms}}, nil, []int{0, 1, 2}, 1},
		{"unless it is too old", []add{{0, 0, ms}, {1000, 0, 5 * ms}}, nil, []int{0, 1000}, 1000},
		{"the last eight", []add{{0, 0, ms}, {1, 0, ms}, {2, 0, ms}, {3, 0, ms}, {4, 0, ms}, {5, 0, ms}, {6, 0, ms}, {7, 0, ms}, {8, 0, 2 * ms}},
			nil, []int{1, 2, 3, 4, 5, 6, 7, 8}, 7},
		{"an odd one waits", []add{{0, 0, ms}, {1, time.Second, ms}}, []int{1}, []int{0}, 0},
		{"and is forgotten", []add{{0, 0, ms}, {1, time.Second, ms}, {2, 0, ms}, {3, time.Second, ms}}, []int{1, 3}, []int{0, 2}, 2},
		{"two odd ones that agree are right", []add{{0, 0, ms}, {1, time.Second, 3 * ms}, {2, time.Second, 4 * ms}}, []int{1}, []int{1, 2}, 1},
		{"two that do not are not", []add{{0, 0, ms}, {1, time.Second, ms}, {2, 2 * time.Second, ms}, {3, 2 * time.Second, ms}},
			[]int{1, 2}, []int{2, 3}, 3},
	} {
		var f filter
		var odd, keep []int
		now := time.Duration(0)
		for _, a := range tt.adds {
			now = time.Duration(a.second) * time.Second
			if f.add(reading{raw: now, offset: int64(a.offset), margin: a.margin}, &d) {
				odd = append(odd, a.second)
			}
			if f.last() != now {
				t.Errorf("%s: last %v, want %v", tt.name, f.last(), now)
			}
		}
		for _, r := range f.readings {
			keep = append(keep, int(r.raw/time.Second))
		}
		best, ok := f.best(now, &d)
		if !ok || int(best.raw/time.Second) != tt.best || !cmp.Equal(odd, tt.odd) || !cmp.Equal(keep, tt.keep) {
			t.Errorf("%s: odd %v, kept %v, best %v, want %v, %v, %d s", tt.name, odd, keep, best.raw, tt.odd, tt.keep, tt.best)
		}
	}
}
