package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The error types of RFC 9209, section 2.3, for what goes wrong with an exchange whose
// origin is connected.
const (
	brokenRequest = "http_request_error"
	cutOff        = "connection_terminated"
	tooSlow       = "http_response_timeout"
	notHTTP       = "http_protocol_error"
)

// exchange connects to the origin of an attempt that may pass, and has it answer.
func (h *httpConn) exchange(w http.ResponseWriter, r *http.Request, a *attempt) {
	conn, err := h.p.dial(r.Context(), a)
	if err != nil {
		h.unreached(w, a, err)
		return
	}
	h.reached(a)
	server, began := newOriginConn(conn, h.p.http), time.Now()
	end, answered := h.relay(w, r, a, server)
	end.Up, end.Down = server.moved()
	end.Duration = time.Since(began)
	h.p.closed(a.closing(), end)
	h.last, h.up, h.down = end, h.up+end.Up, h.down+end.Down
	if !answered {
		panic(http.ErrAbortHandler)
	}
}

// relay sends the request to the origin, and the answer to the client. It tells how that
// ended, but for the numbers, and whether the client has an answer, be it the proxy's. It
// closes the connection to the origin.
func (h *httpConn) relay(w http.ResponseWriter, r *http.Request, a *attempt, server *originConn) (end tunnelEnd, answered bool) {
	// A stop, a policy or a rule's end cuts this side too: net/http does not notice that the
	// client is gone while it has bytes of it, or is sending to the origin.
	defer context.AfterFunc(h.peer.slot.ctx, func() { server.Close() })()

	to := &answer{
		side: h.p.http, conn: h.peer.TCPConn, w: w, control: http.NewResponseController(w),
		modern: r.ProtoAtLeast(1, 1),
	}
	out := outgoing(r, a)
	if r.Body != http.NoBody {
		to.waits = to.modern && r.Header["Expect"] != nil // the gate lets pass no other than for 100
		to.body = &sent{ReadCloser: r.Body, answer: to, closed: make(chan struct{})}
		out.Body = to.body
		defer to.body.finish()
	}
	defer server.Close() // first, so that nobody waits to write to it
	ctx := context.WithValue(r.Context(), originKey{}, server)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: to.informational})
	resp, err := h.p.http.origin.RoundTrip(out.WithContext(ctx))
	to.begin()
	if err == nil && resp.StatusCode >= 200 {
		fromOrigin, toClient := to.copy(resp)
		if fromOrigin == nil && toClient == nil {
			return tunnelEnd{By: byServer}, true
		}
		return h.blame(r.Context(), to.body, fromOrigin, toClient), false
	}
	if err == nil {
		resp.Body.Close()
		err = errSwitches
	}
	end = h.blame(r.Context(), to.body, err, nil)
	if end.Fault == "" { // there is nobody to tell
		return end, false
	}
	h.tell(w, a.unanswered(end.Fault))
	return end, true
}

var errSwitches = errors.New("the origin switches protocols, for which nobody asked")

// blame tells how an exchange ended of which the origin's side failed, or the client's. A
// fault is the origin's, or one of the request.
//
// One side's failure is that of the other, too. So first comes what was done from here, and
// then the client, since of it the transport says that the origin failed.
func (h *httpConn) blame(client context.Context, body *sent, fromOrigin, toClient error) tunnelEnd {
	if h.peer.slot.ctx.Err() != nil {
		return endBefore(h.peer.slot.ctx)
	}
	fromClient := body.failure(client)
	if f, ok := errors.AsType[*fault](fromClient); ok {
		return tunnelEnd{By: byClient, Fault: brokenRequest, Why: f.detail}
	}
	switch {
	case isTimeout(fromClient):
		return tunnelEnd{By: byIdle, Why: "the client does not send the rest"}
	case isTimeout(toClient):
		return tunnelEnd{By: byIdle, Why: "the client does not read"}
	case fromClient != nil, toClient != nil, client.Err() != nil:
		return tunnelEnd{By: byClient, Why: "the client is gone"}
	case isTimeout(fromOrigin):
		return tunnelEnd{By: byIdle, Fault: tooSlow, Why: "the host is silent"}
	case errors.Is(fromOrigin, io.EOF), errors.Is(fromOrigin, io.ErrUnexpectedEOF), errors.Is(fromOrigin, syscall.ECONNRESET):
		return tunnelEnd{By: byServer, Fault: cutOff, Why: "the answer is cut off"}
	}
	return tunnelEnd{By: byServer, Fault: notHTTP, Why: fromOrigin.Error()}
}

// unreached tells of an origin that could not be connected. Of the first in a tunnel it is
// the tunnel's failure.
func (h *httpConn) unreached(w http.ResponseWriter, a *attempt, err error) {
	if h.opening != nil {
		a, h.opening = h.opening, nil
	}
	h.p.failed(a, err)
	h.last = tunnelEnd{By: byError, Fault: faultOf(err).String(), Why: err.Error()}
	h.tell(w, a.unreached(err))
}

// reached writes the record of a request whose origin is connected, and before the first in
// a tunnel that of the tunnel.
func (h *httpConn) reached(a *attempt) {
	if o := h.opening; o != nil {
		o.dest, o.detail = a.dest, a.detail
		h.p.allow(o)
		h.opening, h.closing = nil, o.closing()
	}
	h.p.allow(a)
}

// outgoing is the request as the origin gets it: nothing of the store or the box is
// added, and what concerns only the client and the proxy is taken away.
func outgoing(r *http.Request, a *attempt) *http.Request {
	host := a.name
	if a.port != httpPort {
		host = net.JoinHostPort(host, strconv.Itoa(int(a.port)))
	}
	u := *r.URL
	u.Scheme, u.Host = "http", host
	if r.Method == http.MethodOptions && u.Path == "" && u.RawQuery == "" {
		u.Path = "*" // RFC 9112 §3.2.4
	}
	out := &http.Request{
		Method:        r.Method,
		URL:           &u,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Host:          host,
		Header:        endToEnd(r.Header),
		ContentLength: r.ContentLength,
	}
	if r.ContentLength < 0 {
		out.TransferEncoding = []string{"chunked"}
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // else net/http would put its own
	}
	return out
}

// hopByHop are fields that concern one connection only, whether or not Connection says
// so (RFC 9110 §7.6.1). The two about the proxy concern this one.
var hopByHop = [...]string{
	"Connection", "Proxy-Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding",
	"Upgrade", "Proxy-Authenticate", "Proxy-Authorization",
}

// endToEnd returns a copy of the fields without those that are hop by hop. That trailers
// are welcome is said on, since they are passed on.
func endToEnd(in http.Header) http.Header {
	out := in.Clone()
	for _, list := range in["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			out.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopByHop {
		out.Del(name)
	}
	for _, list := range in["Te"] {
		for coding := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(textproto.TrimString(coding), "trailers") {
				out.Set("Te", "trailers")
			}
		}
	}
	return out
}
