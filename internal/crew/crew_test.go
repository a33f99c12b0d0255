package crew

import (
	"testing"
	"testing/synctest"
)

// TestCrewRests has more pieces of work at once than goroutines that may stay.
func TestCrewRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Crew
		resting := func() int {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.resting
		}
		for range 2 { // the second time some are done by those that rest
			begun, end := 0, make(chan bool)
			for range MaxResting + 8 {
				c.Do(func() { begun++; end <- true })
				synctest.Wait()
			}
			if n := resting(); n != 0 || begun != MaxResting+8 {
				t.Errorf("%d of %d begun, %d rest", begun, MaxResting+8, n)
			}
			for range MaxResting + 8 {
				<-end
			}
			if n := resting(); n != MaxResting {
				t.Errorf("%d rest, not %d", n, MaxResting)
			}
		}
		var end, closed = make(chan bool), make(chan bool)
		c.Do(func() { <-end })
		if n := resting(); n != MaxResting-1 {
			t.Errorf("%d rest when one has work, not %d", n, MaxResting-1)
		}
		go func() { c.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed with work that is not done")
		default:
		}
		close(end)
		<-closed
	})
}

// TestCrewHold: Close waits for work that has no goroutine.
func TestCrewHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Crew
		var done func()
		c.Do(func() { done = c.Hold() })
		closed := false
		go func() { c.Close(); closed = true }()
		synctest.Wait()
		if closed {
			t.Error("closed with work that is not done")
		}
		done()
		synctest.Wait()
		if !closed {
			t.Error("not closed when all work was done")
		}
	})
}
