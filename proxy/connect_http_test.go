package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"tillgate/decision"
	"tillgate/policy"
)

// TestConnectHTTP: in a tunnel to the port of HTTP each request goes its own way.
func TestConnectHTTP(t *testing.T) {
	const open = "CONNECT check.example:80 HTTP/1.1\r\nHost: check.example:80" + crlf2
	const established = "HTTP/1.1 200 Connection established" + crlf2
	const ok = "HTTP/1.1 204 No Content\r\n"
	get := func(host string) string { return "GET /generate_204 HTTP/1.1\r\nHost: " + host + "\r\n" }
	const more, last = "\r\n", "Connection: close" + crlf2
	for _, tt := range []struct{ name, says, heard, record string }{
		{"a request", get("check.example") + last, ok,
			`connect allow documented "check.example":80; http allow documented "check.example":80`},
		{"two", get("check.example") + more + get("Check.Example.:80") + last, ok,
			`connect allow documented "check.example":80; http allow documented "check.example":80; http allow documented "check.example":80`},
		{"for another host", get("evil.example") + more, "HTTP/1.1 403 Forbidden\r\n",
			`connect deny host-mismatch "check.example":80`},
		{"for another port", get("check.example:443") + more, "HTTP/1.1 403 Forbidden\r\n",
			`connect deny host-mismatch "check.example":80`},
		{"the second for another host", get("check.example") + more + get("inside.example") + more, ok,
			`connect allow documented "check.example":80; http allow documented "check.example":80; http deny host-mismatch "inside.example":80`},
		{"TLS", string(clientHello(t, &tls.Config{ServerName: "check.example"})), "HTTP/1.1 400 Bad Request\r\n",
			`connect deny malformed "check.example":80`},
		{"SSH", "SSH-2.0-x\r\n", "HTTP/1.1 400 Bad Request\r\n",
			`connect deny not-tls "check.example":80`},
		{"bytes", "\x00\x01", "HTTP/1.1 400 Bad Request\r\n",
			`connect deny not-tls "check.example":80`},
		{"a request with a fault", "GET / HTTP/1.1\r\nX : y" + crlf2, "HTTP/1.1 400 Bad Request\r\n",
			`connect deny malformed "check.example":80`},
		{"an Upgrade", "GET / HTTP/1.1\r\nHost: check.example\r\nConnection: upgrade\r\nUpgrade: websocket" + crlf2, "HTTP/1.1 400 Bad Request\r\n",
			`connect deny malformed "check.example":80`},
		{"another CONNECT", open, "HTTP/1.1 400 Bad Request\r\n",
			`connect deny malformed "check.example":80`},
	} {
		s := newStore(t, noContent)
		v := s.explicit()
		if heard := v.ask(open + tt.says); !strings.HasPrefix(heard, established+tt.heard) {
			t.Errorf("%s: heard %q", tt.name, heard)
		}
		if got := s.told(); got != tt.record {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.record)
		}
	}
}

// TestConnectHTTPOther: what is asked for in a tunnel to another host is in the tunnel's record.
func TestConnectHTTPOther(t *testing.T) {
	for _, tt := range []struct{ url, host, want string }{
		{"/", "evil.example", "the request is for evil.example:80"},
		{"/", "check.example:443", "the request is for check.example:443"},
		{"http://evil.example:81/", "evil.example:81", "the request is for evil.example:81"},
	} {
		s := newStore(t, nowhere(t))
		s.explicit().ask("CONNECT check.example:80 HTTP/1.1" + crlf2 + "GET " + tt.url + " HTTP/1.1\r\nHost: " + tt.host + crlf2)
		if got := s.told(); got != `connect deny host-mismatch "check.example":80` || s.records[0].Detail != tt.want {
			t.Errorf("%s of %s: %s, %s", tt.url, tt.host, got, s.records[0].Detail)
		}
	}
}

// TestConnectHTTPEnds: a tunnel to the port of HTTP is one that stood once its first
// request is connected, and ends like any other.
func TestConnectHTTPEnds(t *testing.T) {
	const open = "CONNECT check.example:80 HTTP/1.1" + crlf2
	const get = "GET / HTTP/1.1\r\nHost: check.example" + crlf2
	const allowed, ended = `connect allow documented "check.example":80; `, `connect "check.example":80 `
	const request, exchange = `http allow documented "check.example":80`, `http "check.example":80 by server; `
	asked := make(chan struct{}) // the origin of the policy's
	for _, tt := range []struct {
		name   string
		in     string
		then   func(*store)
		told   string
		ends   string
		rcode  string // of the first record
		origin func(net.Conn)
	}{
		{"the client", get, nil, allowed + request, exchange + ended + "by client", "", noContent},
		{"the client, that says so", "GET / HTTP/1.1\r\nHost: check.example\r\n" + lastRequest, nil, allowed + request, exchange + ended + "by client", "", noContent},
		{"two requests", get + get, nil, allowed + request + "; " + request, exchange + exchange + ended + "by client", "", noContent},
		{"a denial", get + "GET / HTTP/1.1\r\nHost: evil.example" + crlf2, nil, allowed + request + `; http deny host-mismatch "evil.example":80`,
			exchange + ended + "by policy  host-mismatch", "", noContent},
		{"the origin", get, nil, allowed + request, `http "check.example":80 by server connection_terminated the answer is cut off; ` +
			ended + "by server connection_terminated the answer is cut off", "", func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) }},
		{"a policy", get, func(s *store) {
			s.enforce(strings.Replace(storePolicy, "bad.pay.example", "check.example", 1))
			s.p.PolicyChanged()
		}, allowed + request, `http "check.example":80 by policy  denied-by-policy; ` + ended + "by policy  denied-by-policy", "",
			func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				close(asked)
				io.Copy(io.Discard, c)
			}},
		{"no connection", get + get, func(s *store) { s.origin.Close() }, strings.TrimSuffix(allowed, "; "), "", "connection_refused", nowhere(t)},
	} {
		s := newStore(t, tt.origin)
		v := s.explicit()
		say(t, v, open)
		hear(t, v, "HTTP/1.1 200 Connection established"+crlf2)
		if tt.rcode != "" {
			tt.then(s)
		}
		say(t, v, tt.in)
		if tt.then != nil && tt.rcode == "" {
			<-asked
			tt.then(s)
		} else {
			v.CloseWrite()
		}
		heard, _ := io.ReadAll(v) // a cut is a reset
		v.Close()
		<-v.done
		if tt.rcode != "" && !strings.HasPrefix(string(heard), "HTTP/1.1 502 ") {
			t.Errorf("%s: heard %q", tt.name, heard)
		}
		if got := s.told(); got != tt.told {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.told)
		}
		if got := s.ends(); got != tt.ends {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.ends)
		}
		if got := s.records[0].Rcode; got != tt.rcode {
			t.Errorf("%s: the tunnel is recorded with %q", tt.name, got)
		}
		if tt.ends == "" {
			continue
		}
		var up, down uint64
		for _, r := range s.records {
			if r.Event == decision.EventClose && r.Plane == policy.HTTP {
				up, down = up+r.Up, down+r.Down
			}
		}
		end := s.records[len(s.records)-1]
		if end.Up != up || end.Down != down || end.Up == 0 || end.Ms <= 0 || end.Dest.Addr().String() != "8.8.0.1" || s.records[0].Dest != end.Dest {
			t.Errorf("%s: %+v", tt.name, end)
		}
		if stats := s.p.Stats(); stats.Up != up || stats.Down != down {
			t.Errorf("%s: %d bytes up, %d down are counted as %+v", tt.name, up, down, stats)
		}
	}
}

// TestConnectHTTPEnd: between two requests, it is who let it end.
func TestConnectHTTPEnd(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	whole := tunnelEnd{Up: 1, Down: 2, By: byServer}
	for _, tt := range []struct {
		name     string
		ctx      context.Context
		last     tunnelEnd
		timedOut bool
		want     tunnelEnd
	}{
		{"the client", t.Context(), whole, false, tunnelEnd{By: byClient}},
		{"nobody", t.Context(), whole, true, tunnelEnd{By: byIdle}},
		{"the box", stopped, whole, true, tunnelEnd{By: byStop}},
		{"the last request", stopped, tunnelEnd{By: byIdle, Fault: tooSlow}, true, tunnelEnd{By: byIdle, Fault: tooSlow}},
	} {
		h := &httpConn{peer: &peer{}, gate: &gate{timedOut: tt.timedOut}, last: tt.last}
		if got := h.tunnelEnd(tt.ctx); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// noContent is the origin of connectivity checks.
func noContent(c net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		io.WriteString(c, "HTTP/1.1 204 No Content"+crlf2)
	}
}
