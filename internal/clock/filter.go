package clock

import "time"

// filterSize is how many samples of a server are kept (RFC 5905 §10).
const filterSize = 8

// A reading is what one exchange with a server says.
type reading struct {
	raw    time.Duration // when
	offset int64         // true time less raw, ns since the Unix epoch
	margin time.Duration // bound of the error of offset, at raw
	delay  time.Duration
}

// distance is the bound of its error at another time.
func (r reading) distance(at time.Duration, d *drift) time.Duration {
	return r.margin + scale((at-r.raw).Abs(), d.residual)
}

// offsetAt is the offset that it leads to at another time.
func (r reading) offsetAt(at time.Duration, d *drift) int64 {
	return r.offset + int64(scale(at-r.raw, d.rate))
}

// agrees reports whether both can be right.
func (r reading) agrees(other reading, d *drift) bool {
	apart := time.Duration(r.offset - other.offsetAt(r.raw, d)).Abs()
	return apart <= r.margin+other.distance(r.raw, d)
}

// A filter keeps the last readings of a server, of which the one with the least
// error is used: most of an error is the wait in some queue, so a short round trip
// is a good one.
type filter struct {
	readings []reading
	odd      reading // the last, if it contradicts the others; else zero
	isOdd    bool
}

// add takes a reading in. One that contradicts the others waits for the next: if
// that agrees with it, the server or we have stepped, and the old ones are gone. It
// reports whether the reading waits.
func (f *filter) add(r reading, d *drift) (odd bool) {
	if best, ok := f.best(r.raw, d); ok && !r.agrees(best, d) {
		if !f.isOdd || !r.agrees(f.odd, d) {
			f.odd, f.isOdd = r, true
			return true
		}
		f.readings = append(f.readings[:0], f.odd)
	}
	f.isOdd = false
	if len(f.readings) == filterSize {
		f.readings = append(f.readings[:0], f.readings[1:]...)
	}
	f.readings = append(f.readings, r)
	return false
}

// best is the reading whose error at now is the least.
func (f *filter) best(now time.Duration, d *drift) (best reading, ok bool) {
	for _, r := range f.readings {
		if !ok || r.distance(now, d) < best.distance(now, d) {
			best, ok = r, true
		}
	}
	return best, ok
}

// last is when the last reading was taken.
func (f *filter) last() time.Duration {
	var last time.Duration
	if n := len(f.readings); n > 0 {
		last = f.readings[n-1].raw
	}
	if f.isOdd {
		last = max(last, f.odd.raw)
	}
	return last
}

// shift adds to all offsets.
func (f *filter) shift(by time.Duration) {
	for i := range f.readings {
		f.readings[i].offset += int64(by)
	}
	f.odd.offset += int64(by)
}
