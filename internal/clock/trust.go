package clock

import "time"

// claimLife is how long a quorum that is not believed stands in the way of a chain
// that contradicts it, after it was last heard: as long as its servers count.
const claimLife = staleAfter

// A validity is that of a certificate chain, and when it was seen. Who sees it
// believes that the time was then within.
type validity struct {
	host                string
	raw                 time.Duration
	notBefore, notAfter time.Time
}

// is reports whether there is one.
func (v validity) is() bool { return v.host != "" }

// holds reports whether the chain was valid when it was seen, if it is t at now.
func (v validity) holds(now time.Duration, t time.Time) bool {
	t = t.Add(v.raw - now)
	return !t.Before(v.notBefore) && !t.After(v.notAfter)
}

func (v validity) String() string {
	return v.host + "'s certificate (valid from " + moment(v.notBefore) + " to " + moment(v.notAfter) + ")"
}

// accept judges what a quorum says: it is believed unless it lies before the floor,
// contradicts the upstream's chain, or, for the first time, our own bound. It reports
// whether it is not refused. Called with mu held.
func (c *Clock) accept(e *Estimate, now time.Duration, why string) bool {
	if refusal := c.refuse(e, now); refusal != "" {
		if c.claim != nil && !e.base.Before(e.floor) {
			c.claim = e // no chain may confirm what has passed
		}
		c.doubts = 0
		if c.refusal == "" {
			c.note(Change{Kind: Refused, Why: refusal})
		}
		c.refusal = refusal
		return false
	}
	c.refusal, c.claim = "", nil

	before := c.now.Load()
	moved := e.base.Sub(before.At(now))
	if before.by == byServers && moved.Abs() > e.bound+before.Error(now) {
		if c.doubts++; c.doubts < 2 {
			return true
		}
		c.drift.restart()
		c.note(Change{Kind: Stepped, Step: moved, Why: why + ": the time, or the machine, stood still or jumped"})
	}
	c.doubts = 0
	c.drift.add(point{raw: now, offset: e.base.UnixNano() - int64(now), bound: e.bound})
	c.noteLeap(before, e)
	c.publish(e, now, why)
	return true
}

// refuse says why a quorum is not to be believed; empty: it is.
func (c *Clock) refuse(e *Estimate, now time.Duration) string {
	switch {
	case e.base.Before(e.floor):
		return "the time servers say that it is " + moment(e.base) + ", but " + moment(e.floor) + " has passed"
	case !c.seen.is() || c.seen.holds(now, e.base):
		return ""
	}
	return "the time servers say that it is " + moment(e.base) + ", which contradicts " + c.seen.String()
}

// publish puts an estimate in force. Called with mu held.
func (c *Clock) publish(e *Estimate, now time.Duration, why string) {
	was := c.Now()
	e.floor = c.Floor()
	c.now.Store(e)
	c.prove(now)
	c.setLevel(c.levelOf(e), why, c.Now().Sub(was))
}

// prove raises the floor to a Fine time with which a chain agrees. What the time
// servers say alone may yet turn out to be a lie, and a floor is not taken back.
func (c *Clock) prove(now time.Duration) {
	e := c.now.Load()
	if e.by != byServers || !c.seen.is() || e.LevelAt(now) < Fine {
		return
	}
	// A leap second may yet set the time back.
	if t := e.At(now).Add(-e.Error(now) - time.Second); t.After(e.floor) {
		proven := *e
		proven.floor = t
		c.now.Store(&proven)
	}
}
