package proxy

import "time"

// quiet judges how long a tunnel may go on without a byte. Times are since the
// tunnel's start.
type quiet struct {
	idle  time.Duration // that a tunnel may be
	drain time.Duration // that one may be of which one direction has ended

	half  time.Duration // when the first direction ended; 0: none has
	acked uint64        // what had been acknowledged when last asked
	stuck time.Duration // when that was last more than before
}

// left is how much longer the tunnel may be quiet; it has used up its time at
// zero and below. last is when the kernel took the last byte.
//
// A blocked tunnel has bytes that the kernel does not take, since a peer does
// not read. Before it counts as quiet, acked tells whether its peers have
// acknowledged more than when last asked, since the kernel takes nothing until a
// good part of its buffer is free. The first time, there is nothing to compare
// with: a peer that reads nothing has at most twice the time.
//
// A half-closed tunnel ends after drain without a byte, and after idle in all,
// however many bytes there are.
func (q *quiet) left(now, last time.Duration, blocked bool, acked func() uint64) time.Duration {
	if blocked && q.until(max(last, q.stuck)) <= now {
		if n := acked(); n != q.acked {
			q.acked, q.stuck = n, now
		}
	}
	if blocked {
		last = max(last, q.stuck)
	}
	return q.until(last) - now
}

func (q *quiet) until(last time.Duration) time.Duration {
	if q.half == 0 {
		return last + q.idle
	}
	return min(max(last, q.half)+q.drain, q.half+q.idle)
}
