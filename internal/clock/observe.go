package clock

import (
	"fmt"
	"slices"
	"time"
)

// era is how long the seconds of an NTP timestamp last: since 1900, 2036, 2172, ...
const era = 1 << 32 * time.Second

// Times outside cannot be told in nanoseconds since 1970.
var (
	earliest = time.Unix(0, 0)
	latest   = time.Date(2250, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// Observe takes in what a server said: filter, selection, estimate and trust follow
// at once. It does not wait for anything. It reports whether the server should be
// asked again soon, since what it said contradicts what is known.
func (c *Clock) Observe(s Sample) (again bool) {
	if c.servers.Load() == 0 {
		return false // it is not asked any more
	}
	c.mu.Lock()
	defer c.unlock()
	now := c.machine.raw()
	c.check(now)
	src := c.source(&s)
	if src == nil {
		return false
	}
	src.last = s
	var r reading
	if r, src.unfit = c.read(&s, now); src.unfit != "" {
		src.settle(now)
		return false
	}
	src.leap = s.Leap
	again = src.filter.add(r, &c.drift)
	c.decide(now)
	return again || c.doubts > 0
}

// source finds that of a sample, or makes one; nil if there are too many.
func (c *Clock) source(s *Sample) *source {
	s.Server = s.Server.Unmap()
	src := c.sources[s.Server]
	if src == nil && len(c.sources) < maxSources {
		src = new(source)
		c.sources[s.Server] = src
	}
	return src
}

// read makes a reading of a sample, or says why that can't be done.
func (c *Clock) read(s *Sample, now time.Duration) (r reading, unfit string) {
	// Timestamps of NTP begin again in 2036. A server is within 68 years of us.
	if floor := c.Floor(); s.Time.Before(floor.Add(-era / 2)) {
		s.Time = s.Time.Add(era)
	}
	switch {
	case s.Leap == Unsynchronised || s.Stratum == 0 || s.Stratum > 15:
		return r, "it says that it is not synchronised"
	case s.RootDelay < 0 || s.RootDispersion < 0 || s.Precision < 0 || s.Raw > now:
		return r, "it makes no sense"
	case s.Stratum == 15:
		return r, "its stratum is 15: nobody may follow it"
	case s.Time.Before(earliest) || s.Time.After(latest):
		return r, "it says that it is the year " + fmt.Sprint(s.Time.UTC().Year())
	}
	for _, leap := range []time.Time{c.leaped, c.now.Load().leapAt} {
		if s.Time.Sub(leap).Abs() < leapMargin {
			return r, "it was asked during a leap second"
		}
	}
	delay := max(s.Delay, 0) // of the best networks it is less than the clocks can tell
	return reading{
		raw:    s.Raw,
		offset: s.Time.UnixNano() - int64(s.Raw),
		margin: delay/2 + s.RootDelay/2 + s.RootDispersion + s.Precision + time.Microsecond,
		delay:  delay,
	}, ""
}

// decide chooses among the servers, and makes an estimate if enough of them agree.
func (c *Clock) decide(now time.Duration) {
	var voters []*source
	var intervals []interval
	for _, s := range c.sources {
		if _, ok := s.interval(now, &c.drift); ok {
			voters = append(voters, s)
		} else {
			s.settle(now)
		}
	}
	slices.SortFunc(voters, func(a, b *source) int { return a.last.Server.Compare(b.last.Server) })
	for _, s := range voters {
		v, _ := s.interval(now, &c.drift)
		intervals = append(intervals, v)
	}
	pick, ok := choose(intervals)
	need := max(1, min(c.quorum, int(c.servers.Load())))
	if !ok || pick.count < need {
		for _, s := range voters {
			s.state = Pending
		}
		return
	}
	e, chosen := c.estimate(now, pick, voters, intervals)
	state := Chosen
	if !c.accept(e, now, fmt.Sprintf("%d of %d time servers agree", pick.count, len(voters))) {
		state = Disbelieved
	}
	if state == Chosen {
		c.good = c.good[:0]
		for _, s := range chosen {
			c.good = append(c.good, SavedServer{s.last.Name, s.last.Server})
		}
	}
	for _, s := range voters {
		was := s.state
		if s.state = state; !slices.Contains(chosen, s) {
			s.state = FalseTicker
		}
		switch {
		case s.state == FalseTicker && was != FalseTicker:
			c.note(Change{Kind: Falseticker, Server: s.label(), Why: "it contradicts the time servers that agree with each other"})
		case s.state == Chosen && was == FalseTicker:
			c.note(Change{Kind: Truechimer, Server: s.label(), Why: "it agrees with the other time servers again"})
		}
	}
}

// estimate makes one of a choice.
func (c *Clock) estimate(now time.Duration, pick choice, voters []*source, intervals []interval) (*Estimate, []*source) {
	var chosen []*source
	peer := -1 // the server that is followed: the one with the least error
	for i, s := range voters {
		if !pick.chosen[i] {
			continue
		}
		chosen = append(chosen, s)
		if v := intervals[i]; peer < 0 || v.high-v.low < intervals[peer].high-intervals[peer].low {
			peer = i
		}
	}
	offset, bound := pick.combine(intervals)
	last, read := &voters[peer].last, reading{}
	read, _ = voters[peer].filter.best(now, &c.drift)
	e := &Estimate{
		Level:     Fine,
		Leap:      voteLeap(chosen),
		Stratum:   last.Stratum + 1,
		RefID:     refID(last.Server),
		Precision: precision,
		by:        byServers,
		raw:       now,
		base:      time.Unix(0, offset).Add(now).UTC(),
		drift:     c.drift.rate,
		residual:  c.drift.residual,
		bound:     time.Duration(bound),
		maxError:  c.maxError,
		rootDelay: last.RootDelay + read.delay,
		rootDispersion: last.RootDispersion + last.Precision + scale(now-read.raw, c.drift.residual) +
			time.Duration(intervals[peer].mid-offset).Abs(),
		floor: c.Floor(),
	}
	if e.bound > e.maxError {
		e.Level = Coarse
	}
	if e.base.Sub(c.leaped) < leapRest {
		e.Leap = LeapNone
	}
	if e.Leap != LeapNone {
		e.leapAt = monthEnd(e.base)
	}
	return e, chosen
}
