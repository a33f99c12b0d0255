package proxy

import "sync"

// maxResting is how many goroutines of a listener wait for its next connection.
const maxResting = 32

// A crew does pieces of work at once, each in a goroutine. Some of these stay for the next
// piece, with the stack that they have grown: to grow one anew, with TLS and all, takes longer
// than most of what is done on it. Its zero value is ready.
type crew struct {
	mu      sync.Mutex
	resting int
	next    chan func() // to those that rest
	closed  bool
	running sync.WaitGroup
}

// do has a piece of work done. It is not called after close.
func (c *crew) do(work func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resting == 0 {
		c.running.Go(func() { c.member(work) })
		return
	}
	c.resting--
	c.next <- work
}

// member does a piece of work, and then others, as long as not too many rest.
func (c *crew) member(work func()) {
	for work != nil {
		work()
		work = nil
		if c.rest() {
			work = <-c.next
		}
	}
}

// rest reports whether there is to be a next piece of work.
func (c *crew) rest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.resting == maxResting {
		return false
	}
	if c.next == nil {
		c.next = make(chan func(), maxResting)
	}
	c.resting++
	return true
}

// close returns when all work is done and all goroutines are gone.
func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	if c.next != nil {
		close(c.next)
	}
	c.mu.Unlock()
	c.running.Wait()
}
