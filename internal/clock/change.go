package clock

import (
	"context"
	"time"
)

// Kind is what has changed.
type Kind uint8

// The kinds of change.
const (
	LevelChanged Kind = iota // Was and Level differ
	Stepped                  // the quorum moved by more than errors explain: Step
	Falseticker              // a server contradicts the quorum: Server
	Truechimer               // one that did agrees again: Server
	Refused                  // a quorum is not believed
	LeapChanged              // a leap second was announced, or is not any more
	LeapPassed               // it is over: Step
	Forgotten                // by Reset, whatever the level was
)

var kindNames = [...]string{"level", "step", "falseticker", "truechimer", "refused", "leap", "leap-passed", "forgotten"}

func (k Kind) String() string { return kindNames[k] }

// Change is something that an operator may want to know of the clock.
type Change struct {
	Kind       Kind
	Was, Level Level         // before and after; the same but for LevelChanged
	Step       time.Duration // what [Clock.Now] went forward by, at most 292 years
	Server     string        // address and name
	Why        string        // in words
}

// maxChanges is how many changes wait while somebody is told one.
const maxChanges = 64

// OnChange has f called for each change from now on, in their order and one at a
// time. It may ask the clock anything. While it does not come back, changes beyond 64
// are lost; [Clock.Level] is always right.
func (c *Clock) OnChange(f func(Change)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onChange = append(c.onChange, f)
}

// note has a change told by unlock. Called with mu held.
func (c *Clock) note(ch Change) {
	if ch.Kind != LevelChanged {
		ch.Was, ch.Level = c.level, c.level
	}
	if len(c.changes) < maxChanges {
		c.changes = append(c.changes, ch)
	}
}

// unlock lets go of mu, and tells what has changed. Who finds another goroutine at it
// leaves it to that one, so that the order is kept and nobody waits.
func (c *Clock) unlock() {
	if c.telling {
		c.mu.Unlock()
		return
	}
	c.telling = true
	for len(c.changes) > 0 {
		changes, tell := c.changes, c.onChange
		c.changes = nil
		c.mu.Unlock()
		for _, ch := range changes {
			for _, f := range tell {
				f(ch)
			}
		}
		c.mu.Lock()
	}
	c.telling = false
	c.mu.Unlock()
}

// Check notices what changes by age alone: an estimate that is too old to be Fine, a
// leap second, a system's clock that was set wrong. Somebody calls it each second or so.
func (c *Clock) Check() {
	c.mu.Lock()
	defer c.unlock()
	c.check(c.machine.raw())
}

func (c *Clock) check(now time.Duration) {
	c.passLeap(now)
	e := c.now.Load()
	level := c.levelOf(e)
	if level == c.level {
		return
	}
	switch {
	case level > c.level:
		c.setLevel(level, "by the system's clock", 0) // which was set back
	case e.by == byServers:
		c.setLevel(level, "no quorum of time servers answered for "+(now-e.raw).Round(time.Second).String()+
			": the error may be above "+e.maxError.String(), 0)
	default:
		c.setLevel(level, "the system's clock was set to "+moment(c.machine.wall())+", which cannot be", 0)
	}
}

// setLevel says at which level the present estimate is. Called with mu held.
func (c *Clock) setLevel(level Level, why string, step time.Duration) {
	c.why = why
	if level == c.level {
		return
	}
	was := c.level
	c.level = level
	c.note(Change{Kind: LevelChanged, Was: was, Level: level, Why: why, Step: step})
	close(c.changed)
	c.changed = make(chan struct{})
}

// Why says in words on what the present level rests, or why it was lost.
func (c *Clock) Why() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// Wait returns when the time is at least at the level, or with ctx's error.
func (c *Clock) Wait(ctx context.Context, level Level) error {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if c.Level() >= level {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// moment is how times are told to an operator.
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }
