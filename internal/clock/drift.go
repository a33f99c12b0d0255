package clock

import (
	"cmp"
	"slices"
	"time"
)

const (
	million = 1e6

	// unknownDrift is assumed of an oscillator that was not measured yet.
	unknownDrift = 100 / million
	// wander is how far its frequency may go from what was measured (RFC 5905 PHI).
	wander = 15 / million
	// greatestDrift is what no oscillator has that a box could work with.
	greatestDrift = 500 / million

	// Of the estimates one a minute is kept, half an hour's: every second one is
	// let go when they are too many, which doubles the time they span.
	driftEvery  = time.Minute
	driftPoints = 32
	// driftSpan is the longest: after it the oscillator is another one.
	driftSpan = 12 * time.Hour
	// driftTells is a span that tells more than what was measured before a step, even
	// if it is less sure.
	driftTells = 3 * time.Hour
)

// A point is an estimate of the past.
type point struct {
	raw    time.Duration
	offset int64
	bound  time.Duration
}

// drift measures the frequency error of the raw clock.
type drift struct {
	rate     float64 // seconds of true time that a second of raw lacks
	residual float64 // bound of what rate is wrong by
	points   []point
	every    time.Duration
}

// remember begins with what the last run measured. It may have been another board, so
// the bound is as if nothing was known.
func (d *drift) remember(rate float64) {
	*d = drift{rate: rate, residual: unknownDrift + max(rate, -rate), every: driftEvery}
}

// add takes an estimate in.
func (d *drift) add(p point) {
	if n := len(d.points); n > 0 && p.raw-d.points[n-1].raw < d.every {
		return
	}
	d.points = append(d.points, p)
	d.points = slices.DeleteFunc(d.points, func(q point) bool { return p.raw-q.raw > driftSpan })
	if len(d.points) == driftPoints {
		thin := d.points[:0]
		for i, q := range d.points {
			if i%2 == 1 {
				thin = append(thin, q)
			}
		}
		d.points = thin
		if d.every < driftSpan/driftPoints {
			d.every *= 2
		}
	}
	d.measure()
}

// measure takes the median of the slopes between points that lie far apart (Theil
// and Sen): a few bad estimates do not move it. Each slope is wrong by no more than the
// bounds of its ends allow, so the median by no more than that and its distance to
// the slope; and the oscillator may wander.
func (d *drift) measure() {
	n := len(d.points)
	if n < 3 {
		return
	}
	span := d.points[n-1].raw - d.points[0].raw
	type slope struct{ rate, slack float64 } // and how wrong it can be
	var slopes []slope
	for i, p := range d.points {
		for _, q := range d.points[i+1:] {
			apart := q.raw - p.raw
			if apart < span/2 {
				continue
			}
			slopes = append(slopes, slope{float64(q.offset-p.offset) / float64(apart), float64(p.bound+q.bound) / float64(apart)})
		}
	}
	slices.SortFunc(slopes, func(a, b slope) int { return cmp.Compare(a.rate, b.rate) })
	rate := slopes[len(slopes)/2].rate
	residual := 1.0
	for _, s := range slopes {
		residual = min(residual, max(rate-s.rate, s.rate-rate)+s.slack+wander)
	}
	if max(rate, -rate) > greatestDrift || residual >= unknownDrift {
		return
	}
	if residual < d.residual || span >= driftTells {
		d.rate, d.residual = rate, residual
	}
}

// shift adds to all offsets.
func (d *drift) shift(by time.Duration) {
	for i := range d.points {
		d.points[i].offset += int64(by)
	}
}

// restart forgets the points, which lie on the other side of a step. What was measured
// of the oscillator stays true.
func (d *drift) restart() { d.points, d.every = d.points[:0], driftEvery }
