package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// heardBy is an origin that reads one request, to its end or as far as it comes, and
// gives the answer to all that it has heard.
func heardBy(heard chan<- string, answer string) func(net.Conn) {
	return func(c net.Conn) {
		var text strings.Builder
		in := bufio.NewReader(io.TeeReader(c, &text))
		if r, err := http.ReadRequest(in); err == nil {
			io.Copy(io.Discard, r.Body)
		}
		heard <- text.String() // before the answer, after which another may be heard
		io.WriteString(c, answer)
	}
}

const lastRequest = "Connection: close" + crlf2

// TestForwardRequest: what the origin is sent.
func TestForwardRequest(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"the least", "GET http://check.example HTTP/1.1\r\nHost: check.example\r\n",
			"GET / HTTP/1.1\r\nHost: check.example\r\nConnection: close\r\n\r\n"},
		{"a path", "GET http://Check.Example.:80/a%2Fb//../c?x=%20&y HTTP/1.1\r\nHost: check.example\r\n",
			"GET /a%2Fb//../c?x=%20&y HTTP/1.1\r\nHost: check.example\r\nConnection: close\r\n\r\n"},
		{"a bare question mark", "GET http://check.example? HTTP/1.1\r\nHost: check.example\r\n",
			"GET /? HTTP/1.1\r\nHost: check.example\r\nConnection: close\r\n\r\n"},
		{"another port", "GET http://alt.example:8080/ HTTP/1.1\r\nHost: alt.example:8080\r\n",
			"GET / HTTP/1.1\r\nHost: alt.example:8080\r\nConnection: close\r\n\r\n"},
		{"all options", "OPTIONS http://check.example HTTP/1.1\r\nHost: check.example\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: check.example\r\nConnection: close\r\n\r\n"},
		{"options of a path", "OPTIONS http://check.example/ HTTP/1.1\r\nHost: check.example\r\n",
			"OPTIONS / HTTP/1.1\r\nHost: check.example\r\nConnection: close\r\n\r\n"},
		{"end to end", "GET http://check.example/ HTTP/1.1\r\nHost: check.example\r\nAccept: a\r\nAccept: b\r\nUser-Agent: x\r\nCookie: c\r\n",
			"GET / HTTP/1.1\r\nHost: check.example\r\nUser-Agent: x\r\nAccept: a\r\nAccept: b\r\nCookie: c\r\nConnection: close\r\n\r\n"},
		{"hop by hop", "GET http://check.example/ HTTP/1.1\r\nHost: check.example\r\nConnection: X-Hop , x-list\r\nConnection: keep-alive\r\n" +
			"X-Hop: 1\r\nX-List: 2\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nTE: gzip\r\nX-Kept: 3\r\n",
			"GET / HTTP/1.1\r\nHost: check.example\r\nX-Kept: 3\r\nConnection: close\r\n\r\n"},
		{"trailers are welcome", "GET http://check.example/ HTTP/1.1\r\nHost: check.example\r\nTE: gzip, Trailers\r\n",
			"GET / HTTP/1.1\r\nHost: check.example\r\nTe: trailers\r\nConnection: close\r\n\r\n"},
		{"a body", "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
			"POST / HTTP/1.1\r\nHost: check.example\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"an empty body", "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nContent-Length: 0\r\n",
			"POST / HTTP/1.1\r\nHost: check.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"chunks", "PUT http://check.example/ HTTP/1.1\r\nHost: check.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n005\r\nhello\r\n0\r\n\r\n",
			"PUT / HTTP/1.1\r\nHost: check.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"a body where there is none mostly", "GET http://check.example/ HTTP/1.1\r\nHost: check.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: check.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	} {
		heard := make(chan string, 1)
		s := newStore(t, heardBy(heard, "HTTP/1.1 204 No Content"+crlf2))
		in := tt.in
		if !strings.Contains(in, crlf2) {
			in += lastRequest
		}
		if got := s.explicit().ask(in); got != "HTTP/1.1 204 No Content\r\nConnection: close"+crlf2 {
			t.Errorf("%s: %q", tt.name, got)
		}
		if got := <-heard; got != tt.want {
			t.Errorf("%s: the origin heard\n%q, want\n%q", tt.name, got, tt.want)
		}
	}
}

// TestForwardResponse: what the client is sent.
func TestForwardResponse(t *testing.T) {
	const get = "GET http://check.example/ HTTP/1.1\r\nHost: check.example\r\n" + lastRequest
	const head = "HEAD http://check.example/ HTTP/1.1\r\nHost: check.example\r\n" + lastRequest
	const bad = "HTTP/1.1 502 Bad Gateway"
	for _, tt := range []struct{ name, in, origin, want string }{
		{"a length", get, "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\nConnection: close\r\n\r\nhello"},
		{"Date and type are not made up", get, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
			"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"},
		{"Date and type", get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: x\r\nContent-Type: y\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: y\r\nDate: x\r\nConnection: close\r\n\r\n"},
		{"to its end", get, "HTTP/1.0 200 OK\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"chunks", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"to HTTP/1.0", "GET http://check.example/ HTTP/1.0" + crlf2, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"HTTP/1.0 200 OK\r\n\r\nhello"},
		{"trailers", get, "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-More: 2\r\nX-Sum: 1\r\n\r\n"},
		{"hop by hop", get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 2\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"HEAD", head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"not modified", get, "HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nEtag: x\r\nConnection: close\r\n\r\n"},
		{"early hints", get, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"early hints to HTTP/1.0", "GET http://check.example/ HTTP/1.0" + crlf2, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"other protocols", get, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", bad},
		{"no HTTP", get, "SSH-2.0-x\r\n", bad},
		{"nothing", get, "", bad},
		{"a broken head", get, "HTTP/1.1 200 OK\r\nX: y", bad},
		{"a large head", get, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", maxResponseHead) + crlf2, bad},
		{"both lengths", get, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"two lengths", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nhello", bad},
		{"other status", get, "HTTP/1.1 099 x\r\n\r\n", bad},
		{"cut off", get, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhello"},
		{"chunks cut off", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
	} {
		s := newStore(t, heardBy(make(chan string, 1), tt.origin))
		got := s.explicit().ask(tt.in)
		if tt.want == bad {
			status, fault, body := answerOf(t, got)
			if "HTTP/1.1 "+status != bad || fault != "tillgate; error=http_protocol_error" && fault != "tillgate; error=connection_terminated" || strings.Contains(body, "127.0.0.1") {
				t.Errorf("%s: %s %s %s", tt.name, status, fault, body)
			}
		} else if got != tt.want {
			t.Errorf("%s: %s", tt.name, cmp.Diff(tt.want, got))
		}
		if got := s.told(); got != `http allow documented "check.example":80` {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// TestForwardDenied: each request is decided for itself.
func TestForwardDenied(t *testing.T) {
	const okay = "GET http://check.example/ HTTP/1.1\r\nHost: check.example" + crlf2
	ask := func(url string) string {
		host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
		return "GET " + url + " HTTP/1.1\r\nHost: " + host + crlf2
	}
	const forbidden, bad = "403 Forbidden", "400 Bad Request"
	for _, tt := range []struct{ name, in, status, record string }{
		{"another host", ask("http://evil.example/"), forbidden, `deny not-documented "evil.example":80`},
		{"another class's", ask("http://office.example:443/"), forbidden, `deny other-class "office.example":443`},
		{"the wrong port", ask("http://check.example:8080/"), forbidden, `deny port "check.example":8080`},
		{"a port for TLS only", ask("http://api.pay.example/"), forbidden, `deny port "api.pay.example":80`},
		{"in the clear to TLS", ask("http://check.example:443/"), bad, `deny not-tls "check.example":443`},
		{"an address", ask("http://8.8.0.1/"), forbidden, `deny ip-literal "8.8.0.1":80`},
		{"an IPv6 address", ask("http://[::1]/"), forbidden, `deny ip-literal "[::1]":80`},
		{"a number", ask("http://2130706433/"), forbidden, `deny ip-literal "2130706433":80`},
		{"userinfo", ask("http://check.example@evil.example/"), forbidden, `deny bad-name "check.example@evil.example":80`},
		{"a port that is none", ask("http://check.example:x/"), bad, `deny malformed "check.example":80`},
		{"https", "GET https://check.example/ HTTP/1.1\r\nHost: check.example" + crlf2, bad, `deny malformed "check.example":80`},
		{"Host disagrees", "GET http://check.example/ HTTP/1.1\r\nHost: evil.example" + crlf2, forbidden, `deny host-mismatch "check.example":80`},
		{"an Upgrade", "GET http://check.example/ HTTP/1.1\r\nHost: check.example\r\nUpgrade: websocket\r\nConnection: Upgrade" + crlf2, bad, `deny malformed "check.example":80`},
		{"both lengths", "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked" + crlf2 + "0" + crlf2, bad, `deny malformed "check.example":80`},
		{"a private address", ask("http://inside.example/"), forbidden, `deny private-address "inside.example":80`},
		{"a body", "POST http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 100000" + crlf2 + strings.Repeat("x", 100000), forbidden, `deny not-documented "evil.example":80`},
		{"more requests", ask("http://evil.example/") + strings.Repeat(okay, 1000), forbidden, `deny not-documented "evil.example":80`},
		{"a body that stays away", "POST http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5" + crlf2, forbidden, `deny not-documented "evil.example":80`},
		{"no absolute URL", "GET / HTTP/1.1\r\nHost: check.example" + crlf2, bad, `deny malformed "check.example":80`},
	} {
		for _, before := range []string{"", okay} {
			s := newStore(t, noContent)
			v := s.explicit()
			records := "http " + tt.record
			if before != "" {
				say(t, v, before)
				hear(t, v, "HTTP/1.1 204 No Content"+crlf2)
				records = `http allow documented "check.example":80; ` + records
			}
			got := v.ask(tt.in)
			if status, _, _ := answerOf(t, got); status != tt.status {
				t.Errorf("%s: %s", tt.name, got)
			}
			if got := s.told(); got != records {
				t.Errorf("%s: %s, want %s", tt.name, got, records)
			}
		}
	}
}

// TestForwardRedirected: a client that knows of no proxy says the host by Host.
func TestForwardRedirected(t *testing.T) {
	const forbidden, bad = "403 Forbidden", "400 Bad Request"
	for _, tt := range []struct {
		name   string
		port   uint16
		in     string
		status string
		record string
	}{
		{"by Host", 80, "GET /x HTTP/1.1\r\nHost: check.example", "204 No Content", `allow documented "check.example":80`},
		{"in other letters", 80, "GET /x HTTP/1.1\r\nHost: Check.Example.", "204 No Content", `allow documented "check.example":80`},
		{"with the port", 80, "GET /x HTTP/1.1\r\nHost: check.example:80", "204 No Content", `allow documented "check.example":80`},
		{"by HTTP/1.0", 80, "GET /x HTTP/1.0\r\nHost: check.example", "204 No Content", `allow documented "check.example":80`},
		{"by URL", 80, "GET http://check.example/x HTTP/1.1\r\nHost: check.example", "204 No Content", `allow documented "check.example":80`},
		{"another port", 8080, "GET /x HTTP/1.1\r\nHost: alt.example:8080", "204 No Content", `allow documented "alt.example":8080`},
		{"another port, not said", 8080, "GET /x HTTP/1.1\r\nHost: alt.example", "204 No Content", `allow documented "alt.example":8080`},
		{"the port of TLS", 443, "GET /x HTTP/1.1\r\nHost: check.example", bad, `deny not-tls "check.example":443`},
		{"a port that was not meant", 80, "GET /x HTTP/1.1\r\nHost: alt.example:8080", forbidden, `deny host-mismatch "alt.example":8080`},
		{"a URL's port that was not meant", 8080, "GET http://check.example/x HTTP/1.1\r\nHost: check.example", forbidden, `deny host-mismatch "check.example":80`},
		{"another host", 80, "GET /x HTTP/1.1\r\nHost: evil.example", forbidden, `deny not-documented "evil.example":80`},
		{"an address", 80, "GET /x HTTP/1.1\r\nHost: 8.8.0.9", forbidden, `deny ip-literal "8.8.0.9":80`},
		{"an IPv6 address", 80, "GET /x HTTP/1.1\r\nHost: [2001:db8::1]", forbidden, `deny ip-literal "[2001:db8::1]":80`},
		{"no Host", 80, "GET /x HTTP/1.1", bad, `deny malformed "":80`},
		{"no Host by HTTP/1.0", 80, "GET /x HTTP/1.0", forbidden, `deny bad-name "":80`},
		{"an empty Host", 80, "GET /x HTTP/1.1\r\nHost:", forbidden, `deny bad-name "":80`},
		{"an odd Host", 80, "GET /x HTTP/1.1\r\nHost: check.example/", forbidden, `deny bad-name "check.example/":80`},
		{"a port that is none", 80, "GET /x HTTP/1.1\r\nHost: check.example:x", bad, `deny malformed "check.example":80`},
		{"two Hosts", 80, "GET /x HTTP/1.1\r\nHost: check.example\r\nHost: evil.example", bad, `deny malformed "":80`},
		{"a fault on another port", 8080, "GET /x HTTP/1.1\r\nHost: alt.example\r\nX : y", bad, `deny malformed "alt.example":8080`},
		{"CONNECT", 80, "CONNECT check.example:443 HTTP/1.1", bad, `deny malformed "check.example":443`},
		{"the PAC file", 80, "GET /proxy.pac HTTP/1.1\r\nHost: check.example", "204 No Content", `allow documented "check.example":80`},
		{"the box's page by another name", 80, "GET / HTTP/1.1\r\nHost: tillgate.internal.example", forbidden, `deny not-documented "tillgate.internal.example":80`},
	} {
		s := newStore(t, noContent)
		got := s.redirected(tt.port).ask(tt.in + "\r\n" + lastRequest)
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) && !strings.HasPrefix(got, "HTTP/1.0 "+tt.status) {
			t.Errorf("%s: %s", tt.name, got)
		}
		if got := s.told(); got != "http "+tt.record {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.record)
		}
	}
}

// TestForwardRedirectedSilence: the beginning of a request is none.
func TestForwardRedirectedSilence(t *testing.T) {
	s := newStore(t, nowhere(t))
	s.p.cfg.HelloTimeout = 50 * time.Millisecond
	if got := s.redirected(80).ask("GET / HTTP/1.1\r\nHost: check"); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("%q", got)
	}
	if got := s.told(); got != `http deny no-hello "":80` {
		t.Error(got)
	}
}

// TestForwardPipelined: answers come in the order of the requests, also where one is
// refused before those before it are answered.
func TestForwardPipelined(t *testing.T) {
	s := newStore(t, noContent)
	const get = "GET http://check.example/ HTTP/1.1\r\nHost: check.example" + crlf2
	const okay = "HTTP/1.1 204 No Content" + crlf2
	got := s.explicit().ask(get + get + "GET http://check.example/ HTTP/1.1\r\nX : y" + crlf2 + get)
	if !strings.HasPrefix(got, okay+okay+"HTTP/1.1 400 Bad Request\r\n") || strings.Count(got, "HTTP/1.1") != 3 {
		t.Error(got)
	}
	const allowed = `http allow documented "check.example":80; `
	if got := s.told(); got != allowed+allowed+`http deny malformed "check.example":80` {
		t.Error(got)
	}
}

// TestForwardContinue: a client that waits to hear whether to send its body hears it from
// the origin, or soon from the proxy.
func TestForwardContinue(t *testing.T) {
	for _, says := range []bool{true, false} {
		heard := make(chan string, 1)
		s := newStore(t, func(c net.Conn) {
			in := bufio.NewReader(c)
			r, err := http.ReadRequest(in)
			if err != nil {
				t.Error(err)
				return
			}
			if says && in.Buffered() > 0 {
				t.Error("the body came before it was asked for")
			}
			if says {
				io.WriteString(c, "HTTP/1.1 100 Continue"+crlf2)
			}
			b, _ := io.ReadAll(r.Body)
			io.WriteString(c, "HTTP/1.1 204 No Content"+crlf2)
			heard <- string(b)
		})
		v := s.explicit()
		say(t, v, "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"+lastRequest)
		hear(t, v, "HTTP/1.1 100 Continue"+crlf2)
		if got := v.ask("hello"); got != "HTTP/1.1 204 No Content\r\nConnection: close"+crlf2 {
			t.Errorf("%q", got)
		}
		if got := <-heard; got != "hello" {
			t.Errorf("the origin heard %q", got)
		}
	}
}

// TestForwardEarlyAnswer: an origin that answers before it has all of the body is heard,
// and the rest of the body not waited for.
func TestForwardEarlyAnswer(t *testing.T) {
	s := newStore(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3"+crlf2+"no\n")
		io.Copy(io.Discard, c)
	})
	s.p.http.idle = time.Hour // which would be a long time to wait for the rest
	got := s.explicit().ask("POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nContent-Length: 1000000" + crlf2 + "begin")
	if got != "HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\nContent-Length: 3"+crlf2+"no\n" {
		t.Errorf("%q", got)
	}
}

// TestForwardObserved: in an observed class what no rule allows passes; the guards stay.
func TestForwardObserved(t *testing.T) {
	for _, tt := range []struct{ url, status, record string }{
		{"http://evil.example/", "204 No Content", `would-deny not-documented "evil.example":80`},
		{"http://check.example:81/", "204 No Content", `would-deny port "check.example":81`},
		{"http://printer.store.example:81/", "403 Forbidden", `deny private-address "printer.store.example":81`},
		{"http://8.8.0.1/", "403 Forbidden", `deny ip-literal "8.8.0.1":80`},
		{"http://evil.example:443/", "400 Bad Request", `deny not-tls "evil.example":443`},
	} {
		s := newStore(t, noContent)
		s.enforce(strings.Replace(storePolicy, "local/old]", "local/old], mode: observe", 1))
		host := strings.TrimSuffix(strings.TrimPrefix(tt.url, "http://"), "/")
		got := s.explicit().ask("GET " + tt.url + " HTTP/1.1\r\nHost: " + host + "\r\n" + lastRequest)
		if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) {
			t.Errorf("%s: %s", tt.url, got)
		}
		if got := s.told(); got != "http "+tt.record {
			t.Errorf("%s: %s, want %s", tt.url, got, tt.record)
		}
	}
}
