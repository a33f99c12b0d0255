// Package clock is the box's one state of trust in time: what time it is, and
// how far that may be believed. Certificates, records, retention and rules
// that end all ask here.
//
// So far the system's clock is the only source. It is trusted unless it stands
// before the floor, a time that is known to have passed: then it is wrong for
// certain (a board without a clock battery wakes up in the past).
package clock

import "time"

// Level is how far the time may be believed.
type Level uint8

// The levels. Each includes the one before.
const (
	None   Level = iota // the clock is wrong, or nothing is known of it
	Coarse              // enough to judge certificates, so enough to resolve names
	Fine                // enough to serve, to end rules and to delete by age
)

var levelNames = [...]string{"none", "coarse", "fine"}

func (l Level) String() string { return levelNames[l] }

// release is a time before which no copy of this source existed.
var release = time.Date(2026, time.November, 22, 0, 0, 0, 0, time.UTC)

// Clock tells the time. It is safe for use by many goroutines.
type Clock struct {
	system func() time.Time
	floor  time.Time
}

// New returns a clock over system (nil: the system's clock). The floor is the
// later of the release and built, which may be zero.
func New(system func() time.Time, built time.Time) *Clock {
	if system == nil {
		system = time.Now
	}
	floor := release
	if built.After(floor) {
		floor = built
	}
	return &Clock{system: system, floor: floor}
}

// Now returns the best estimate of the time, whatever its level. It carries a
// monotonic reading where the source has one.
func (c *Clock) Now() time.Time { return c.system() }

// Level returns how far [Clock.Now] may be believed at this moment.
func (c *Clock) Level() Level {
	if c.system().Before(c.floor) {
		return None
	}
	return Fine
}

// Floor returns a time that is known to have passed.
func (c *Clock) Floor() time.Time { return c.floor }

// Trusted returns the time for what may only be judged by trusted time, such as
// rules that end; it is the zero time below Fine, which ends nothing.
func (c *Clock) Trusted() time.Time {
	if now := c.system(); !now.Before(c.floor) {
		return now
	}
	return time.Time{}
}
