package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxResponseHead bounds the head of an origin's response, in bytes.
const maxResponseHead = 64 << 10

// maxResponseWait is how long an origin may take for a whole head, however slowly it sends.
const maxResponseWait = 2 * time.Minute

// newOrigin returns the transport by which origins are asked. It finds no way by itself:
// each request brings its connection. None is kept for another one, since then it would
// lead to an address that was checked for another decision.
func newOrigin() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if c, ok := ctx.Value(originKey{}).(*originConn); ok {
				return c, nil
			}
			return nil, errors.New("a request without a connection")
		},
		DisableKeepAlives:      true,
		DisableCompression:     true, // else it would ask for what the client did not
		MaxResponseHeaderBytes: maxResponseHead,
		ResponseHeaderTimeout:  maxResponseWait,
		ExpectContinueTimeout:  time.Second,
		Protocols:              &protocols,
	}
}

// originKey is the key of a request's connection in its context.
type originKey struct{}

// An originConn is the connection to an origin. It fails when nothing has been written and
// nothing come for too long.
type originConn struct {
	net.Conn
	side *httpSide

	asked chan struct{} // closed at the first write, or the end
	once  sync.Once

	reading, writing sync.Mutex // held while it is done, so that the end can wait for it
	down, up         uint64     // bytes; each guarded by the one above
	failed           error      // of reading, guarded as down
}

func newOriginConn(conn net.Conn, side *httpSide) *originConn {
	return &originConn{Conn: conn, side: side, asked: make(chan struct{})}
}

// Read waits until something was asked: of an origin that speaks first the transport
// complains to the program's log.
func (c *originConn) Read(p []byte) (int, error) {
	<-c.asked
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.failed != nil {
		return 0, c.failed // net/http would wait for the next bytes more than once
	}
	c.SetDeadline(c.side.deadline())
	n, err := c.Conn.Read(p)
	c.down, c.failed = c.down+uint64(n), err
	return n, err
}

func (c *originConn) Write(p []byte) (int, error) {
	c.once.Do(func() { close(c.asked) })
	c.writing.Lock()
	defer c.writing.Unlock()
	c.SetDeadline(c.side.deadline())
	n, err := c.Conn.Write(p)
	c.up += uint64(n)
	return n, err
}

func (c *originConn) Close() error {
	c.once.Do(func() { close(c.asked) })
	return c.Conn.Close()
}

// moved is how many bytes the origin was sent, and has sent, when the connection is closed.
func (c *originConn) moved() (up, down uint64) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.up, c.down
}
