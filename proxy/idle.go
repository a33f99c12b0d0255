package proxy

import "time"

// quiet judges how long a tunnel may go on without a byte. Times are since the
// tunnel's start.
type quiet struct {
	idle  time.Duration // that a tunnel may be
	drain time.Duration // that one may be of which one direction has ended

	half  time.Duration // when the first direction ended; 0: none has
	acked uint64        // what had arrived when last asked
	stuck time.Duration // when more of it had
}

// left is how much longer the tunnel may be quiet, whose last byte was passed on
// at last. It has used up its time at zero and below.
//
// To pass on means that the kernel has taken it: one that is blocked, whose peer
// takes what it is sent slower than once in that time by the buffer, is judged
// by what its peers have acknowledged, as often as it is asked about. So a peer
// that reads nothing is noticed after at most twice the time.
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
