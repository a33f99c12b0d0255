package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

const (
	// keepAliveHTTP is how long a client's connection stays open between requests.
	keepAliveHTTP = 30 * time.Second
	// exchangeIdle is how long a request or a response may stand still.
	exchangeIdle = time.Minute
)

// httpSide is what all connections that speak HTTP share.
type httpSide struct {
	connect http.Handler    // what becomes of a CONNECT
	origin  *http.Transport // how origins are asked
	idle    time.Duration   // how long neither side of an exchange may make progress
}

func newHTTPSide() *httpSide {
	origin := newOrigin()
	return &httpSide{connect: newConnectHandler(origin), origin: origin, idle: exchangeIdle}
}

// deadline is that of a step of an exchange that begins now.
func (s *httpSide) deadline() time.Time { return time.Now().Add(s.idle) }

// An httpConn is a client's connection while it speaks HTTP.
type httpConn struct {
	p    *Proxy
	peer *peer
	gate *gate

	// What the client meant where it does not know of the proxy: the port, the address
	// if that is known, and within the tunnel of a CONNECT the host instead. All are zero
	// where it does.
	port  uint16
	meant netip.Addr
	host  string
	// opening is the CONNECT of the tunnel, until the first request within it has been denied
	// or connected; closing is then the record of its end, if it was connected.
	opening *attempt
	closing *decision.Record

	last     tunnelEnd // how the last request went
	up, down uint64    // bytes in exchanges

	requests int     // so far
	tunnel   *opened // where one ended the HTTP

	done     chan struct{} // closed when net/http has let go of the connection
	released sync.Once
}

// serveProxy serves a connection of a client that knows of the proxy. It returns when the
// connection is closed, or has become a tunnel. When ctx ends, no new request is taken.
func (p *Proxy) serveProxy(ctx context.Context, c *peer) {
	h := &httpConn{p: p, peer: c, gate: newGate(c.TCPConn, nil)}
	c.SetReadDeadline(time.Now().Add(p.cfg.HelloTimeout))
	if h.gate.await() == nil && !h.connectAtOnce(ctx) {
		h.serve(ctx)
	}
	h.goOn(ctx)
}

// goOn is what follows when the HTTP of a client that knows of the proxy has ended.
func (h *httpConn) goOn(ctx context.Context) {
	if h.tunnel != nil {
		h.p.serveTunnel(ctx, h.peer, h.tunnel)
		return
	}
	h.peer.Close()
	if h.silent(ctx) {
		h.p.deny(h.peer.attempt(policy.Connect, "", 0), policy.NoHello, "no whole request")
	}
}

// serveHTTPConn serves a redirected connection that begins as HTTP, with the early bytes.
// It returns when the connection is closed, or has become a tunnel.
func (p *Proxy) serveHTTPConn(ctx context.Context, c *peer, meant netip.AddrPort, early []byte) {
	h := &httpConn{p: p, peer: c, gate: newGate(c.TCPConn, early), port: meant.Port(), meant: meant.Addr()}
	h.gate.unaware, h.gate.box = true, c.local.Addr()
	h.serve(ctx)
	if o := h.tunnel; o != nil {
		p.allow(o.attempt)
		p.tunnel(o.attempt, o.early, o.server)
		return
	}
	c.Close()
	if h.silent(ctx) {
		p.deny(c.attempt(policy.HTTP, "", meant.Port()), policy.NoHello, "no whole request")
	}
}

// silent reports whether the client began, or waited, and never said what it wants. One
// that closed without a word only looked whether somebody is there. When ctx has ended,
// it was not for the client to end.
func (h *httpConn) silent(ctx context.Context) bool {
	g := h.gate
	return g.heads == 0 && g.fault == nil && (g.timedOut || len(g.buf) > 0) && ctx.Err() == nil
}

// serve lets net/http have the connection until it ends or becomes a tunnel.
func (h *httpConn) serve(ctx context.Context) {
	h.done = make(chan struct{})
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            h.p.cfg.HelloTimeout,
		IdleTimeout:                  keepAliveHTTP,
		MaxHeaderBytes:               maxHead,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(h.p.deps.Log.Handler(), slog.LevelWarn),
		Protocols:                    &protocols,
		BaseContext: func(net.Listener) context.Context {
			// What has begun may end: whoever ends ctx closes the connection later.
			return context.WithValue(context.WithoutCancel(ctx), httpConnKey{}, h)
		},
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				h.release()
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { server.SetKeepAlivesEnabled(false) })
	defer stop()
	server.Serve(&oneListener{conn: h.gate, addr: h.gate.LocalAddr(), done: h.done})
}

// httpConnKey is the key of the *httpConn in the contexts of its requests.
type httpConnKey struct{}

// release tells that net/http has let go of the connection.
func (h *httpConn) release() { h.released.Do(func() { close(h.done) }) }

// attempt is what a request asks for.
func (h *httpConn) attempt(plane policy.Plane, asked authority) *attempt {
	a := h.peer.attempt(plane, asked.name, asked.port)
	if h.requests > 1 {
		a.began = time.Now() // the connection was there before
	}
	return a
}

// ServeHTTP serves one request.
func (h *httpConn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.requests++
	defer h.gate.answered.Add(1)
	control := http.NewResponseController(w)
	control.SetWriteDeadline(h.p.http.deadline())
	if r.Body != http.NoBody { // else net/http reads, to find out whether the client hangs up
		control.SetReadDeadline(h.p.http.deadline())
	}
	switch {
	case r.Method == refusedMethod:
		h.refuse(w, r)
	case r.Method == http.MethodConnect && h.port == 0:
		h.connect(w, r)
	case r.URL.IsAbs() || h.port != 0:
		h.forward(w, r)
	default:
		h.serveOwn(w, r)
	}
}

// refuse tells the client of a fault that the gate found, unless it may pass all the same.
func (h *httpConn) refuse(w http.ResponseWriter, r *http.Request) {
	f := h.gate.fault
	asked := authority{name: f.name, port: f.port}
	if f.plane == policy.HTTP {
		asked.port = asked.on(h.standardPort())
	}
	a := h.attempt(f.plane, asked)
	reason, detail := f.reason, f.detail
	if reason == policy.NoReason {
		reason, detail = h.noName(a, detail)
	}
	if h.p.letNameless(a, h.meant, reason) {
		h.handOver(w, r, a)
		return
	}
	h.deny(w, a, reason, detail)
}

// noName returns why a request is denied that names no host. What it says besides must be
// right: see check.
func (h *httpConn) noName(a *attempt, detail string) (policy.Reason, string) {
	switch {
	case h.port != 0 && a.plane == policy.Connect:
		return policy.Malformed, connectToNoProxy
	case h.port != 0 && a.port != h.port:
		return policy.HostMismatch, h.otherPort()
	}
	h.p.decide(a) // no policy has a rule for it
	return a.decision.Reason, detail
}

// deny writes the record of a denied request, and the page. What is wrong with the first
// one in a tunnel is wrong with the tunnel.
func (h *httpConn) deny(w http.ResponseWriter, a *attempt, reason policy.Reason, detail string) {
	if h.opening != nil {
		if reason == policy.HostMismatch {
			detail = "the request is for " + a.asked()
		}
		a, h.opening = h.opening, nil
	}
	h.p.deny(a, reason, detail)
	h.last = tunnelEnd{By: byPolicy, Why: reason.String()}
	h.tell(w, a.denied())
}

// tell answers with a page. The client may have sent more than will be read.
func (h *httpConn) tell(w http.ResponseWriter, p *page) {
	h.gate.lingers.Store(true)
	p.write(w)
}

// standardPort is that of a request that names none.
func (h *httpConn) standardPort() uint16 {
	if h.port != 0 {
		return h.port
	}
	return httpPort
}

// oneListener accepts one connection.
type oneListener struct {
	conn net.Conn // nil once accepted
	addr net.Addr
	done <-chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return l.addr }
