package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/elazarl/goproxy"

	"tillgate/policy"
)

// CONNECT goes through goproxy, of which this file alone knows. Nothing is left of what it
// would do by itself: it gets no other requests, decideConnect answers for each, and it
// lets go of the connection before there is a tunnel.

// newConnectHandler makes a goproxy without its constructor, which looks for further
// proxies in the environment.
func newConnectHandler(origin *http.Transport) http.Handler {
	proxy := &goproxy.ProxyHttpServer{
		Logger:          log.New(io.Discard, "", 0), // it warns of what clients do; that is in the records
		Tr:              origin,
		NonproxyHandler: http.NotFoundHandler(),
	}
	proxy.OnRequest().HandleConnectFunc(decideConnect)
	// goproxy connects where no handler has an answer. There is always decideConnect's.
	proxy.OnRequest().HandleConnect(goproxy.AlwaysReject)
	return proxy
}

// decideConnect decides on a CONNECT, and connects to its host: a client can be told of a
// failure only as long as there is no tunnel.
func decideConnect(target string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
	h := ctx.Req.Context().Value(httpConnKey{}).(*httpConn)
	if page := h.open(ctx.Req); page != nil {
		ctx.Resp = page.response()
		return &goproxy.ConnectAction{Action: goproxy.ConnectReject}, target
	}
	return &goproxy.ConnectAction{
		Action: goproxy.ConnectHijack,
		Hijack: func(*http.Request, net.Conn, *goproxy.ProxyCtx) {}, // see serveProxy
	}, target
}

// An opened tunnel is one of which the client has yet to hear.
type opened struct {
	attempt *attempt
	server  *net.TCPConn // nil: to the port of HTTP, where each request finds its own
	early   []byte       // what the client sent without waiting to hear
}

// open is the way of a CONNECT up to the connection. It returns nil if there is one.
func (h *httpConn) open(r *http.Request) *page {
	target := parseAuthority(r.RequestURI) // the gate knows it to be host:port
	a := h.attempt(policy.Connect, target)
	if !h.p.decide(a) {
		h.p.deny(a, a.decision.Reason, "")
		return a.denied()
	}
	h.tunnel = &opened{attempt: a}
	if a.port == httpPort {
		return nil
	}
	server, err := h.p.dial(r.Context(), a)
	if err != nil {
		h.tunnel = nil
		h.p.failed(a, err)
		return a.unreached(err)
	}
	h.tunnel.server = server
	return nil
}

// connect hands a CONNECT to goproxy. When it returns, nobody else has the connection.
func (h *httpConn) connect(w http.ResponseWriter, r *http.Request) {
	defer h.release()
	h.p.http.connect.ServeHTTP(hijacker{w, h}, r)
}

// A hijacker gives goproxy the connection, and keeps what goproxy would lose: what the
// client has sent after the CONNECT.
type hijacker struct {
	http.ResponseWriter
	h *httpConn
}

func (w hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	_, rw, err := w.ResponseWriter.(http.Hijacker).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if t := w.h.tunnel; t != nil {
		// At most the one byte by which net/http finds out that a client hung up.
		first, _ := rw.Reader.Peek(rw.Reader.Buffered())
		t.early = append(append(t.early, first...), w.h.gate.rest()...)
	}
	return w.h.letGo(), rw, nil
}

// letGo is the connection as goproxy gets it, to tell the client of a failure.
func (h *httpConn) letGo() net.Conn {
	h.peer.SetWriteDeadline(time.Now().Add(h.p.cfg.HelloTimeout))
	return lingering{h.peer.TCPConn}
}

// lingering is a connection that is closed only when the client has had the time to read
// why.
type lingering struct{ *net.TCPConn }

func (c lingering) Close() error { return linger(c.TCPConn) }

// serveTunnel tells the client that it has its tunnel, and sees that it goes where the CONNECT
// said. Else it closes both connections.
func (p *Proxy) serveTunnel(ctx context.Context, c *peer, o *opened) {
	c.SetDeadline(time.Now().Add(p.cfg.HelloTimeout))
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n") // if it fails, so does what follows
	if o.server == nil {
		p.serveHTTPTunnel(ctx, c, o)
		return
	}
	a := o.attempt
	hello, raw, err := readHello(c.TCPConn, o.early)
	reason, detail := a.checkHello(hello, err)
	if reason == policy.NoReason {
		a.noSNI = !hello.HasSNI
		p.allow(a)
		p.tunnel(a, raw, o.server)
		return
	}
	o.server.Close()
	if cause := context.Cause(c.slot.ctx); cause != nil {
		p.failed(a, &dialError{abandoned, cause}) // by the policy or the box, not by the client
	} else {
		p.deny(a, reason, detail)
	}
	if reason == policy.NoHello || reason == policy.NotTLS {
		c.Close()
	} else {
		refuseTLS(c.TCPConn)
	}
}

// checkHello returns why what a client says in its tunnel is not what it said before.
func (a *attempt) checkHello(h helloInfo, err error) (policy.Reason, string) {
	switch e := (*helloError)(nil); {
	case errors.As(err, &e):
		return e.Reason, detailOf(e)
	case h.HasSNI && h.Name != a.name:
		return policy.SNIMismatch, fmt.Sprintf("SNI is %.300q", h.Name)
	case !h.HasSNI && !a.sniOptional():
		return policy.NoSNI, ""
	}
	return policy.NoReason, ""
}

// serveHTTPTunnel serves a tunnel to the port of HTTP: each request in it goes the way of
// any other, and must be for the host of the CONNECT.
func (p *Proxy) serveHTTPTunnel(ctx context.Context, c *peer, o *opened) {
	h := &httpConn{
		p: p, peer: c, gate: newGate(c.TCPConn, o.early),
		port: httpPort, host: o.attempt.name, opening: o.attempt,
	}
	c.SetDeadline(time.Time{})
	began := time.Now()
	h.serve(ctx)
	c.Close()
	switch {
	case h.closing != nil:
		end := h.tunnelEnd(ctx)
		end.Up, end.Down, end.Duration = h.up, h.down, time.Since(began)
		p.noteEnd(h.closing, end) // the bytes have been counted with the exchanges
	case h.opening == nil: // denied, or not connected
	case ctx.Err() != nil:
		p.failed(h.opening, &dialError{abandoned, context.Cause(ctx)})
	default:
		p.deny(h.opening, policy.NoHello, "no whole request in the tunnel")
	}
}

// tunnelEnd tells how a tunnel ended in which requests were served: with the last of them,
// or between two.
func (h *httpConn) tunnelEnd(ctx context.Context) tunnelEnd {
	cut := h.peer.slot != nil && h.peer.slot.ctx.Err() != nil
	switch done := h.last.By == byServer && h.last.Fault == ""; {
	case cut:
		return endBefore(h.peer.slot.ctx)
	case !done:
		return h.last
	case ctx.Err() != nil:
		return tunnelEnd{By: byStop}
	case h.gate.timedOut:
		return tunnelEnd{By: byIdle}
	}
	return tunnelEnd{By: byClient}
}
