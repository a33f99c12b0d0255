package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"tillgate/policy"
)

// readConn is a connection of which only Read is used.
type readConn struct {
	net.Conn
	io.Reader
}

func (c readConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// through is what a gate passes of the text, what is left, and its state.
func through(r io.Reader) (passed string, g *gate, err error) {
	g = newGate(readConn{Reader: r}, nil)
	b, err := io.ReadAll(g)
	return string(b), g, err
}

const crlf2 = "\r\n\r\n"

func TestGatePasses(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"a request", "GET http://check.example/x?y=z HTTP/1.1\r\nHost: check.example" + crlf2},
		{"HTTP/1.0", "GET http://check.example/ HTTP/1.0" + crlf2},
		{"two", "GET / HTTP/1.1\r\nHost: a.example" + crlf2 + "HEAD / HTTP/1.1\r\nHost: a.example" + crlf2},
		{"a body", "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5" + crlf2 + "hello" + "GET / HTTP/1.1\r\nHost: a.example" + crlf2},
		{"a body like a request", "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 8" + crlf2 + "\n\x00 / \r\n\n"},
		{"an empty body", "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0" + crlf2},
		{"chunks", "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked" + crlf2 + "5\r\nhello\r\n00A\r\n0123456789\r\n0" + crlf2 + "GET / HTTP/1.1\r\nHost: a.example" + crlf2},
		{"an expectation", "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-Continue\r\nContent-Length: 1" + crlf2 + "x"},
		{"an empty Host", "GET / HTTP/1.1\r\nHost:" + crlf2},
		{"a Host that is an address", "GET /proxy.pac HTTP/1.1\r\nHost: [fe80::1]:3128" + crlf2},
		{"Host with the port of http", "GET http://check.example/ HTTP/1.1\r\nHost: Check.Example.:80" + crlf2},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a.example" + crlf2},
		{"values", "GET / HTTP/1.1\r\nHost:\t a.example \t\r\nX: a\tb \xff\r\nY:" + crlf2},
		{"odd paths", "GET //x/../%2e?|{}'\" HTTP/1.1\r\nHost: a.example" + crlf2},
		{"CONNECT", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443" + crlf2},
		{"CONNECT, Host without port", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example" + crlf2},
		{"CONNECT without Host", "CONNECT a.example:443 HTTP/1.1" + crlf2},
		{"CONNECT with no body", "CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 0" + crlf2},
		{"a tunnel's bytes", "CONNECT a.example:443 HTTP/1.1" + crlf2 + "\x16\x03\n\r\x00"},
		{"CONNECT after a request", "GET / HTTP/1.1\r\nHost: a.example" + crlf2 + "CONNECT a.example:443 HTTP/1.1" + crlf2 + "\n"},
	} {
		for how, r := range map[string]io.Reader{
			"at once":      strings.NewReader(tt.in),
			"byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
		} {
			got, g, err := through(r)
			if got != tt.in || err != nil || g.fault != nil {
				t.Errorf("%s, %s: passed %q, %v, %+v", tt.name, how, got, err, g.fault)
			}
		}
	}
}

func TestGateRefuses(t *testing.T) {
	get := "GET / HTTP/1.1\r\nHost: a.example\r\n"
	post := "POST / HTTP/1.1\r\nHost: a.example\r\n"
	const malformed = policy.Malformed
	for _, tt := range []struct {
		name, in string
		want     policy.Reason
		detail   string
	}{
		{"both lengths", post + "Content-Length: 5\r\nTransfer-Encoding: chunked" + crlf2, malformed, "more than one length"},
		{"both lengths, the other way", post + "Transfer-Encoding: chunked\r\nContent-Length: 5" + crlf2, malformed, "more than one length"},
		{"two lengths", post + "Content-Length: 5\r\nContent-Length: 6" + crlf2, malformed, "more than one length"},
		{"two equal lengths", post + "Content-Length: 5\r\ncontent-length: 5" + crlf2, malformed, "more than one length"},
		{"a list of lengths", post + "Content-Length: 5, 5" + crlf2, malformed, "a length that is none"},
		{"a signed length", post + "Content-Length: +5" + crlf2, malformed, "a length that is none"},
		{"a negative length", post + "Content-Length: -5" + crlf2, malformed, "a length that is none"},
		{"a hexadecimal length", post + "Content-Length: 0x5" + crlf2, malformed, "a length that is none"},
		{"no length", post + "Content-Length:" + crlf2, malformed, "a length that is none"},
		{"a vast length", post + "Content-Length: 9999999999999999999" + crlf2, malformed, "a length that is none"},
		{"a long length", post + "Content-Length: " + strings.Repeat("0", 19) + "5" + crlf2, malformed, "a length that is none"},
		{"another coding", post + "Transfer-Encoding: gzip" + crlf2, malformed, "a transfer coding other than chunked"},
		{"codings", post + "Transfer-Encoding: gzip, chunked" + crlf2, malformed, "a transfer coding other than chunked"},
		{"two codings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity" + crlf2, malformed, "more than one length"},
		{"a coding with a tab", post + "Transfer-Encoding: \x0bchunked" + crlf2, malformed, "a control character in a field"},
		{"a quoted coding", post + "Transfer-Encoding: \"chunked\"" + crlf2, malformed, "a transfer coding other than chunked"},
		{"a coding's parameter", post + "Transfer-Encoding: chunked;q=1" + crlf2, malformed, "a transfer coding other than chunked"},
		{"chunked HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked" + crlf2, malformed, "a transfer coding other than chunked"},
		{"a space before the colon", post + "Transfer-Encoding : chunked" + crlf2, malformed, "a field without a proper name"},
		{"a space in a name", get + "X Y: z" + crlf2, malformed, "a field without a proper name"},
		{"no name", get + ": z" + crlf2, malformed, "a field without a proper name"},
		{"no colon", get + "X" + crlf2, malformed, "a field without a proper name"},
		{"obs-fold", get + "X: y\r\n z" + crlf2, malformed, "a folded field (obs-fold)"},
		{"obs-fold of a length", post + "Content-Length:\r\n\t5" + crlf2, malformed, "a folded field (obs-fold)"},
		{"a fold before all fields", "GET / HTTP/1.1\r\n X: y" + crlf2, malformed, "a folded field (obs-fold)"},
		{"NUL", get + "X: \x00" + crlf2, malformed, "a control character in a field"},
		{"DEL", get + "X: \x7f" + crlf2, malformed, "a control character in a field"},
		{"a bare CR", get + "X: y\rZ: z" + crlf2, malformed, "a control character in a field"},
		{"a bare LF", get + "X: y\nZ: z" + crlf2, malformed, "a line that ends in LF alone"},
		{"a bare LF at the end", "GET / HTTP/1.1\nHost: a.example\n\n", malformed, "a line that ends in LF alone"},
		{"LF CR LF", "GET / HTTP/1.1\r\nHost: a.example\r\n\n", malformed, "a line that ends in LF alone"},
		{"an empty line first", "\r\nGET / HTTP/1.1\r\nHost: a.example" + crlf2, policy.NotTLS, "not an HTTP/1 request"},
		{"two Hosts", get + "Host: a.example" + crlf2, malformed, "more than one Host"},
		{"no Host", "GET / HTTP/1.1" + crlf2, malformed, "no Host"},
		{"another expectation", get + "Expect: 200-ok" + crlf2, malformed, "an expectation other than 100-continue"},
		{"two expectations", get + "Expect: 100-continue\r\nExpect: 100-continue" + crlf2, malformed, "an expectation other than 100-continue"},
		{"trailers", post + "Trailer: X\r\nTransfer-Encoding: chunked" + crlf2, malformed, "trailers are not taken"},
		{"many fields", get + strings.Repeat("X: y\r\n", maxFields) + "\r\n", malformed, "more than 100 fields"},
		{"a long head", get + "X: " + strings.Repeat("y", maxHead) + crlf2, malformed, "a head of more than 16384 bytes"},
		{"a long head without an end", "GET /" + strings.Repeat("y", maxHead), malformed, "a head of more than 16384 bytes"},

		{"TLS", "\x16\x03\x01\x02\x00", malformed, "TLS on the port of HTTP"},
		{"SSH", "SSH-2.0-x\r\n", policy.NotTLS, "not an HTTP/1 request"},
		{"HTTP/0.9", "GET /" + crlf2, policy.NotTLS, "not an HTTP/1 request"},
		{"HTTP/2", "PRI * HTTP/2.0" + crlf2 + "SM" + crlf2, policy.NotTLS, "not an HTTP/1 request"},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a.example" + crlf2, policy.NotTLS, "not an HTTP/1 request"},
		{"http/1.1", "GET / http/1.1\r\nHost: a.example" + crlf2, policy.NotTLS, "not an HTTP/1 request"},
		{"tabs", "GET\t/\tHTTP/1.1\r\nHost: a.example" + crlf2, policy.NotTLS, "not an HTTP/1 request"},
		{"a small method", "Get / HTTP/1.1\r\nHost: a.example" + crlf2, policy.NotTLS, "not an HTTP/1 request"},
		{"the gate's own method", refusal, policy.NotTLS, "not an HTTP/1 request"},
		{"a long method", strings.Repeat("G", 25) + " / HTTP/1.1\r\nHost: a.example" + crlf2, policy.NotTLS, "not an HTTP/1 request"},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"a space in the target", "GET /a b HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"a target beyond ASCII", "GET /\xc3\xbc HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"a bare CR in the target", "GET /\rx HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"a fragment", "GET /#x HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"a broken escape", "GET /%zz HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"a relative target", "GET x HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"a URL without authority", "GET http:x HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"an asterisk", "GET * HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"no target", "GET  HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not a request target"},
		{"https", "GET https://a.example/ HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "only http is forwarded; for https there is CONNECT"},
		{"userinfo", "GET http://u:p@a.example/ HTTP/1.1\r\nHost: a.example" + crlf2, policy.NoReason, "not a host name"},
		{"no host", "GET http:///x HTTP/1.1\r\nHost: a.example" + crlf2, policy.NoReason, "not a host name"},
		{"an IPv6 host", "GET http://[::1]/ HTTP/1.1\r\nHost: [::1]" + crlf2, policy.NoReason, "not a host name"},
		{"an escaped host", "GET http://a%2eexample/ HTTP/1.1\r\nHost: a.example" + crlf2, policy.NoReason, "not a host name"},
		{"a backslash", "GET http://a.example\\@b.example/ HTTP/1.1\r\nHost: a.example" + crlf2, policy.NoReason, "not a host name"},
		{"a port that is none", "GET http://a.example:x/ HTTP/1.1\r\nHost: a.example" + crlf2, malformed, "not host:port"},
		{"an odd Host", "GET / HTTP/1.1\r\nHost: a.example/x" + crlf2, policy.NoReason, "not a host name"},

		{"Host disagrees", "GET http://a.example/ HTTP/1.1\r\nHost: b.example" + crlf2, policy.HostMismatch, `Host is "b.example"`},
		{"Host disagrees in the port", "GET http://a.example/ HTTP/1.1\r\nHost: a.example:8080" + crlf2, policy.HostMismatch, `Host is "a.example:8080"`},
		{"Host lacks the port", "GET http://a.example:8080/ HTTP/1.1\r\nHost: a.example" + crlf2, policy.HostMismatch, `Host is "a.example"`},
		{"Host is empty", "GET http://a.example/ HTTP/1.1\r\nHost:" + crlf2, policy.HostMismatch, `Host is ""`},
		{"CONNECT's Host disagrees", "CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443" + crlf2, policy.HostMismatch, `Host is "b.example:443"`},
		{"CONNECT's Host has another port", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:80" + crlf2, policy.HostMismatch, `Host is "a.example:80"`},
		{"CONNECT with a body", "CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 1" + crlf2, malformed, "a CONNECT with a body"},
		{"CONNECT with chunks", "CONNECT a.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked" + crlf2, malformed, "a CONNECT with a body"},
	} {
		const before = "GET /first HTTP/1.1\r\nHost: a.example" + crlf2
		for _, in := range []string{"", before} {
			if in != "" && tt.want == policy.NotTLS {
				tt.want = malformed // it began as HTTP
			}
			got, g, _ := through(strings.NewReader(in + tt.in + "GET /after HTTP/1.1\r\nHost: a.example" + crlf2))
			if got != in+refusal || g.fault == nil || g.fault.reason != tt.want || g.fault.detail != tt.detail {
				t.Errorf("%s, after %q: passed %q, fault %+v", tt.name, in, got, g.fault)
			}
		}
	}
}

func TestGateChunks(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked" + crlf2
	for _, tt := range []struct{ name, body, passed string }{
		{"an extension", "5;x=y\r\nhello\r\n0" + crlf2, "5"},
		{"an extension of nothing", "5;\r\nhello\r\n0" + crlf2, "5"},
		{"no digits", "\r\nhello\r\n0" + crlf2, ""},
		{"a sign", "+5\r\nhello\r\n0" + crlf2, ""},
		{"0x", "0x5\r\nhello\r\n0" + crlf2, "0"},
		{"a space before", " 5\r\nhello\r\n0" + crlf2, ""},
		{"a space after", "5 \r\nhello\r\n0" + crlf2, "5"},
		{"an underscore", "1_0\r\nhello\r\n0" + crlf2, "1"},
		{"a vast size", "ffffffffffffffff5\r\nhello\r\n0" + crlf2, "ffffffff"},
		{"zeros without end", "0000000000005\r\nhello\r\n0" + crlf2, "00000000"},
		{"a bare LF after the size", "5\nhello\r\n0" + crlf2, "5"},
		{"a bare CR after the size", "5\rhello\r\n0" + crlf2, "5\r"},
		{"a longer chunk", "5\r\nhello!\r\n0" + crlf2, "5\r\nhello"},
		{"a bare LF after the data", "5\r\nhello\n0" + crlf2, "5\r\nhello"},
		{"no LF after the data", "5\r\nhello\r0" + crlf2, "5\r\nhello\r"},
		{"trailers", "0\r\nX: y" + crlf2, "0\r\n"},
		{"a length as trailer", "0\r\nContent-Length: 5" + crlf2, "0\r\n"},
		{"a bare LF at the end", "0\r\n\n", "0\r\n"},
		{"a bare CR at the end", "0\r\n\rx", "0\r\n\r"},
	} {
		for how, r := range map[string]io.Reader{
			"at once":      strings.NewReader(post + tt.body),
			"byte by byte": iotest.OneByteReader(strings.NewReader(post + tt.body)),
		} {
			got, g, err := through(r)
			fault, ok := errors.AsType[*fault](err)
			if got != post+tt.passed || !ok || fault.reason != policy.Malformed || fault != g.fault {
				t.Errorf("%s, %s: passed %q, %v", tt.name, how, got, err)
			}
		}
	}
}

// TestGateNames: what is wrong with a request is told with what it asked for.
func TestGateNames(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"CONNECT a\x00b:443 HTTP/1.1" + crlf2, `connect "a\x00b":443`},
		{"CONNECT a b:443 HTTP/1.1" + crlf2, `connect "a b":443`},
		{"CONNECT A.example:443 HTTP/1.1\nx", `connect "a.example":443`},
		{"CONNECT A.example:443 HTTP/3" + crlf2, `connect "a.example":443`},
		{"GET http://A.example/ HTTP/1.1\r\n x" + crlf2, `http "a.example":0`},
		{"GET ftp://a.example:21/ HTTP/1.1\r\nHost: b.example" + crlf2, `http "a.example":21`},
		{"GET / HTTP/1.1\r\nHost: A.example:81\r\nX" + crlf2, `http "a.example":81`},
		{"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example" + crlf2, `http "":0`},
		{"\x16\x03\x01", `http "":0`},
	} {
		_, g, _ := through(strings.NewReader(tt.in))
		if got := fmt.Sprintf("%v %q:%d", g.fault.plane, g.fault.name, g.fault.port); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.in, got, tt.want)
		}
	}
}

type xs struct{}

func (xs) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'X'
	}
	return len(p), nil
}

// TestGateBounds: a head that does not end is not kept for ever.
func TestGateBounds(t *testing.T) {
	g := newGate(readConn{Reader: iotest.OneByteReader(xs{})}, []byte("GET / HTTP/1.1\r\n"))
	got, err := io.ReadAll(g)
	if string(got) != refusal || g.fault == nil || !errors.Is(err, g.fault) {
		t.Fatalf("passed %q, %v", got, err)
	}
}

// TestGateDeadline: net/http breaks off a read to take the connection back. Nothing of
// what has been read is lost.
func TestGateDeadline(t *testing.T) {
	const first, second = "GET / HTTP/1.1\r\nHo", "st: a.example" + crlf2
	parts := &segments{parts: [][]byte{[]byte(first)}, end: os.ErrDeadlineExceeded}
	g := newGate(readConn{Reader: parts}, nil)
	buf := make([]byte, 100)
	if n, err := g.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !g.timedOut {
		t.Fatalf("%d bytes, %v", n, err)
	}
	parts.parts = [][]byte{[]byte(second)}
	if n, err := g.Read(buf); string(buf[:n]) != first+second || err != nil || g.timedOut {
		t.Fatalf("%q, %v", buf[:n], err)
	}
}

// TestGateHolds: of a client that has no more to say net/http hears when the answer is
// complete. It gets the connection back before, and hears of a reset.
func TestGateHolds(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a.example" + crlf2
	const post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5" + crlf2
	for _, tt := range []struct {
		name, in string
		passes   int // of in
		answered int64
		reset    bool
		want     error
	}{
		{"a request", get, len(get), 0, false, os.ErrDeadlineExceeded},
		{"a body", post + "hello", len(post) + 5, 0, false, os.ErrDeadlineExceeded},
		{"a CONNECT", "CONNECT a.example:443 HTTP/1.1" + crlf2, 34, 0, false, os.ErrDeadlineExceeded},
		{"the second", get + get, 2 * len(get), 1, false, os.ErrDeadlineExceeded},
		{"the beginning of another", get + "GET", len(get), 0, false, os.ErrDeadlineExceeded},
		{"a reset", get, len(get), 0, true, syscall.ECONNRESET},
		{"an answer", get, len(get), 1, false, io.EOF},
		{"two answers", get + get, 2 * len(get), 2, false, io.EOF},
		{"half a body", post + "hell", len(post) + 4, 0, false, io.EOF},
		{"half a head", get[:9], 0, 0, false, io.EOF},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		far, near := connect(t, l)
		l.Close()
		g := newGate(near, nil)
		say(t, far, tt.in)
		hear(t, g, tt.in[:tt.passes])
		far.CloseWrite()
		g.answered.Store(tt.answered)
		ended := make(chan error)
		go func() {
			_, err := g.Read(make([]byte, 1))
			ended <- err
		}()
		if tt.reset {
			far.SetLinger(0)
			far.Close()
		} else if tt.want != io.EOF {
			near.SetReadDeadline(time.Unix(1, 0))
		}
		if err := <-ended; !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if g.timedOut {
			t.Errorf("%s: the client is to say something", tt.name)
		}
		if tt.want == os.ErrDeadlineExceeded {
			near.SetReadDeadline(time.Time{})
			g.answered.Add(1)
			if _, err := g.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: after the answer: %v", tt.name, err)
			}
		}
	}
}

// TestGateRest: the bytes after a CONNECT are there, whoever asks for them.
func TestGateRest(t *testing.T) {
	const head, tunnel = "CONNECT a.example:443 HTTP/1.1" + crlf2, "\x16\x03\x01tunnel"
	g := newGate(readConn{Reader: strings.NewReader(head + tunnel)}, nil)
	buf := make([]byte, 100)
	n, err := g.Read(buf)
	if string(buf[:n]) != head || err != nil || string(g.rest()) != tunnel {
		t.Fatalf("%q, %v; rest %q", buf[:n], err, g.rest())
	}
	n, err = g.Read(buf[:1]) // as net/http does, in order to hear of the end
	if string(buf[:n]) != tunnel[:1] || err != nil || string(g.rest()) != tunnel[1:] {
		t.Fatalf("%q, %v; rest %q", buf[:n], err, g.rest())
	}
}
