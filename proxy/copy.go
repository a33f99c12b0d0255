package proxy

import (
	"io"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A stream passes on what one end of a tunnel says to the other.
//
// What is said in turns, as most is, is read and written: two system calls a message, of
// which the first also tells when there is none, the end and errors. What fills the buffer is
// followed by more, most often: that is moved in the kernel, since a *net.TCPConn that reads
// from another uses splice(2).
//
// That takes a pipe before there is anything to read, so a bare io.Copy holds
// two descriptors for as long as nobody speaks. A stream waits without one: it
// asks for the number of bytes that are there, and moves just these. While it
// waits it has no buffer either.
type stream struct {
	of       *tunnel
	src, dst *net.TCPConn
	first    []byte      // what src has said already
	moved    func()      // called after each copy
	bytes    uint64      // that dst has taken, for when run has returned
	busy     atomic.Bool // there is something that dst has yet to take
	look     func(uintptr) bool
	bulk     bool               // the buffer was filled the last time
	ready    int                // what look found: bytes to be moved in the kernel,
	buf      *[messageSize]byte // or bytes that it has read,
	n        int
	readErr  error // or the end or an error
	some     io.LimitedReader
}

// messageSize is that of the buffer by which messages are passed on. A tunnel of which a side does
// not read holds one each way.
const messageSize = 8 << 10

var buffers = sync.Pool{New: func() any { return new([messageSize]byte) }}

// run copies until src has no more to say or one side fails, and tells which
// side it was. With neither error, src said that it has no more (FIN). At src's deadline for
// reading it returns os.ErrDeadlineExceeded, and may be called again: nothing has been read
// then that was not passed on.
func (s *stream) run() (readErr, writeErr error) {
	raw, err := s.src.SyscallConn()
	if err != nil {
		return err, nil
	}
	if len(s.first) > 0 { // which makes the stream busy
		n, err := s.dst.Write(s.first)
		if s.first = nil; s.took(int64(n), err) != nil {
			return nil, err
		}
	}
	s.look = s.lookAt // once: it would be a piece of garbage each time
	for {
		err := raw.Read(s.look)
		switch {
		case err != nil:
			return err, nil
		case s.readErr == io.EOF:
			return nil, nil
		case s.readErr != nil:
			return s.readErr, nil
		case s.of.resting.Load():
			s.of.stir()
		}
		if s.ready > 0 {
			// These bytes are there, so that an error is dst's.
			s.some = io.LimitedReader{R: s.src, N: int64(s.ready)}
			n, err := s.dst.ReadFrom(&s.some)
			s.some.R = nil // a tunnel that rests is to keep nothing of it
			if s.took(n, err) != nil {
				return nil, err
			}
			continue
		}
		n, err := s.dst.Write(s.buf[:s.n])
		buffers.Put(s.buf)
		s.buf = nil
		if s.took(int64(n), err) != nil {
			return nil, err
		}
	}
}

// took counts what dst has taken.
func (s *stream) took(n int64, err error) error {
	s.bytes += uint64(n)
	s.moved()
	s.busy.Store(false) // only now: a tunnel that is not busy may rest, by when it last moved
	return err
}

// lookAt reports whether there is something to do: bytes, the end or an error.
// If not, the runtime parks the goroutine until there may be.
//
// The kernel does not count all that can be read: neither what came with the SYN while the
// handshake goes on (TCP Fast Open), nor what is behind urgent data. Of the latter splice(2)
// waits at the urgent byte for ever; a read passes over it, and leaves it out, as any that
// does not ask for it (tcp(7), SO_OOBINLINE).
func (s *stream) lookAt(fd uintptr) bool {
	s.ready = 0
	if s.bulk {
		if n, err := unix.IoctlGetUint32(int(fd), unix.SIOCINQ); err == nil && n > messageSize {
			s.ready = int(n)
			s.busy.Store(true)
			return true
		}
		s.bulk = false
	}
	buf := buffers.Get().(*[messageSize]byte)
	n, err := unix.Read(int(fd), buf[:])
	for err == unix.EINTR {
		n, err = unix.Read(int(fd), buf[:])
	}
	if n > 0 {
		s.buf, s.n, s.bulk = buf, n, n == messageSize
		s.busy.Store(true)
		return true
	}
	buffers.Put(buf)
	switch err {
	case unix.EAGAIN:
		return false
	case nil:
		err = io.EOF
	}
	s.readErr = err
	return true
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

// awaitReset returns syscall.ECONNRESET when c is dead. Any other error is that of a read
// which nothing came to, as at the deadline.
func awaitReset(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Read(func(fd uintptr) bool { return isDead(int(fd)) }); err != nil {
		return err
	}
	return unix.ECONNRESET
}

// control runs f unless c is closed.
func control(c *net.TCPConn, f func(fd int)) error {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	return err
}
