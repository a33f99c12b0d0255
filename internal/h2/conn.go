// Package h2 is a client of HTTP/2 (RFC 9113) for one thing: many small requests that differ
// in their body alone, on one connection, each with a small response. DNS over HTTPS is that.
//
// net/http does it too, and much else. It spends a goroutine, two TLS records and some header
// maps on each request, which is more than everything else that a DNS query costs. Frames
// and header compression are golang.org/x/net's here, as they are there.
package h2

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// ownWindow is what a server may send before it hears that it was read, in bytes: on a
	// connection, and on a stream, where it is never told, as a body is no longer.
	ownWindow = 1 << 20
	// firstWindow is what each side may send before the other has said anything (§6.9.2).
	firstWindow = 1<<16 - 1
	// firstStreams is how many requests may be under way before the server has said how
	// many (§6.5.2 recommends no fewer).
	firstStreams = 100
	// maxFrame is the longest payload of a frame, both ways, in bytes: what every side must
	// take (§4.2).
	maxFrame = 1 << 14
	// maxEarly is how many responses (100 to 199) may say that another is to come.
	maxEarly = 8
	// maxUnsent is what may wait to be written, in bytes. Only a server that has more to
	// be acknowledged than it reads brings it about.
	maxUnsent = 1 << 18
	// maxWindow is the most that a window may become, in bytes (§6.9.1).
	maxWindow = 1<<31 - 1
	// lastStream is the last number of a stream (§5.1.1).
	lastStream = 1<<31 - 1
)

// Errors of an exchange, besides those of the connection and those that the server tells.
var (
	// ErrClosed is of a connection that was closed by [Conn.Close], or for resting.
	ErrClosed = errors.New("the connection is closed")
	// errMalformed is a response that is none (§8.1.1).
	errMalformed = errors.New("the HTTP/2 response is malformed")

	errLost      = errors.New("the connection was lost: nothing came, and no ping was answered")
	errExhausted = errors.New("the connection has no numbers left for streams")
)

// Config is what all exchanges of a connection have in common.
type Config struct {
	// Header is that of each request, in lower case, its pseudo-header fields first (§8.3).
	// A content-length is added. All of it has 8 KB at most.
	Header []Field
	// MaxBody is the longest body of a response, MaxHeader the longest header as RFC 9113
	// §6.5.2 counts it, in bytes. MaxBody is 1 MB at most.
	MaxBody, MaxHeader int
	// Ping is after how long a silence the server is pinged, PingTimeout after how long a
	// silence from then on the connection counts as lost, WriteTimeout how long one write
	// may take, and Idle how long the connection is kept without a request.
	Ping, PingTimeout, WriteTimeout, Idle time.Duration
}

// Field is a header field.
type Field struct{ Name, Value string }

// Conn is a connection. Two goroutines serve it: one reads, and one writes all that has come
// together since it last did.
type Conn struct {
	cfg    Config
	conn   net.Conn
	wake   chan struct{} // of the writer: there is something to write, or err
	closed chan struct{} // the writer has closed conn

	mu     sync.Mutex
	err    error // why the connection takes and answers nothing any more; nil: it does
	going  error // why it takes no new exchanges; nil: it does
	out    bytes.Buffer
	frames *http2.Framer // to out
	block  bytes.Buffer
	header *hpack.Encoder // to block

	next    uint32               // number of the next stream
	streams map[uint32]*Exchange // under way
	waiting []*Exchange          // for the server to allow one more, oldest first
	unsent  int                  // streams of which some body is left
	window  int64                // what may be sent on the connection
	settings
	received int // bytes since the server was last told that they were read

	timer *time.Timer
	heard time.Time // when the last frame came
	asked time.Time // when the ping was sent that nothing came after; zero: none was
	rests time.Time // since when there is no exchange
}

// settings are those of the server that matter (§6.5.2).
type settings struct {
	maxStreams uint32
	bodyWindow int64 // of a new stream
}

// New speaks HTTP/2 on conn, which is its own from now on. It does not wait for the server.
func New(conn net.Conn, cfg Config) *Conn {
	now := time.Now()
	c := &Conn{
		cfg: cfg, conn: conn,
		wake: make(chan struct{}, 1), closed: make(chan struct{}),
		next: 1, streams: make(map[uint32]*Exchange), window: firstWindow,
		settings: settings{maxStreams: firstStreams, bodyWindow: firstWindow},
		heard:    now, rests: now,
	}
	c.frames = http2.NewFramer(&c.out, nil)
	c.header = hpack.NewEncoder(&c.block)
	c.out.WriteString(http2.ClientPreface)
	c.frames.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: ownWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(cfg.MaxHeader)},
	)
	c.frames.WriteWindowUpdate(0, ownWindow-firstWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(min(cfg.Ping, cfg.Idle), c.watch)
	go c.read()
	go c.write()
	c.wakeWriter()
	return c
}

// Usable reports whether the connection takes new exchanges.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.going == nil
}

// Close ends the connection and all exchanges on it, and returns when that is done, which
// takes the WriteTimeout and some seconds more where the other side is silent. What reads it
// ends after that by itself.
func (c *Conn) Close() {
	c.mu.Lock()
	c.fail(http2.ErrCodeNo, ErrClosed)
	c.mu.Unlock()
	<-c.closed
}

// fail ends the connection. Called with mu held, as are leave, wakeWriter and violated.
func (c *Conn) fail(code http2.ErrCode, err error) {
	if c.err != nil {
		return
	}
	c.leave(err)
	c.err = err
	c.timer.Stop()
	c.frames.WriteGoAway(0, code, nil)
	for _, e := range c.streams {
		e.end(err)
	}
	clear(c.streams)
	c.unsent = 0
	c.wakeWriter()
}

// leave takes no new exchanges from now on.
func (c *Conn) leave(err error) {
	if c.going != nil {
		return
	}
	c.going = err
	for _, e := range c.waiting {
		e.end(err)
	}
	c.waiting = nil
}

// watch pings a server that is silent, and ends a connection that is lost, or of no use. It
// runs when one of these may be due.
func (c *Conn) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	now := time.Now()
	left := c.cfg.Ping - now.Sub(c.heard)
	idle := len(c.streams)+len(c.waiting) == 0
	rest := c.cfg.Idle - now.Sub(c.rests)
	switch {
	case idle && rest <= 0:
		c.fail(http2.ErrCodeNo, ErrClosed)
		return
	case !c.asked.IsZero():
		left = c.cfg.PingTimeout - now.Sub(c.asked)
		if left <= 0 {
			c.fail(http2.ErrCodeNo, errLost)
			return
		}
	case left <= 0:
		c.asked, left = now, c.cfg.PingTimeout
		c.frames.WritePing(false, [8]byte{})
		c.wakeWriter()
	}
	if idle {
		left = min(left, rest)
	}
	c.timer.Reset(left)
}

// wakeWriter has what is in out written.
func (c *Conn) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// violated ends the connection because the server did what it must not do.
func (c *Conn) violated(code http2.ErrCode, format string, args ...any) {
	c.fail(code, fmt.Errorf("HTTP/2 violated: "+format, args...))
}
