package proxy

import (
	"io"
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A stream passes on what one end of a tunnel says to the other, in the kernel:
// a *net.TCPConn that reads from another uses splice(2).
//
// That takes a pipe before there is anything to read, so a bare io.Copy holds
// two descriptors for as long as nobody speaks. A stream waits without one: it
// asks for the number of bytes that are there, and copies just these. While it
// waits it has no buffer either.
type stream struct {
	src, dst *net.TCPConn
	first    []byte      // what src has said already
	moved    func()      // called after each copy
	bytes    uint64      // that dst has taken, for when run has returned
	busy     atomic.Bool // there is something that dst has yet to take
	look     func(uintptr) bool
	ready    int   // what look found: bytes, of which it may be unable to tell how many,
	readErr  error // or the end or an error
	some     io.LimitedReader
}

// run copies until src has no more to say or one side fails, and tells which
// side it was. With neither error, src said that it has no more (FIN).
func (s *stream) run() (readErr, writeErr error) {
	raw, err := s.src.SyscallConn()
	if err != nil {
		return err, nil
	}
	if len(s.first) > 0 {
		s.busy.Store(true)
		n, err := s.dst.Write(s.first)
		if s.first = nil; s.took(int64(n), err) != nil {
			return nil, err
		}
	}
	s.look = s.lookAt // once: it would be a piece of garbage each time
	for {
		if err := raw.Read(s.look); err != nil {
			return err, nil
		}
		switch {
		case s.readErr == io.EOF:
			return nil, nil
		case s.readErr != nil:
			return s.readErr, nil
		}
		s.busy.Store(true)
		if s.ready == 0 {
			if readErr, writeErr = s.copyUncounted(); readErr != nil || writeErr != nil {
				return readErr, writeErr
			}
			continue
		}
		// These bytes are there, so that an error is dst's.
		s.some = io.LimitedReader{R: s.src, N: int64(s.ready)}
		if n, err := s.dst.ReadFrom(&s.some); s.took(n, err) != nil {
			return nil, err
		}
	}
}

// took counts what dst has taken.
func (s *stream) took(n int64, err error) error {
	s.bytes += uint64(n)
	s.busy.Store(false)
	s.moved()
	return err
}

// lookAt reports whether there is something to do: bytes, the end or an error.
// If not, the runtime parks the goroutine until there may be.
func (s *stream) lookAt(fd uintptr) bool {
	s.ready, s.readErr = 0, nil
	if n, err := unix.IoctlGetUint32(int(fd), unix.SIOCINQ); err == nil && n > 0 {
		s.ready = int(n)
		return true
	}
	// Most often there is nothing; poll says so without making garbage.
	poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll[:], 0); err == nil && n == 0 {
		return false
	}
	var b [1]byte
	for {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != nil:
			s.readErr = err
		case n == 0:
			s.readErr = io.EOF
		}
		return true
	}
}

// copyUncounted copies bytes that can be read but that the kernel does not
// count: those that came with the SYN while the handshake goes on (TCP Fast
// Open), and those behind urgent data. splice(2) waits at urgent data for ever;
// a read passes over it, and leaves out the urgent byte, as any that does not
// ask for it (tcp(7), SO_OOBINLINE).
func (s *stream) copyUncounted() (readErr, writeErr error) {
	var buf [2 << 10]byte
	n, err := s.src.Read(buf[:])
	if n == 0 {
		s.busy.Store(false)
		if err == io.EOF {
			err = nil // it comes again
		}
		return err, nil
	}
	n, err = s.dst.Write(buf[:n])
	return nil, s.took(int64(n), err)
}

// unsettled is the number of bytes that the kernel has taken for c and that the
// peer has not acknowledged.
func unsettled(c *net.TCPConn) (n uint32) {
	control(c, func(fd int) { n, _ = unix.IoctlGetUint32(fd, unix.SIOCOUTQ) })
	return n
}

// acknowledged is the number of bytes that c's peer has acknowledged since the
// connection began.
func acknowledged(c *net.TCPConn) (n uint64) {
	control(c, func(fd int) {
		if i, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO); err == nil {
			n = i.Bytes_acked
		}
	})
	return n
}

// dead reports whether c has been reset, or has ended in both directions.
func dead(c *net.TCPConn) (is bool) {
	control(c, func(fd int) { is = isDead(fd) })
	return is
}

func isDead(fd int) bool {
	const closed = 7 // TCP_CLOSE of linux/tcp_states.h
	i, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	return err == nil && i.State == closed
}

// control runs f unless c is closed.
func control(c *net.TCPConn, f func(fd int)) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
