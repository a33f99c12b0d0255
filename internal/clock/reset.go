package clock

import "time"

// Reset forgets all that was learnt since the program was built, the floor with it: for
// somebody who finds that the box believes a wrong time, which it would defend. What it
// learns next is told to OnChange as at a start.
func (c *Clock) Reset() {
	fresh := New(Config{Machine: Machine{Raw: c.machine.raw, Wall: c.machine.wall}, Built: c.built})
	c.mu.Lock()
	defer c.unlock()
	clear(c.sources)
	c.drift = fresh.drift
	c.good, c.leaped = nil, time.Time{}
	c.doubts, c.seen, c.claim, c.refusal = 0, validity{}, nil, ""
	c.now.Store(fresh.Estimate())
	const why = "what was known was forgotten"
	c.setLevel(c.levelOf(fresh.Estimate()), why, 0)
	c.note(Change{Kind: Forgotten, Why: why})
}
