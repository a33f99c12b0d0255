package bench

import "slices"

// An estimate is a median and the bounds between which it is with 95 %
// probability, whatever the distribution.
type estimate struct {
	low, mid, high float64
	bounded        bool // there were enough values for the bounds
}

// medianOf estimates the median of what independent values come from. The bounds
// are two of the values: how many lie below the median is binomial, so that
// between the kth smallest and the kth largest it is with probability
// 1 - 2 P(fewer than k of n coins show heads). With 15 values k is 4; it takes 6
// values to have bounds at all.
func medianOf(values []float64) (e estimate) {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return e
	}
	e.mid = (v[(n-1)/2] + v[n/2]) / 2
	k, below, coins := 0, 0.0, 1.0
	for range n {
		coins /= 2 // the probability that no coin shows heads
	}
	for {
		if below += coins; below > 0.025 {
			break
		}
		coins *= float64(n-k) / float64(k+1)
		k++
	}
	if k == 0 {
		e.low, e.high = v[0], v[n-1]
		return e
	}
	e.low, e.high, e.bounded = v[k-1], v[n-k], true
	return e
}
