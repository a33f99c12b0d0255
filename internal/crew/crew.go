// Package crew keeps goroutines for work that comes again and again, each time on a deep
// stack: to grow the stack of a new goroutine takes longer than most of what is done on it.
package crew

import "sync"

// MaxResting is how many goroutines of a crew wait for work. Others end when theirs is done.
const MaxResting = 32

// A Crew does pieces of work at once, each in a goroutine. Some of these stay for the next
// piece, with the stack that they have grown. Its zero value is ready.
type Crew struct {
	mu      sync.Mutex
	resting int
	next    chan func() // to those that rest
	closed  bool
	running sync.WaitGroup
}

// Do has a piece of work done, and does not wait for it. It is not called after Close.
func (c *Crew) Do(work func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resting == 0 {
		c.running.Go(func() { c.member(work) })
		return
	}
	c.resting--
	c.next <- work
}

// Hold has Close wait until done is called, for work that goes on without a goroutine of the
// crew's. It is called by a piece of work.
func (c *Crew) Hold() (done func()) {
	c.running.Add(1)
	return c.running.Done
}

// member does a piece of work, and then others, as long as not too many rest.
func (c *Crew) member(work func()) {
	for work != nil {
		work()
		work = nil
		if c.rest() {
			work = <-c.next
		}
	}
}

// rest reports whether there is to be a next piece of work.
func (c *Crew) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.resting == MaxResting {
		return false
	}
	if c.next == nil {
		c.next = make(chan func(), MaxResting)
	}
	c.resting++
	return true
}

// Close returns when all work is done and all goroutines are gone. Only the first call does
// anything before that.
func (c *Crew) Close() {
	c.mu.Lock()
	if c.next != nil && !c.closed {
		close(c.next)
	}
	c.closed = true
	c.mu.Unlock()
	c.running.Wait()
}
