package proxy

import "time"

// A tunnel in which nobody has spoken for a while rests: its two sockets wait in the
// [parking], and nothing else is left of it but what its record will say. When one of them
// has bytes, an end or an error, it wakes and goes on as if it had waited.
//
// It goes to rest in steps. The timer finds that nobody speaks, sets resting, and gives both
// connections a deadline for reading that has passed. With that each stream leaves: the
// first waits until the second has left, which then parks the tunnel.
//
// A stream that has read something before it came to the deadline undoes that, since the
// other is to go on while it writes. It sets busy and then looks at resting, the timer sets
// resting and then looks at busy: one at least sees the other. So nobody is at work with
// the deadline set, but a stream that is about to undo it.

// A rest is what a tunnel knows of that. It is guarded by the tunnel's mutex.
type rest struct {
	parking *parking  // nil: it never rests
	waiting chan bool // of the stream that has left, to hear whether the tunnel is parked
	sockets sockets
	parked  bool
	called  bool          // something was said to a parked tunnel, which is to wake
	woken   time.Duration // when it did, since its start
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// restLocked has the tunnel take the next step, to rest or to wake, and returns when it is
// to be called again. Nobody has spoken for as long as silent.
func (t *tunnel) restLocked(silent time.Duration) time.Duration {
	switch {
	case t.rest.parking == nil || t.quiet.half > 0:
		return t.quiet.idle
	case t.rest.parked && t.rest.called:
		return t.wakeLocked()
	case t.rest.parked:
		return t.quiet.idle
	case silent < t.rest.parking.after:
		return t.rest.parking.after - silent
	}
	t.resting.Store(true)
	if t.up.busy.Load() || t.down.busy.Load() {
		t.stirLocked()
		return t.rest.parking.after
	}
	t.client.SetReadDeadline(longAgo)
	t.server.SetReadDeadline(longAgo)
	return parkAgain
}

// stir is called by a stream that has read something, and finds that the tunnel goes to rest.
func (t *tunnel) stir() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stirLocked()
	if !t.closed {
		t.timer.Reset(min(t.quiet.idle, t.rest.parking.after))
	}
}

// stirLocked has both streams go on.
func (t *tunnel) stirLocked() {
	if !t.resting.Load() {
		return
	}
	t.resting.Store(false)
	t.client.SetReadDeadline(time.Time{})
	t.server.SetReadDeadline(time.Time{})
	if t.rest.waiting != nil {
		t.rest.waiting <- false
		t.rest.waiting = nil
	}
}

// leave is called by a stream that has come to the deadline. If it is true, the tunnel is
// parked and no more of the caller's.
func (t *tunnel) leave() bool {
	t.mu.Lock()
	if !t.resting.Load() {
		t.mu.Unlock()
		return false
	}
	if t.rest.waiting == nil {
		parked := make(chan bool, 1)
		t.rest.waiting = parked
		t.mu.Unlock()
		return <-parked
	}
	defer t.mu.Unlock()
	sockets, err := t.rest.parking.park(t)
	if err != nil {
		t.stirLocked() // the timer tries again after parkAgain
		return false
	}
	t.client.Close()
	t.server.Close()
	t.use(nil, nil)
	t.resting.Store(false)
	t.rest.sockets, t.rest.parked, t.rest.called = sockets, true, false
	t.going = 0
	t.rest.waiting <- true
	t.rest.waiting = nil
	return true
}

// wake is called when something may have been said to a tunnel that is parked.
func (t *tunnel) wake() {
	t.mu.Lock()
	defer t.unlock()
	if t.rest.parked {
		t.rest.called = true
		t.checkLocked()
	}
}

func (t *tunnel) wakeLocked() (again time.Duration) {
	client, server, err := t.rest.parking.unpark(t.rest.sockets)
	if err != nil {
		return wakeAgain
	}
	t.use(client, server)
	t.rest.parked, t.rest.woken = false, time.Since(t.start)
	t.goLocked()
	return t.rest.parking.after
}
