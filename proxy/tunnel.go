package proxy

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drainTimeout is how long a tunnel of which one side has no more to say may go
// on without a byte from the other.
const drainTimeout = time.Minute

// keepAlive finds out within eight minutes that a silent peer is gone. It asks
// no more often: each probe wakes a handheld that sleeps with its Wi-Fi on.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Minute, Interval: 2 * time.Minute, Count: 3}

// A party is who ended a tunnel, as records name it.
type party uint8

const (
	byNobody party = iota
	byClient
	byServer
	byIdle   // nobody said anything for too long
	byPolicy // the policy that is now in force denies it
	byUntil  // the rule that allowed it has ended
	byStop   // the box stops
	byError  // something failed here
)

var parties = [...]string{"", "client", "server", "idle", "policy", "until", "stop", "error"}

func (p party) String() string { return parties[p] }

// A tunnelEnd is how a tunnel went, or an exchange by HTTP.
type tunnelEnd struct {
	Up, Down uint64 // bytes that the server was sent, and that came of it
	Duration time.Duration
	By       party  // that ended it; if both sides did, the one that was first
	Fault    string // an exchange's only: what the client is told was wrong, an error type of RFC 9209
	Why      string // what was wrong; empty where each side has said all that it had to say
}

// A cutError ends a tunnel from outside. Any other cause with which one is cut is the
// box's stop.
type cutError struct {
	By  party
	Why string
}

func (e *cutError) Error() string { return "cut by " + e.By.String() + ": " + e.Why }

// A tunnel passes on what a client and a server say to each other, until both
// have said that they have no more to say, one of them fails, nothing has been
// said for too long, or it is cut from outside. The bytes are not looked at.
//
// While nobody speaks a tunnel holds its two descriptors, no buffer, and for the first
// seconds two goroutines: see [rest].
//
// A side that ends what it says (FIN) is passed on as that, and the other may
// go on for a while: see [quiet]. A side that fails (RST) is passed on as a
// reset, unless there are bytes that the other side has yet to receive: a reset
// would throw them away, so a FIN follows them. A tunnel that is ended from here
// is reset toward both.
type tunnel struct {
	client, server *net.TCPConn
	up, down       stream
	start          time.Time
	last           atomic.Int64 // when a byte was last passed on, a Duration since start
	speed          meter        // of what comes down
	resting        atomic.Bool  // the streams are to leave

	mu     sync.Mutex
	quiet  quiet
	timer  *time.Timer
	rest   rest
	ended  func(tunnelEnd) // nil when it has been called
	going  int             // streams
	closed bool
	broken party // whose connection took no more bytes
	end    tunnelEnd
}

// newTunnel returns a tunnel that may be quiet for as long as idle. The server
// is first sent what the client has said early, before the tunnel was there.
func newTunnel(client, server *net.TCPConn, early []byte, idle time.Duration) *tunnel {
	t := &tunnel{start: time.Now()}
	t.quiet.idle, t.quiet.drain = idle, min(idle, drainTimeout)
	t.up.of, t.up.moved, t.up.first = t, t.moved, early
	t.down.of, t.down.moved = t, t.downloaded
	t.use(client, server)
	return t
}

// use sets the connections of the tunnel.
func (t *tunnel) use(client, server *net.TCPConn) {
	t.client, t.server = client, server
	t.up.src, t.up.dst = client, server
	t.down.src, t.down.dst = server, client
}

// begin has the tunnel go on by itself. When it has ended and both connections are closed,
// ended is called, in a goroutine of the tunnel's. The client's may have deadlines, which end
// with that.
func (t *tunnel) begin(ended func(tunnelEnd)) {
	// This fails on a closed connection only, which the streams will find. The server's has
	// no deadline. TCP_NODELAY is Go's default: what was sent at once is passed on at once.
	t.client.SetDeadline(time.Time{})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = ended
	t.up.busy.Store(len(t.up.first) > 0)
	t.timer = time.AfterFunc(t.quiet.idle, t.check)
	t.checkLocked()
	t.goLocked()
}

// goLocked starts the streams.
func (t *tunnel) goLocked() {
	t.going = 2
	go t.carry(&t.up, byClient, byServer)
	go t.carry(&t.down, byServer, byClient)
}

// carry runs a stream until it ends, or leaves for the tunnel to rest.
//
// The streams are run from as shallow a place as can be: what lies below them
// decides whether the stack of an idle tunnel's goroutine has 2 KB or 4.
func (t *tunnel) carry(s *stream, from, to party) {
	for {
		readErr, writeErr := s.run()
		if !errors.Is(readErr, os.ErrDeadlineExceeded) {
			t.finish(s, from, to, readErr, writeErr)
			return
		}
		if t.leave() {
			return
		}
	}
}

// finish takes the end of one direction.
func (t *tunnel) finish(s *stream, from, to party, readErr, writeErr error) {
	t.mu.Lock()
	defer t.unlock()
	t.going--
	if t.closed {
		return // and that is why it failed
	}
	t.stirLocked()
	err := readErr
	if err == nil {
		err = writeErr
	}
	why := whyOf(err)
	switch {
	case err != nil && why == "":
		t.endLocked(byError, err.Error())
		return
	case readErr != nil:
		// All that this side said before has been passed on.
		t.endLocked(from, why)
		return
	case writeErr != nil:
		// Its last words may still have to be read, as those of a server that
		// answers a request that it does not want to read to the end.
		t.broken = to
		t.note(to, why)
	case t.broken == from || t.quiet.half == 0 && dead(s.src):
		// No FIN, but what is left of a reset that the other direction has been
		// told of, or is about to be: the kernel tells only one.
		t.endLocked(from, "reset")
		return
	default:
		t.note(from, "")
		if t.quiet.half == 0 || t.end.Why != "" { // else both are done, and closed at once
			s.dst.CloseWrite() // if dst is gone, the other direction finds it
		}
	}
	if t.quiet.half == 0 {
		t.quiet.half = time.Since(t.start)
	}
	t.checkLocked()
}

// unlock unlocks the mutex, and has done with a tunnel of which nothing is left.
func (t *tunnel) unlock() {
	if t.going > 0 || t.rest.parked || t.ended == nil {
		t.mu.Unlock()
		return
	}
	end, ended := t.resultLocked(), t.ended
	t.ended = nil
	t.mu.Unlock()
	ended(end)
}

// resultLocked closes the connections, if nothing has yet, when both directions have ended.
func (t *tunnel) resultLocked() tunnelEnd {
	if t.end.Why == "" {
		t.closeLocked(never)
	} else {
		t.closeLocked(settled)
	}
	t.end.Up, t.end.Down = t.up.bytes, t.down.bytes
	t.end.Duration = time.Since(t.start)
	return t.end
}

// note keeps who was first, and what was first wrong.
func (t *tunnel) note(by party, why string) {
	if t.end.By == byNobody {
		t.end.By = by
	}
	if t.end.Why == "" {
		t.end.Why = why
	}
}

// moved is called after each copy.
func (t *tunnel) moved() { t.last.Store(int64(time.Since(t.start))) }

// downloaded is moved for what came from the server.
func (t *tunnel) downloaded() {
	t.moved()
	t.speed.moved(&t.down, time.Duration(t.last.Load()))
}

// check ends a tunnel that has been quiet for too long. It runs when that may
// be so, and sets the time at which it may next be. It also has it rest.
func (t *tunnel) check() {
	t.mu.Lock()
	defer t.unlock()
	t.checkLocked()
}

func (t *tunnel) checkLocked() {
	if t.closed {
		return
	}
	now, last := time.Since(t.start), time.Duration(t.last.Load())
	left := t.quiet.left(
		now, last,
		t.up.busy.Load() || t.down.busy.Load(),
		func() uint64 { return acknowledged(t.client) + acknowledged(t.server) },
	)
	switch {
	case left > 0:
		t.timer.Reset(min(left, t.restLocked(now-max(last, t.rest.woken))))
	case t.quiet.half == 0:
		t.endLocked(byIdle, "")
	default:
		t.note(byNobody, "half-closed for too long")
		t.closeLocked(always)
	}
}

// cut ends the tunnel from outside, after begin.
func (t *tunnel) cut(cause error) {
	by, why := byStop, ""
	if c := (*cutError)(nil); errors.As(cause, &c) {
		by, why = c.By, c.Why
	}
	t.mu.Lock()
	defer t.unlock()
	t.endLocked(by, why)
}

func (t *tunnel) endLocked(by party, why string) {
	if t.closed {
		return
	}
	switch by {
	case byClient, byServer:
		t.note(by, why)
		t.closeLocked(settled)
	default: // whatever the two were about
		t.end.By, t.end.Why = by, why
		t.closeLocked(always)
	}
}

// closeLocked closes both connections, once, with a reset where one is due. That
// wakes the streams, wherever they wait.
func (t *tunnel) closeLocked(reset func(*net.TCPConn) bool) {
	if t.closed {
		return
	}
	t.closed = true
	t.timer.Stop()
	if t.rest.parked { // it is ended from here: else it would have been woken
		t.rest.parked = false
		t.rest.parking.reset(t.rest.sockets)
		return
	}
	t.stirLocked()
	for _, c := range []*net.TCPConn{t.client, t.server} {
		if reset(c) {
			c.SetLinger(0)
		}
		c.Close()
	}
}

func never(*net.TCPConn) bool     { return false }
func always(*net.TCPConn) bool    { return true }
func settled(c *net.TCPConn) bool { return unsettled(c) == 0 }

// whyOf puts an error of the connection to a peer into a word for records. It is
// empty for an error that is no fault of the network or the peer.
func whyOf(err error) string {
	var no syscall.Errno
	errors.As(err, &no)
	switch no {
	case unix.ECONNRESET, unix.EPIPE, unix.ENOTCONN:
		return "reset"
	case unix.ETIMEDOUT:
		return "timed out"
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN, unix.ECONNREFUSED, unix.EACCES:
		return "unreachable"
	}
	return ""
}
