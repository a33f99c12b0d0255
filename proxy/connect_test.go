package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"tillgate/decision"
	"tillgate/policy"
)

// nowhere is an origin that nobody should get to.
func nowhere(t *testing.T) func(net.Conn) {
	return func(net.Conn) { t.Error("the origin was asked") }
}

// answerOf takes a response of the proxy itself apart.
func answerOf(t *testing.T, raw string) (status, proxyStatus, body string) {
	t.Helper()
	head, body, _ := strings.Cut(raw, crlf2)
	lines := strings.Split(head, "\r\n")
	for _, line := range lines[1:] {
		if v, ok := strings.CutPrefix(line, "Proxy-Status: "); ok {
			proxyStatus = v
		}
	}
	if !strings.Contains(head, "\r\nConnection: close") {
		t.Errorf("the connection is not said to end: %q", head)
	}
	return strings.TrimPrefix(lines[0], "HTTP/1.1 "), proxyStatus, body
}

// TestConnectTargets: whatever stands where the target should gets the answer and the
// record that it deserves, and nothing is looked up or dialled.
func TestConnectTargets(t *testing.T) {
	const (
		forbidden = "403 Forbidden"
		bad       = "400 Bad Request"
	)
	long := strings.Repeat("a.", 200) + "pay.example"
	for _, tt := range []struct{ target, status, record string }{
		// Names that no rule has.
		{"evil.example:443", forbidden, `deny not-documented "evil.example":443`},
		{"EVIL.Example.:443", forbidden, `deny not-documented "evil.example":443`},
		{"pay.example:443", forbidden, `deny not-documented "pay.example":443`},
		{"api.pay.example.evil.example:443", forbidden, `deny not-documented "api.pay.example.evil.example":443`},
		{"xapi-pay.example:443", forbidden, `deny not-documented "xapi-pay.example":443`},
		{"xn--pi-7ka.pay.exampl:443", forbidden, `deny not-documented "xn--pi-7ka.pay.exampl":443`},
		{"bad.pay.example:443", forbidden, `deny denied-by-policy "bad.pay.example":443`},
		{"BAD.pay.example.:443", forbidden, `deny denied-by-policy "bad.pay.example":443`},
		{"office.example:443", forbidden, `deny other-class "office.example":443`},
		// Ports.
		{"api.pay.example:80", forbidden, `deny port "api.pay.example":80`},
		{"api.pay.example:8443", forbidden, `deny port "api.pay.example":8443`},
		{"api.pay.example:65535", forbidden, `deny port "api.pay.example":65535`},
		{"api.pay.example:65536", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:0", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:00443", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:-443", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:+443", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:0x1bb", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:https", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:443/", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:443/../x", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:443?x", bad, `deny malformed "api.pay.example":0`},
		{"api.pay.example:443#x", bad, `deny malformed "api.pay.example":0`},
		// Dots.
		{"api.pay.example..:443", forbidden, `deny bad-name "api.pay.example..":443`},
		{".api.pay.example:443", forbidden, `deny bad-name ".api.pay.example":443`},
		{"api..pay.example:443", forbidden, `deny bad-name "api..pay.example":443`},
		{".:443", forbidden, `deny bad-name ".":443`},
		{":443", forbidden, `deny bad-name "":443`},
		// Other spellings of names.
		{"user@api.pay.example:443", forbidden, `deny bad-name "user@api.pay.example":443`},
		{"user:pw@api.pay.example:443", forbidden, `deny bad-name "user:pw@api.pay.example":443`},
		{"api.pay.example:443@evil.example:443", forbidden, `deny bad-name "api.pay.example:443@evil.example":443`},
		{"evil.example#@api.pay.example:443", forbidden, `deny bad-name "evil.example#@api.pay.example":443`},
		{"evil.example/api.pay.example:443", forbidden, `deny bad-name "evil.example/api.pay.example":443`},
		{`evil.example\.api.pay.example:443`, forbidden, `deny bad-name "evil.example\\.api.pay.example":443`},
		{"evil.example\x00.pay.example:443", forbidden, `deny bad-name "evil.example\x00.pay.example":443`},
		{"evil.example%00.pay.example:443", forbidden, `deny bad-name "evil.example%00.pay.example":443`},
		{"%61pi.pay.example:443", forbidden, `deny bad-name "%61pi.pay.example":443`},
		{"evil.example\t.pay.example:443", forbidden, `deny bad-name "evil.example\t.pay.example":443`},
		{"evil.example api.pay.example:443", forbidden, `deny bad-name "evil.example api.pay.example":443`},
		{"evil.example\r.pay.example:443", forbidden, `deny bad-name "evil.example\r.pay.example":443`},
		{"*.pay.example:443", forbidden, `deny bad-name "*.pay.example":443`},
		{"-x.pay.example:443", forbidden, `deny bad-name "-x.pay.example":443`},
		{"x-.pay.example:443", forbidden, `deny bad-name "x-.pay.example":443`},
		{"аpi.pay.example:443", forbidden, `deny bad-name "аpi.pay.example":443`}, // a Cyrillic а
		{"api。pay。example:443", forbidden, `deny bad-name "api。pay。example":443`},
		{"\xff.pay.example:443", forbidden, `deny bad-name "\xff.pay.example":443`},
		{"http://api.pay.example:443", forbidden, `deny bad-name "http://api.pay.example":443`},
		{strings.Repeat("x", 64) + ".pay.example:443", forbidden, `deny bad-name "` + strings.Repeat("x", 64) + `.pay.example":443`},
		{long + ":443", forbidden, fmt.Sprintf(`deny bad-name %q:443`, long[:maxNoName])},
		{"api.pay.example:443:443", forbidden, `deny bad-name "api.pay.example:443":443`},
		// Addresses.
		{"8.8.0.1:443", forbidden, `deny ip-literal "8.8.0.1":443`},
		{"127.0.0.1:443", forbidden, `deny ip-literal "127.0.0.1":443`},
		{"8.8.0.1.:443", forbidden, `deny ip-literal "8.8.0.1":443`},
		{"127.1:443", forbidden, `deny ip-literal "127.1":443`},
		{"0177.0.0.1:443", forbidden, `deny ip-literal "0177.0.0.1":443`},
		{"2130706433:443", forbidden, `deny ip-literal "2130706433":443`},
		{"0x7f000001:443", forbidden, `deny ip-literal "0x7f000001":443`},
		{"0X7F.1:443", forbidden, `deny ip-literal "0x7f.1":443`},
		{"x.0x:443", forbidden, `deny ip-literal "x.0x":443`},
		{"[::1]:443", forbidden, `deny ip-literal "[::1]":443`},
		{"[::ffff:8.8.0.1]:443", forbidden, `deny ip-literal "[::ffff:8.8.0.1]":443`},
		{"::1", forbidden, `deny ip-literal "::1":0`},
		{"2001:db8::1:443", forbidden, `deny ip-literal "2001:db8::1:443":0`},
		{"[fe80::1%eth0]:443", forbidden, `deny bad-name "[fe80::1%eth0]":443`},
		{"[fe80::1%25eth0]:443", forbidden, `deny bad-name "[fe80::1%25eth0]":443`},
		{"[api.pay.example]:443", forbidden, `deny bad-name "[api.pay.example]":443`},
		{"[v1.x]:443", forbidden, `deny bad-name "[v1.x]":443`},
		{"[]:443", forbidden, `deny bad-name "[]":443`},
		// What is no authority at all.
		{"/", forbidden, `deny bad-name "/":0`},
		{"/api.pay.example:443", forbidden, `deny bad-name "/api.pay.example":443`},
		{"*", forbidden, `deny bad-name "*":0`},
		{"", forbidden, `deny bad-name "":0`},
	} {
		s := newStore(t, nowhere(t))
		raw := s.explicit().ask("CONNECT " + tt.target + " HTTP/1.1" + crlf2)
		status, proxyStatus, body := answerOf(t, raw)
		reason := strings.Fields(tt.record)[1]
		want := `tillgate; error=http_request_denied; details="` + reason + `"`
		if tt.status == bad {
			want = `tillgate; error=http_request_error; details="` + reason + `"`
		}
		if status != tt.status || proxyStatus != want || !strings.Contains(body, "("+reason+")") {
			t.Errorf("%.80q: %s, %s, %q", tt.target, status, proxyStatus, body)
		}
		if got := s.told(); got != "connect "+tt.record {
			t.Errorf("%.80q: %s, want %s", tt.target, got, tt.record)
		}
	}
}

func TestConnectDeniedPage(t *testing.T) {
	s := newStore(t, nowhere(t))
	got := s.explicit().ask("CONNECT Office.example.:443 HTTP/1.1\r\nHost: Office.example.:443" + crlf2)
	const want = "HTTP/1.1 403 Forbidden\r\n" +
		"Content-Length: 246\r\n" +
		"Cache-Control: no-store\r\n" +
		"Connection: close\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n" +
		"Proxy-Status: tillgate; error=http_request_denied; details=\"other-class\"\r\n" +
		"X-Content-Type-Options: nosniff\r\n\r\n" +
		"This is not let through.\n\n" +
		"asked:   office.example:443\n" +
		"why:     documented, but not for this class of device (other-class)\n" +
		"class:   till\n" +
		"service: lab/office, row 4 of the document\n" +
		"next:    on the box: tillgate explain 10.20.1.7 office.example:443\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r := s.records[0]
	if r.Class != "till" || r.Service != "lab/office" || r.Row != 4 || r.Client != till || r.Rule == "" {
		t.Errorf("%+v", r)
	}
}

func TestConnectOfAStranger(t *testing.T) {
	s := newStore(t, nowhere(t))
	got := s.visit(stranger, s.p.serveProxy).ask("CONNECT api.pay.example:443 HTTP/1.1" + crlf2)
	if status, _, _ := answerOf(t, got); status != "403 Forbidden" {
		t.Error(got)
	}
	if got, want := s.told(), `connect deny unknown-client "api.pay.example":443`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestConnectDenialIsRead: a client that did not wait for the answer gets it all the same.
// Bytes that nobody reads make the kernel reset the connection, and lose it.
func TestConnectDenialIsRead(t *testing.T) {
	s := newStore(t, nowhere(t))
	early := strings.Repeat("\x16\x03\x01tunnel", 10<<10)
	for _, head := range []string{
		"CONNECT evil.example:443 HTTP/1.1" + crlf2,      // by goproxy
		"CONNECT user@evil.example:443 HTTP/1.1" + crlf2, // by net/http
	} {
		if got := s.explicit().ask(head + early); !strings.HasPrefix(got, "HTTP/1.1 403 ") || !strings.Contains(got, "\nwhy: ") {
			t.Errorf("%q: %q", head, got)
		}
	}
}

func TestConnectFailures(t *testing.T) {
	for _, tt := range []struct{ name, target, status, proxyStatus, record string }{
		{"no address", "lost.pay.example:443", "502 Bad Gateway", "tillgate; error=dns_error", `allow documented "lost.pay.example":443`},
		{"no answer from the resolver", "slow.pay.example:443", "504 Gateway Timeout", "tillgate; error=dns_timeout", `allow documented "slow.pay.example":443`},
		{"refused", "api.pay.example:443", "502 Bad Gateway", "tillgate; error=connection_refused", `allow documented "api.pay.example":443`},
		{"a private address", "inside.example:443", "403 Forbidden", `tillgate; error=destination_ip_prohibited; details="private-address"`, `deny private-address "inside.example":443`},
	} {
		s := newStore(t, nowhere(t))
		s.origin.Close()
		status, proxyStatus, body := answerOf(t, s.explicit().ask("CONNECT "+tt.target+" HTTP/1.1"+crlf2))
		if status != tt.status || proxyStatus != tt.proxyStatus {
			t.Errorf("%s: %s, %s", tt.name, status, proxyStatus)
		}
		if strings.Contains(body, "10.20.5.7") || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: an address is told: %q", tt.name, body)
		}
		if got := s.told(); got != "connect "+tt.record {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.record)
		}
	}
}

// TestConnectAtLimit: one tunnel too many is refused while that can be told.
func TestConnectAtLimit(t *testing.T) {
	s := newStore(t, nowhere(t))
	s.p.registry = newRegistry(limit{9, 9}, limit{}, s.p.judge, s.p.deps.Trusted)
	status, proxyStatus, _ := answerOf(t, s.explicit().ask("CONNECT api.pay.example:443 HTTP/1.1"+crlf2))
	if status != "503 Service Unavailable" || proxyStatus != `tillgate; error=connection_limit_reached; details="limit"` {
		t.Errorf("%s, %s", status, proxyStatus)
	}
	if got := s.told(); got != `connect deny limit "api.pay.example":443` {
		t.Error(got)
	}
}

// TestConnectPolicyChange: a tunnel in which the hello is yet to come ends like any other,
// and it was not the client who was silent.
func TestConnectPolicyChange(t *testing.T) {
	s := newStore(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	v := s.explicit()
	say(t, v, "CONNECT api.pay.example:443 HTTP/1.1"+crlf2)
	hear(t, v, "HTTP/1.1 200 Connection established"+crlf2)
	s.enforce(strings.Replace(storePolicy, "bad.pay.example", "api.pay.example", 1))
	s.p.PolicyChanged()
	<-v.done
	if got := s.told(); got != `connect allow documented "api.pay.example":443` {
		t.Error(got)
	}
	if r := s.records[0]; r.Rcode != "connection_terminated" || !strings.Contains(r.Detail, "policy") {
		t.Errorf("%+v", r)
	}
}

// TestConnectTLS: what the tunnel begins with must be a hello to the host of the CONNECT.
func TestConnectTLS(t *testing.T) {
	alert := string(alertRecord)
	hello := func(name string) string {
		return string(clientHello(t, &tls.Config{ServerName: name, InsecureSkipVerify: true}))
	}
	for _, tt := range []struct {
		name, target, says, heard, record string
	}{
		{"the host", "api.pay.example:443", hello("api.pay.example"), "", `allow documented "api.pay.example":443`},
		{"in other letters", "API.pay.example.:443", hello("Api.Pay.Example"), "", `allow documented "api.pay.example":443`},
		{"by a wildcard", "x.y.pay.example:443", hello("x.y.pay.example"), "", `allow documented "x.y.pay.example":443`},
		{"no SNI where it is optional", "mqtt.example:8883", hello(""), "", `allow local-service "mqtt.example":8883`},
		{"SNI where it is optional", "mqtt.example:8883", hello("mqtt.example"), "", `allow local-service "mqtt.example":8883`},
		{"another SNI where it is optional", "mqtt.example:8883", hello("evil.example"), alert, `deny sni-mismatch "mqtt.example":8883`},
		{"no SNI", "api.pay.example:443", hello(""), alert, `deny no-sni "api.pay.example":443`},
		{"another name", "api.pay.example:443", hello("evil.example"), alert, `deny sni-mismatch "api.pay.example":443`},
		{"another allowed name", "api.pay.example:443", hello("x.pay.example"), alert, `deny sni-mismatch "api.pay.example":443`},
		{"an address", "api.pay.example:443", string(handMade(serverName(hostName("8.8.0.1")))), alert, `deny sni-mismatch "api.pay.example":443`},
		{"a dot at the end", "api.pay.example:443", string(handMade(serverName(hostName("api.pay.example.")))), alert, `deny malformed "api.pay.example":443`},
		{"two names", "api.pay.example:443", string(handMade(serverName(hostName("api.pay.example"), hostName("evil.example")))), alert, `deny malformed "api.pay.example":443`},
		{"NUL", "api.pay.example:443", string(handMade(serverName(hostName("api.pay.example\x00")))), alert, `deny sni-mismatch "api.pay.example":443`},
		{"HTTP", "api.pay.example:443", "GET / HTTP/1.1" + crlf2, "", `deny not-tls "api.pay.example":443`},
		{"SSH", "api.pay.example:443", "SSH-2.0-x\r\n", "", `deny not-tls "api.pay.example":443`},
		{"an alert", "api.pay.example:443", alert, "", `deny not-tls "api.pay.example":443`},
	} {
		for _, waits := range []bool{true, false} {
			got := make(chan string, 1)
			s := newStore(t, func(c net.Conn) {
				b, _ := io.ReadAll(c)
				got <- string(b)
			})
			v := s.explicit()
			const established = "HTTP/1.1 200 Connection established" + crlf2
			head := "CONNECT " + tt.target + " HTTP/1.1" + crlf2
			if waits {
				say(t, v, head)
				hear(t, v, established)
				say(t, v, tt.says)
			} else {
				say(t, v, head+tt.says)
				hear(t, v, established)
			}
			v.CloseWrite()
			heard, _ := io.ReadAll(v) // a denial without an alert may be a reset
			v.Close()
			<-v.done
			if string(heard) != tt.heard {
				t.Errorf("%s: heard %q, want %q", tt.name, heard, tt.heard)
			}
			if told := s.told(); told != "connect "+tt.record {
				t.Errorf("%s: %s, want %s", tt.name, told, tt.record)
			}
			passed := ""
			if strings.HasPrefix(tt.record, "allow") {
				passed = tt.says
			}
			if told := <-got; told != passed {
				t.Errorf("%s: the origin heard %q, want %q", tt.name, told, passed)
			}
		}
	}
}

// TestConnectSilence: who says nothing, or not all of it, is not waited for.
func TestConnectSilence(t *testing.T) {
	hello := string(clientHello(t, &tls.Config{ServerName: "api.pay.example"}))
	for _, tt := range []struct{ name, says, status, record string }{
		{"at all", "", "", `deny no-hello "":0`},
		{"in the request line", "CONNECT api", "", `deny no-hello "":0`},
		{"in the head", "CONNECT api.pay.example:443 HTTP/1.1\r\n", "", `deny no-hello "":0`},
		{"in the tunnel", "CONNECT api.pay.example:443 HTTP/1.1" + crlf2, "HTTP/1.1 200 Connection established" + crlf2, `deny no-hello "api.pay.example":443`},
		{"in the hello", "CONNECT api.pay.example:443 HTTP/1.1" + crlf2 + hello[:100], "HTTP/1.1 200 Connection established" + crlf2, `deny no-hello "api.pay.example":443`},
		{"in the tunnel to HTTP", "CONNECT check.example:80 HTTP/1.1" + crlf2, "HTTP/1.1 200 Connection established" + crlf2, `deny no-hello "check.example":80`},
		{"in its request", "CONNECT check.example:80 HTTP/1.1" + crlf2 + "GET / HT", "HTTP/1.1 200 Connection established" + crlf2, `deny no-hello "check.example":80`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, func(c net.Conn) { io.Copy(io.Discard, c) })
			s.p.cfg.HelloTimeout = aWhile
			v := s.explicit()
			say(t, v, tt.says)
			heard, _ := io.ReadAll(v)
			v.Close()
			<-v.done
			if string(heard) != tt.status {
				t.Errorf("heard %q", heard)
			}
			if got := s.told(); got != "connect "+tt.record {
				t.Errorf("%s, want %s", got, tt.record)
			}
		})
	}
}

// TestConnectOnlyLooked: somebody who connects and goes has asked for nothing.
func TestConnectOnlyLooked(t *testing.T) {
	s := newStore(t, nowhere(t))
	v := s.explicit()
	v.CloseWrite()
	if got := v.rest(); got != "" || s.told() != "" {
		t.Errorf("heard %q, told %s", got, s.told())
	}
}

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

// TestConnectHalfClosed: a client that has no more to say gets its tunnel all the same, if
// it has said in it what it wants.
func TestConnectHalfClosed(t *testing.T) {
	const established = "HTTP/1.1 200 Connection established" + crlf2
	hello := string(clientHello(t, &tls.Config{ServerName: "api.pay.example"}))
	for _, tt := range []struct{ name, says, heard, told, ends string }{
		{"with a hello", hello, established + "answer", `connect allow documented "api.pay.example":443`, `connect "api.pay.example":443 by client`},
		{"without", "", established, `connect deny no-hello "api.pay.example":443`, ""},
	} {
		dialled, let := make(chan struct{}), make(chan struct{})
		s := newStore(t, func(c net.Conn) {
			if b, _ := io.ReadAll(c); len(b) > 0 {
				io.WriteString(c, "answer")
			}
		})
		dial := s.p.dialTCP
		s.p.dialTCP = func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
			close(dialled)
			<-let
			return dial(ctx, addr)
		}
		v := s.explicit()
		say(t, v, "CONNECT api.pay.example:443 HTTP/1.1"+crlf2+tt.says)
		v.CloseWrite()
		<-dialled
		close(let)
		got, _ := io.ReadAll(v) // a denial may be a reset
		v.Close()
		<-v.done
		if string(got) != tt.heard {
			t.Errorf("%s: %q", tt.name, got)
		}
		if got := s.told(); got != tt.told {
			t.Errorf("%s: %s", tt.name, got)
		}
		if got := s.ends(); got != tt.ends {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// noContent is the origin of connectivity checks.
func noContent(c net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		io.WriteString(c, "HTTP/1.1 204 No Content"+crlf2)
	}
}
