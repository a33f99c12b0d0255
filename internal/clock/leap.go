package clock

import "time"

// Leap is the leap indicator (RFC 5905 §7.3).
type Leap uint8

// The leap indicators.
const (
	LeapNone       Leap = iota
	LeapInsert          // the last minute of the month has 61 seconds
	LeapDelete          // it has 59
	Unsynchronised      // the time is not to be used
)

var leapNames = [...]string{"none", "insert", "delete", "unsynchronised"}

func (l Leap) String() string { return leapNames[l&3] }

// monthEnd is the first moment of the UTC month after t's.
func monthEnd(t time.Time) time.Time {
	year, month, _ := t.UTC().Date()
	return time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
}

// leapShift is what a leap second makes of straight time t.
func (e *Estimate) leapShift(t time.Time) time.Duration {
	switch {
	case e.Leap == LeapInsert && !t.Before(e.leapAt):
		return -time.Second
	case e.Leap == LeapDelete && !t.Before(e.leapAt.Add(-time.Second)):
		return time.Second
	}
	return 0
}

// LeapAt returns the leap indicator to tell at raw: Unsynchronised below Fine, and a
// leap second only on the last day of its month, before it. (RFC 5905 speaks of the
// month; clients that take it for the day's end are out there.)
func (e *Estimate) LeapAt(raw time.Duration) Leap {
	if e.LevelAt(raw) < Fine {
		return Unsynchronised
	}
	if e.Leap == LeapNone {
		return LeapNone
	}
	t := e.straight(raw)
	if t.Before(e.leapAt.AddDate(0, 0, -1)) || e.leapShift(t) != 0 {
		return LeapNone
	}
	return e.Leap
}

const (
	// leapMargin is how far from a leap second samples are not believed: a server may
	// take it a little early or late.
	leapMargin = 2 * time.Second
	// leapRest is how long after one no other is believed: servers go on announcing the
	// one that is over for a while.
	leapRest = 24 * time.Hour
)

// passLeap turns everything that was measured before a leap second into what it
// would have been after it. Called with mu held.
func (c *Clock) passLeap(now time.Duration) {
	e := c.now.Load()
	shift := e.leapShift(e.straight(now))
	if shift == 0 {
		return
	}
	for _, s := range c.sources {
		s.filter.shift(shift)
	}
	c.drift.shift(shift)
	after := *e
	after.base = e.base.Add(shift)
	after.Leap, after.leapAt = LeapNone, time.Time{}
	c.leaped = e.leapAt
	c.now.Store(&after)
	c.note(Change{Kind: LeapPassed, Step: shift, Why: "the leap second that the time servers announced is over"})
}

// noteLeap tells of a leap second that is announced, or is not any more.
func (c *Clock) noteLeap(before, e *Estimate) {
	switch {
	case before.Leap == e.Leap:
	case e.Leap == LeapNone:
		c.note(Change{Kind: LeapChanged, Why: "the time servers do not announce a leap second any more"})
	default:
		c.note(Change{Kind: LeapChanged, Why: "the time servers announce a leap second (" + e.Leap.String() + ") at " + moment(e.leapAt)})
	}
}

// voteLeap is what more than half of the chosen servers announce.
func voteLeap(chosen []*source) Leap {
	var votes [4]int
	for _, s := range chosen {
		votes[s.leap]++
	}
	for _, l := range []Leap{LeapInsert, LeapDelete} {
		if 2*votes[l] > len(chosen) {
			return l
		}
	}
	return LeapNone
}
