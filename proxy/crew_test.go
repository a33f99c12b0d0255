package proxy

import (
	"testing"
	"testing/synctest"
)

// TestCrewRests has more pieces of work at once than goroutines that may stay.
func TestCrewRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		resting := func() int {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.resting
		}
		for range 2 { // the second time some are done by those that rest
			begun, end := 0, make(chan bool)
			for range maxResting + 8 {
				c.do(func() { begun++; end <- true })
				synctest.Wait()
			}
			if n := resting(); n != 0 || begun != maxResting+8 {
				t.Errorf("%d of %d begun, %d rest", begun, maxResting+8, n)
			}
			for range maxResting + 8 {
				<-end
			}
			if n := resting(); n != maxResting {
				t.Errorf("%d rest, not %d", n, maxResting)
			}
		}
		var end, closed = make(chan bool), make(chan bool)
		c.do(func() { <-end })
		if n := resting(); n != maxResting-1 {
			t.Errorf("%d rest when one has work, not %d", n, maxResting-1)
		}
		go func() { c.close(); close(closed) }()
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
