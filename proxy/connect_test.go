package proxy

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
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

const (
	forbidden = "403 Forbidden"
	bad       = "400 Bad Request"
)

var longTarget = strings.Repeat("a.", 200) + "pay.example"

// connectTargets are those that get no tunnel, with the answer and the record of each.
var connectTargets = []struct{ target, status, record string }{
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
	{longTarget + ":443", forbidden, fmt.Sprintf(`deny bad-name %q:443`, longTarget[:maxNoName])},
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
}

// TestConnectTargets: whatever stands where the target should gets the answer and the
// record that it deserves, and nothing is looked up or dialled.
func TestConnectTargets(t *testing.T) {
	for _, tt := range connectTargets {
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
