package bench

import "testing"

func TestMedianOf(t *testing.T) {
	// The ranks are those of Conover, Practical Nonparametric Statistics, or of
	// any table of the sign test at 5 %.
	for _, tt := range []struct {
		n         int
		low, high float64
		bounded   bool
	}{
		{1, 1, 1, false}, {5, 1, 5, false}, {6, 1, 6, true}, {8, 1, 8, true}, {9, 2, 8, true},
		{15, 4, 12, true}, {20, 6, 15, true}, {25, 8, 18, true},
	} {
		var values []float64
		for i := range tt.n { // not in order
			values = append(values, float64((i*7)%tt.n+1))
		}
		if tt.n%7 == 0 {
			t.Fatalf("%d: not each value once", tt.n)
		}
		want := estimate{tt.low, float64(tt.n+1) / 2, tt.high, tt.bounded}
		if got := medianOf(values); got != want {
			t.Errorf("%d values: %+v, want %+v", tt.n, got, want)
		}
	}
}

// Each row is about servers that there are, and has a target; each name is one row's.
func TestRows(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rows {
		if seen[r.name] {
			t.Errorf("two rows %s", r.name)
		}
		seen[r.name] = true
		if find(own).ports[r.plane] == 0 {
			t.Errorf("row %s: tillgate has no port", r.name)
		}
		for _, p := range r.peers {
			if find(p.server).ports[r.plane] == 0 {
				t.Errorf("row %s: %s has no port for it", r.name, p.server)
			}
		}
	}
	if _, err := choose([]string{"no such"}); err == nil {
		t.Error("a row that there is not was chosen")
	}
}
