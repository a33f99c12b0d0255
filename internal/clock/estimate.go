package clock

import "time"

// basis is what an estimate rests on.
type basis uint8

const (
	byNothing basis = iota
	bySystem        // the system's clock, with which a chain agrees
	byDate          // a Date header, on a connection whose chain agrees
	byServers       // a quorum of time servers
)

// precision is that of reading the clock, log2 of seconds: about a microsecond.
const precision = -20

// Estimate is what is known of the time from one moment on. It does not change;
// [Clock.Estimate] returns the present one.
type Estimate struct {
	// Level is that at which it began. What counts is [Estimate.LevelAt].
	Level Level
	// Leap is what the servers announce for the end of the month. What may be
	// forwarded is [Estimate.LeapAt].
	Leap Leap
	// Stratum is that of the server that is followed, plus 1; 0 if none ever was.
	Stratum uint8
	// RefID is the reference ID for that server (RFC 5905 §7.3): its IPv4 address, or
	// the first four bytes of the MD5 of its IPv6 address.
	RefID uint32
	// Precision is that of reading the clock, log2 of seconds.
	Precision int8

	by       basis
	raw      time.Duration // when it was made
	base     time.Time     // true time then
	drift    float64       // of raw against true time: seconds a second
	residual float64       // bound of what the drift is wrong by
	bound    time.Duration // of base's error
	maxError time.Duration

	rootDelay, rootDispersion time.Duration // at raw
	leapAt                    time.Time     // when Leap is due

	within validity  // bySystem: of the chain that agrees with it
	floor  time.Time // known to have passed
}

// straight is At without a leap second.
func (e *Estimate) straight(raw time.Duration) time.Time {
	age := raw - e.raw
	return e.base.Add(age + scale(age, e.drift))
}

// At returns the time at raw, in UTC. An inserted leap second is the last second of
// its day for a second time, as POSIX and NTP count.
func (e *Estimate) At(raw time.Duration) time.Time {
	t := e.straight(raw)
	return t.Add(e.leapShift(t))
}

// Error returns the bound of At's error: what the servers prove, and what the
// oscillator may have gone astray since.
func (e *Estimate) Error(raw time.Duration) time.Duration {
	return e.bound + scale((raw-e.raw).Abs(), e.residual)
}

// LevelAt returns how far At may be believed at raw: too old an estimate is Fine no more.
func (e *Estimate) LevelAt(raw time.Duration) Level {
	if e.Level == Fine && e.Error(raw) > e.maxError {
		return Coarse
	}
	return e.Level
}

// RefTime returns when the estimate was last corrected (RFC 5905 §7.3, reference
// timestamp); the zero time when no server ever did.
func (e *Estimate) RefTime() time.Time {
	if e.by != byServers {
		return time.Time{}
	}
	return e.At(e.raw)
}

// RootDelay is the round trip to the primary source (RFC 5905 §7.3).
func (e *Estimate) RootDelay() time.Duration { return e.rootDelay }

// RootDispersion is that to the primary source at raw (RFC 5905 §7.3). With half of
// RootDelay it is never less than Error.
func (e *Estimate) RootDispersion(raw time.Duration) time.Duration {
	return max(e.rootDispersion, e.bound-e.rootDelay/2) + scale((raw-e.raw).Abs(), e.residual)
}

// scale is d·f.
func scale(d time.Duration, f float64) time.Duration { return time.Duration(float64(d) * f) }
