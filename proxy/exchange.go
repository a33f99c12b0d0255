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
	"sync"
	"syscall"
	"time"

	"tillgate/policy"
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

// exchange connects to the origin of an attempt that may pass, and has it answer.
func (h *httpConn) exchange(w http.ResponseWriter, r *http.Request, a *attempt) {
	conn, err := h.p.dial(r.Context(), a)
	if err != nil {
		h.p.failed(a, err)
		h.tell(w, a.unreached(err))
		return
	}
	h.p.allow(a)
	server := &originConn{Conn: conn, side: h.p.http, asked: make(chan struct{})}
	// A stop, a policy or a rule's end cuts this side too: net/http does not notice that the
	// client is gone while it has bytes of it, or is sending to the origin.
	defer context.AfterFunc(h.peer.slot.ctx, func() { server.Close() })()

	to := &answer{
		side: h.p.http, conn: h.peer.TCPConn, w: w, control: http.NewResponseController(w),
		modern: r.ProtoAtLeast(1, 1),
	}
	out := outgoing(r, a)
	if r.Body != http.NoBody {
		to.body = &sent{ReadCloser: r.Body, answer: to, closed: make(chan struct{})}
		out.Body = to.body
		defer to.body.finish()
	}
	defer server.Close() // first, so that nobody waits to write to it
	ctx := context.WithValue(r.Context(), originKey{}, server)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: to.informational})
	resp, err := h.p.http.origin.RoundTrip(out.WithContext(ctx))
	to.begin()
	switch fault := (*fault)(nil); {
	case err == nil && resp.StatusCode >= 200:
		to.copy(resp)
	case err == nil: // it switches protocols, for which nobody asked
		resp.Body.Close()
		h.tell(w, a.failed("http_protocol_error", false))
	case errors.As(to.body.failure(), &fault):
		h.deny(w, a, policy.Malformed, fault.detail)
	case to.body.failure() != nil, r.Context().Err() != nil: // the client is gone
		panic(http.ErrAbortHandler)
	case isTimeout(err):
		h.tell(w, a.failed("http_response_timeout", true))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		h.tell(w, a.failed("connection_terminated", false))
	default:
		h.tell(w, a.failed("http_protocol_error", false))
	}
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

// An originConn is the connection to an origin. It fails when nothing has been written and
// nothing come for too long.
type originConn struct {
	net.Conn
	side *httpSide

	asked chan struct{} // closed at the first write, or the end
	once  sync.Once
}

// Read waits until something was asked: of an origin that speaks first the transport
// complains to the program's log.
func (c *originConn) Read(p []byte) (int, error) {
	<-c.asked
	c.SetDeadline(c.side.deadline())
	return c.Conn.Read(p)
}

func (c *originConn) Write(p []byte) (int, error) {
	c.once.Do(func() { close(c.asked) })
	c.SetDeadline(c.side.deadline())
	return c.Conn.Write(p)
}

func (c *originConn) Close() error {
	c.once.Do(func() { close(c.asked) })
	return c.Conn.Close()
}
