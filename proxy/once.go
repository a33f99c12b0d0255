package proxy

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sys/unix"
)

// Nearly all connections to the proxy begin with a CONNECT, and are a tunnel from then on.
// What net/http has to offer is of no use to them, and costs as much as the rest: a server
// for the connection, a goroutine that serves and one that watches, their buffers and
// stacks. The gate has read the head. So these go to goproxy at once, and all else the way
// through net/http; once_test.go has both ways do the same.

// connectAtOnce serves a connection that begins with a CONNECT, and reports whether it does.
// The gate has something to pass on.
func (h *httpConn) connectAtOnce(ctx context.Context) bool {
	if h.gate.state != stateTunnel {
		return false
	}
	h.gate.buf, h.gate.passed = h.gate.buf[h.gate.passed:], 0
	h.requests++
	// What has begun may end: whoever ends ctx closes the connection later.
	ctx, forget := h.peer.untilGone(context.WithValue(context.WithoutCancel(ctx), httpConnKey{}, h))
	target := h.gate.target
	r := &http.Request{
		Method:     http.MethodConnect,
		RequestURI: target,
		Host:       target,
		URL:        &url.URL{Host: target},
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{},
		Body:   http.NoBody,
	}
	h.p.http.connect.ServeHTTP(&bare{h: h, forget: forget}, r.WithContext(ctx))
	return true
}

// bare gives goproxy a connection that net/http has never had. Whatever becomes of a CONNECT,
// goproxy takes that once, and says there what it has to say.
type bare struct {
	http.ResponseWriter // nil
	h                   *httpConn
	forget              func()
}

func (w *bare) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.forget()
	if t := w.h.tunnel; t != nil {
		t.early = w.h.gate.rest()
	}
	return w.h.letGo(), nil, nil
}

// patience is how long nobody looks whether a client that waits is still there.
const patience = 100 * time.Millisecond

// untilGone returns a context that ends when the client resets the connection: nobody waits
// for the answer then. Its end (FIN) does not count: it may still read. forget is to be
// called once, before anything else is done with the connection.
func (c *peer) untilGone(ctx context.Context) (_ context.Context, forget func()) {
	ctx, cancel := context.WithCancel(ctx)
	c.SetReadDeadline(time.Time{})
	looked := make(chan struct{})
	look := time.AfterFunc(patience, func() {
		defer close(looked)
		if awaitReset(c.TCPConn) == unix.ECONNRESET {
			cancel()
		}
	})
	return ctx, func() {
		if !look.Stop() {
			c.SetReadDeadline(time.Unix(1, 0)) // long ago: it ends the look
			<-looked
		}
		cancel()
	}
}
