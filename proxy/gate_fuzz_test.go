package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"tillgate/policy"
)

// FuzzGate: what the gate passes is the beginning of what came, and net/http makes of it
// as many requests as the gate saw, each of which gets to the handler.
func FuzzGate(f *testing.F) {
	for _, s := range []string{
		"GET http://check.example/ HTTP/1.1\r\nHost: check.example" + crlf2,
		"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close" + crlf2 + "GET / HTTP/1.0" + crlf2,
		"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5" + crlf2 + "helloGET / HTTP/1.1\r\nHost: a.example" + crlf2,
		"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked" + crlf2 + "5\r\nhello\r\n0" + crlf2 + "OPTIONS * HTTP/1.1\r\nHost:" + crlf2,
		"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nContent-Length: 5" + crlf2 + "0" + crlf2,
		"POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 1" + crlf2 + "x",
		"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443" + crlf2 + "\x16\x03\x01",
		"CONNECT 0:1 HTTP/1.1" + crlf2 + "the tunnel's own",
		"GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]:80" + crlf2,
		"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\nPragma: no-cache\r\nX: \x80" + crlf2,
		"PRI * HTTP/1.1\r\nHost: x" + crlf2,
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, slow bool) {
		r := io.Reader(bytes.NewReader(in))
		if slow {
			r = iotest.OneByteReader(r)
		}
		passed, g, err := through(r)
		own, refused := strings.CutSuffix(passed, refusal)
		refused = refused && g.state == stateRefused
		if !refused {
			own = passed
		}
		if !bytes.HasPrefix(in, []byte(own)) {
			t.Fatalf("passed %q of %q", passed, in)
		}
		if (err != nil) != (g.fault != nil) {
			t.Fatalf("%v, fault %v", err, g.fault)
		}
		want := g.heads
		if refused {
			want++
		}
		// The last body may lack its end: it did not come, or it had a fault.
		partial := g.state == stateBody || g.state == stateChunks || g.state == stateRefused && !refused
		if got := requests(t, passed, partial); got != want {
			t.Fatalf("%q: %d requests, the gate says %d", passed, got, want)
		}
		served(t, passed)
	})
}

// requests counts what net/http takes for requests. It fails where net/http finds a fault.
func requests(t *testing.T, text string, partial bool) (n int) {
	in := bufio.NewReader(strings.NewReader(text))
	for {
		if _, err := in.Peek(1); err != nil {
			return n
		}
		req, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q, after %d requests: %v", text, n, err)
		}
		n++
		switch _, err = io.Copy(io.Discard, req.Body); {
		case req.Method == http.MethodConnect:
			return n
		case err != nil && !partial:
			t.Fatalf("%q, in request %d: %v", text, n, err)
		case err != nil:
			return n
		case req.Method == refusedMethod && in.Buffered() > 0:
			t.Fatalf("%q: there is something after the refusal", text)
		}
	}
}

// served has a server answer the requests. It fails if any but the handler does. As goproxy
// does, the handler takes the connection of a CONNECT: what follows is no request.
func served(t *testing.T, text string) {
	conn := &memoryConn{in: strings.NewReader(text), done: make(chan struct{})}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				own, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(own, "HTTP/1.1 200 OK\r\nX-Handled: yes"+crlf2)
				close(conn.done)
				return
			}
			w.Header().Set("X-Handled", "yes")
			io.Copy(io.Discard, r.Body)
		}),
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               maxHead,
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(conn.done)
			}
		},
	}
	server.Serve(&oneListener{conn: conn, done: conn.done})
	out := bufio.NewReader(&conn.out)
	for {
		if _, err := out.Peek(1); err != nil {
			return
		}
		resp, err := http.ReadResponse(out, nil)
		if err != nil || resp.StatusCode != http.StatusContinue && resp.Header.Get("X-Handled") == "" {
			t.Fatalf("%q: not by the handler: %+v, %v", text, resp, err)
		}
		io.Copy(io.Discard, resp.Body)
	}
}

// memoryConn is a connection of which only reading and writing mean anything.
type memoryConn struct {
	net.Conn
	in   io.Reader
	out  bytes.Buffer
	done chan struct{}
}

func (c *memoryConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *memoryConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *memoryConn) Close() error                     { return nil }
func (c *memoryConn) RemoteAddr() net.Addr             { return nil }
func (c *memoryConn) LocalAddr() net.Addr              { return nil }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzHost: a request is for the host that each of its parts names, whatever the policy
// says of that.
func FuzzHost(f *testing.F) {
	for _, s := range []string{
		"check.example", "Check.Example.:80", "check.example:443", "10.0.0.1", "[::1]:80", "", ".", "a@check.example",
		"check.example\r\nHost: b.example", "check.example, b.example", "check.example/", "check.example:080",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		origin := "GET / HTTP/1.1\r\nHost: " + host + crlf2
		absolute := "GET http://check.example/ HTTP/1.1\r\nHost: " + host + crlf2
		if !strings.HasSuffix(origin, crlf2) || strings.Count(origin, crlf2) != 1 {
			return
		}
		if _, fault := parseHead([]byte(absolute), false, netip.Addr{}); fault == nil {
			switch strings.ToLower(strings.Trim(host, " \t")) {
			case "check.example", "check.example.", "check.example:80", "check.example.:80":
			default:
				if !strings.Contains(host, "\r\n") { // then there are more fields
					t.Fatalf("%q is taken for check.example", host)
				}
			}
		}
		_, fault := parseHead([]byte(origin), false, netip.Addr{})
		if fault != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(origin)))
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		asked := parseAuthority(req.Host)
		if _, fault := parseHead([]byte(origin), true, netip.Addr{}); (fault == nil) != (asked.named && asked.valid && !policy.IsLiteral(asked.name)) {
			t.Fatalf("%q: %+v of a client that knows of no proxy", host, fault)
		}
		if !asked.named || !asked.valid {
			return
		}
		plain := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(req.Host), ":80"), ".")
		if asked.on(80) == 80 && asked.name != plain {
			t.Fatalf("%q: %+v", host, asked)
		}
	})
}
