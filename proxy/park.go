package proxy

import (
	"errors"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// parkAfter is how long nobody has spoken in a tunnel that rests.
	parkAfter = 10 * time.Second
	// parkAgain is when a tunnel tries again to rest: another spoke, or there was no descriptor.
	parkAgain = time.Minute
	// wakeAgain is when one tries again to wake that had no descriptor for it.
	wakeAgain = time.Second

	// When many tunnels have gone to rest, and then others for a while, Go gives back the
	// memory that they had, which it would keep for long. It is a garbage collection.
	parkedMany     = 100
	giveBackAfter  = 2 * time.Second
	giveBackPeriod = time.Minute

	// spares is how many descriptors a tunnel takes at most while it wakes. Then it has two, as
	// before.
	spares = 3
)

// A parking waits for what is said in the tunnels that rest, all in one goroutine. The
// sockets of these are bare descriptors in an epoll instance of its own, which Go's poller
// watches like a socket.
type parking struct {
	after time.Duration

	// What the machine does. Tests have machines of their own.
	dup  func(*net.TCPConn) (fd int, err error)
	conn func(fd int) (*net.TCPConn, error)
	free func()

	running sync.WaitGroup
	closed  chan struct{}
	many    chan struct{}

	mu      sync.Mutex
	epoll   *os.File          // nil: no tunnel has rested yet
	fd      int               // of epoll
	tunnels map[int32]*tunnel // by the descriptor of the client
	counted int               // of tunnels, when there were many or, since, fewest

	waking sync.Mutex // held while a tunnel wakes: the spares are for one
	spare  []int      // descriptors
}

// sockets are those of a tunnel that rests.
type sockets struct{ client, server int }

// newParking starts nothing.
func newParking(after time.Duration) *parking {
	return &parking{
		after: after, dup: dup, conn: connOf, free: debug.FreeOSMemory,
		closed: make(chan struct{}), many: make(chan struct{}, 1),
		tunnels: make(map[int32]*tunnel),
	}
}

// openLocked begins to wait, once.
func (p *parking) openLocked() error {
	if p.epoll != nil {
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	unix.SetNonblock(fd, true) // so that os has Go's poller wait for it
	epoll := os.NewFile(uintptr(fd), "epoll")
	raw, err := epoll.SyscallConn()
	if err == nil {
		err = epoll.SetReadDeadline(time.Time{}) // fails if Go's poller can't
	}
	if err != nil {
		epoll.Close()
		return err
	}
	p.epoll, p.fd = epoll, fd
	p.running.Go(func() { p.wait(raw) })
	p.running.Go(p.giveBack)
	return nil
}

// close is called when no tunnel is left.
func (p *parking) close() {
	close(p.closed)
	if p.epoll != nil {
		p.epoll.Close()
	}
	p.running.Wait()
	p.waking.Lock()
	defer p.waking.Unlock()
	p.useSpares()
}

// wait wakes the tunnels in which something is said, until p is closed.
func (p *parking) wait(raw syscall.RawConn) {
	var events [64]unix.EpollEvent
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			p.mu.Lock()
			t := p.tunnels[e.Fd]
			p.mu.Unlock()
			if t != nil { // which may be another that has the number now: it wakes for nothing
				t.wake()
			}
		}
	}
}

// park takes a tunnel's connections in, which the tunnel is to close then: that says nothing
// to the peers, since the sockets stay open.
func (p *parking) park(t *tunnel) (s sockets, err error) {
	if s.client, err = p.dup(t.client); err != nil {
		return s, err
	}
	if s.server, err = p.dup(t.server); err != nil {
		unix.Close(s.client)
		return s, err
	}
	p.mu.Lock()
	err = p.openLocked()
	p.countLocked(t, s)
	p.mu.Unlock()
	for _, fd := range [...]int{s.client, s.server} {
		e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(s.client)}
		if err == nil {
			err = os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &e))
		}
	}
	if err != nil {
		p.forget(s)
		return s, err
	}
	p.waking.Lock()
	p.keepSpares()
	p.waking.Unlock()
	return s, nil
}

// countLocked adds a tunnel, and tells when many more rest than did.
func (p *parking) countLocked(t *tunnel, s sockets) {
	p.tunnels[int32(s.client)] = t
	if len(p.tunnels) < p.counted+parkedMany {
		return
	}
	p.counted = len(p.tunnels)
	select {
	case p.many <- struct{}{}:
	default: // it is about to be done
	}
}

func (p *parking) discount(s sockets) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tunnels, int32(s.client))
	p.counted = min(p.counted, len(p.tunnels))
}

// unpark makes connections of a tunnel's sockets again. After an error they rest on.
//
// If there are no descriptors left it takes the spares: the tunnels that rest go on with what
// they have, and end, however many connections wait for a descriptor.
func (p *parking) unpark(s sockets) (client, server *net.TCPConn, err error) {
	p.waking.Lock()
	defer p.waking.Unlock()
	client, server, err = p.conns(s)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		p.useSpares()
		client, server, err = p.conns(s)
	}
	if err == nil {
		p.forget(s)
	}
	p.keepSpares()
	return client, server, err
}

// conns makes connections of sockets by other descriptors.
func (p *parking) conns(s sockets) (client, server *net.TCPConn, err error) {
	if client, err = p.conn(s.client); err != nil {
		return nil, nil, err
	}
	if server, err = p.conn(s.server); err != nil {
		client.Close() // the socket is open by the descriptor that was given
		return nil, nil, err
	}
	return client, server, nil
}

// keepSpares takes the descriptors that are missing of the spares, or those that there are.
func (p *parking) keepSpares() {
	for len(p.spare) < spares {
		fd, err := dupFD(p.fd)
		if err != nil {
			return
		}
		p.spare = append(p.spare, fd)
	}
}

// useSpares gives them back, for who takes the next.
func (p *parking) useSpares() {
	for _, fd := range p.spare {
		unix.Close(fd)
	}
	p.spare = p.spare[:0]
}

// reset ends both connections of a tunnel that rests.
func (p *parking) reset(s sockets) {
	for _, fd := range [...]int{s.client, s.server} {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	p.forget(s)
}

// forget closes the descriptors. The kernel would keep those of open sockets in the epoll
// instance.
func (p *parking) forget(s sockets) {
	p.discount(s)
	for _, fd := range [...]int{s.client, s.server} {
		unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
		unix.Close(fd)
	}
}

// giveBack gives memory back when many tunnels have gone to rest, until p is closed.
func (p *parking) giveBack() {
	for {
		select {
		case <-p.closed:
			return
		case <-p.many:
		}
		if !p.pause(giveBackAfter) {
			return
		}
		p.free()
		if !p.pause(giveBackPeriod) {
			return
		}
	}
}

// pause reports whether the time has passed before p was closed.
func (p *parking) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.closed:
		return false
	case <-timer.C:
		return true
	}
}

// dup returns a second descriptor of a connection.
func dup(c *net.TCPConn) (fd int, err error) {
	controlErr := control(c, func(of int) { fd, err = dupFD(of) })
	if err == nil {
		err = controlErr
	}
	return fd, err
}

func dupFD(of int) (int, error) {
	fd, err := unix.FcntlInt(uintptr(of), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}

// connOf returns a connection by another descriptor of a socket.
func connOf(fd int) (*net.TCPConn, error) {
	own, err := dupFD(fd) // f closes its own
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	tcp.SetKeepAliveConfig(keepAlive) // FileConn has set another
	return tcp, nil
}
