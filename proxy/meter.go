package proxy

import (
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A window ends when it has lasted for meterWindow, or has had meterBytes: a smaller one says
// more of the buffers on the way than of the line.
const (
	meterWindow = 250 * time.Millisecond
	meterBytes  = 1 << 20
)

// A meter measures how fast bytes come from a server, over windows that follow one another
// while they do. It never says more than the line gave: a pause counts to the window that
// it falls in, and what had come before a window, but had yet to be passed on, does not
// count to it. So a client that reads nothing for a while and then all at once makes no
// fast download of a slow one.
//
// It costs a few words a tunnel, and a system call a window.
type meter struct {
	fastest *atomic.Uint64 // of all tunnels, in bits a second; nil: nobody wants to know

	begun    bool
	began    time.Duration // of the window, since the start of the tunnel
	received uint64        // bytes, by then
}

// moved is called after each copy of a stream, so long after the start of its tunnel.
func (m *meter) moved(s *stream, now time.Duration) {
	took := now - m.began
	if m.fastest == nil || m.begun && (took < time.Millisecond || took < meterWindow && s.bytes < m.received+meterBytes) {
		return
	}
	received := s.bytes + unread(s.src)
	if m.begun && received > m.received { // fewer where the kernel left out urgent data
		raise(m.fastest, uint64(float64(received-m.received)*8/took.Seconds()))
	}
	m.begun, m.began, m.received = true, now, received
}

// unread is the number of bytes that the kernel has of c's peer and nobody has read.
func unread(c *net.TCPConn) (n uint64) {
	control(c, func(fd int) {
		if ready, err := unix.IoctlGetUint32(fd, unix.SIOCINQ); err == nil {
			n = uint64(ready)
		}
	})
	return n
}

// raise makes a number what is greater.
func raise(to *atomic.Uint64, n uint64) {
	for was := to.Load(); n > was && !to.CompareAndSwap(was, n); was = to.Load() {
	}
}
