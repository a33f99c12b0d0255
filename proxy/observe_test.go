package proxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestObserved: what a class that is only observed may do besides what it is allowed.
func TestObserved(t *testing.T) {
	const to80 = "8.8.0.9:80"
	http := func(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + crlf2) }
	good, bare := sni("api.pay.example"), handMade()
	cases := []flowCase{
		// A name leads where it leads.
		{name: "documented", says: good, heard: tunneled, want: `tls allow documented "api.pay.example":443 at 8.8.0.1:443`},
		{name: "another name", says: sni("evil.example"), heard: tunneled, want: `tls would-deny not-documented "evil.example":443 at 8.8.0.1:443`},
		{name: "another class's", says: sni("office.example"), heard: tunneled, want: `tls would-deny other-class "office.example":443 at 8.8.0.1:443`},
		{name: "another port", meant: "8.8.0.9:8443", says: good, heard: tunneled, want: `tls would-deny port "api.pay.example":8443 at 8.8.0.1:8443`},
		{name: "a deny rule", says: sni("bad.pay.example"), heard: tunneled, want: `tls would-deny denied-by-policy "bad.pay.example":443 at 8.8.0.1:443`},
		{name: "an old client", names: "mqtt.example", says: bare, heard: tunneled, want: `tls allow local-service "mqtt.example":443 at 8.8.0.1:443`},
		{name: "TLS on the port of HTTP", meant: to80, says: sni("evil.example"), heard: tunneled,
			want: `tls would-deny not-documented "evil.example":80 at 8.8.0.1:80`},
		{name: "TLS on the port of HTTP for a name of TLS", meant: to80, says: good, heard: tunneled,
			want: `tls would-deny port "api.pay.example":80 at 8.8.0.1:80`},

		// What has none goes where the client wanted to.
		{name: "no SNI", says: bare, heard: tunneled, want: `tls would-deny no-sni "":443 at 8.8.0.9:443`},
		{name: "no SNI on the port of HTTP", meant: to80, says: bare, heard: tunneled, want: `tls would-deny no-sni "":80 at 8.8.0.9:80`},
		{name: "no SNI, two that may", names: "mqtt.example old.example", says: bare, heard: tunneled, want: `tls would-deny no-sni "":443 at 8.8.0.9:443`},
		{name: "an address as a name", says: sni("8.8.8.8"), heard: tunneled, want: `tls would-deny ip-literal "8.8.8.8":443 at 8.8.0.9:443`},
		{name: "a bad name", says: sni("api..pay.example"), heard: tunneled, want: `tls would-deny bad-name "api..pay.example":443 at 8.8.0.9:443`},
		{name: "SSH", says: []byte("SSH-2.0-OpenSSH_9.6\r\n"), heard: tunneled, want: `tls would-deny not-tls "":443 at 8.8.0.9:443`},
		{name: "SSH on the port of HTTP", meant: to80, says: []byte("SSH-2.0-OpenSSH_9.6\r\n"), heard: tunneled, want: `http would-deny not-tls "":80 at 8.8.0.9:80`},
		{name: "FTP", meant: "8.8.0.9:21", says: []byte("USER ftp\r\n"), heard: tunneled, want: `tls would-deny not-tls "":21 at 8.8.0.9:21`},
		{name: "some other protocol", meant: "8.8.0.9:9100", says: []byte("\x1b@receipt"), heard: tunneled, want: `tls would-deny not-tls "":9100 at 8.8.0.9:9100`},
		{name: "bytes on the port of HTTP", meant: to80, says: []byte{0, 1, 2}, heard: tunneled, want: `http would-deny not-tls "":80 at 8.8.0.9:80`},
		{name: "HTTP/2 without TLS", meant: to80, says: http("PRI * HTTP/2.0", "", "SM"), heard: tunneled, want: `http would-deny not-tls "":80 at 8.8.0.9:80`},
		{name: "HTTP on the port of TLS", says: http("GET / HTTP/1.1", "Host: evil.example"), heard: tunneled, want: `tls would-deny not-tls "":443 at 8.8.0.9:443`},
		{name: "Host is an address", meant: to80, says: http("GET / HTTP/1.1", "Host: 8.8.0.9"), heard: tunneled, want: `http would-deny ip-literal "8.8.0.9":80 at 8.8.0.9:80`},
		{name: "Host is another address", meant: to80, says: http("GET / HTTP/1.1", "Host: 10.0.0.1:80"), heard: tunneled, want: `http would-deny ip-literal "10.0.0.1":80 at 8.8.0.9:80`},
		{name: "Host is an IPv6 address", meant: "[2001:4860::9]:8080", says: http("GET / HTTP/1.1", "Host: [2001:4860::9]:8080"), heard: tunneled,
			want: `http would-deny ip-literal "[2001:4860::9]":8080 at [2001:4860::9]:8080`},
		{name: "no Host by HTTP/1.0", meant: to80, says: http("GET / HTTP/1.0"), heard: tunneled, want: `http would-deny bad-name "":80 at 8.8.0.9:80`},
		{name: "an empty Host", meant: to80, says: http("GET / HTTP/1.1", "Host:"), heard: tunneled, want: `http would-deny bad-name "":80 at 8.8.0.9:80`},
		{name: "a bad Host", meant: to80, says: http("GET / HTTP/1.1", "Host: a..b"), heard: tunneled, want: `http would-deny bad-name "a..b":80 at 8.8.0.9:80`},
		{name: "a Host that is none", meant: to80, says: http("GET / HTTP/1.1", "Host: a@b/"), heard: tunneled, want: `http would-deny bad-name "a@b/":80 at 8.8.0.9:80`},
		{name: "a URL with an address", meant: to80, says: http("GET http://8.8.0.9/ HTTP/1.1", "Host: 8.8.0.9"), heard: tunneled, want: `http would-deny ip-literal "8.8.0.9":80 at 8.8.0.9:80`},
		{name: "a body, and another request", meant: to80, heard: tunneled, want: `http would-deny ip-literal "8.8.0.9":80 at 8.8.0.9:80`,
			says: http("POST / HTTP/1.1", "Host: 8.8.0.9", "Transfer-Encoding: chunked", "", "5", "hello", "0", "", "GET / HTTP/1.1", "Host: check.example")},
		{name: "an Upgrade", meant: to80, says: http("GET / HTTP/1.1", "Host: 8.8.0.9", "Connection: upgrade", "Upgrade: websocket"), heard: tunneled,
			want: `http would-deny ip-literal "8.8.0.9":80 at 8.8.0.9:80`},

		// The guards stay on.
		{name: "a name that leads inside", says: sni("inside.pay.example"), heard: alerted, want: `tls deny private-address "inside.pay.example":443`},
		{name: "to a private address", meant: "10.0.0.1:443", says: bare, heard: alerted, want: `tls deny private-address "":443`},
		{name: "to the box", meant: "8.8.9.9:443", says: bare, heard: alerted, want: `tls deny private-address "":443`},
		{name: "HTTP to a private address", meant: "10.0.0.1:80", says: http("GET / HTTP/1.1", "Host: 10.0.0.1"), heard: "HTTP 403", want: `http deny private-address "10.0.0.1":80`},
		{name: "HTTP to the box", meant: "8.8.9.9:80", says: http("GET / HTTP/1.0"), heard: "HTTP 403", want: `http deny private-address "":80`},
		{name: "bytes to the box", meant: "8.8.9.9:80", says: []byte("\x00"), heard: reset, want: `http deny private-address "":80`},
		{name: "HTTP to a host that refuses", meant: "8.8.0.2:80", says: http("GET / HTTP/1.1", "Host: 8.8.0.2"), heard: "HTTP 502",
			want: `http would-deny ip-literal "8.8.0.2":80 connection_refused`},
		{name: "TLS on the port of HTTP where HTTP is allowed", meant: to80, says: sni("check.example"), heard: alerted, want: `tls deny malformed "check.example":80`},
		{name: "two names", says: sni("a.example", "b.example"), heard: alerted, want: `tls deny malformed "":443 at 8.8.0.9:443`},
		{name: "a dot at the end", says: sni("a.example."), heard: alerted, want: `tls deny malformed "":443 at 8.8.0.9:443`},
		{name: "a hello full of noise", says: append([]byte{22, 3, 1, 0, 40, 1, 0, 0, 36}, make([]byte, 36)...), heard: alerted, want: `tls deny malformed "":443 at 8.8.0.9:443`},
		{name: "two lengths", meant: to80, says: http("POST / HTTP/1.1", "Host: 8.8.0.9", "Content-Length: 1", "Transfer-Encoding: chunked"),
			heard: "HTTP 400", want: `http deny malformed "8.8.0.9":80`},
		{name: "two Hosts", meant: to80, says: http("GET / HTTP/1.1", "Host: 8.8.0.9", "Host: 8.8.0.9"), heard: "HTTP 400", want: `http deny malformed "":80`},
		{name: "no Host", meant: to80, says: http("GET / HTTP/1.1"), heard: "HTTP 400", want: `http deny malformed "":80`},
		{name: "an address and no port", meant: to80, says: http("GET / HTTP/1.1", "Host: 8.8.0.9:x"), heard: "HTTP 400", want: `http deny malformed "8.8.0.9":80`},
		{name: "a URL with an address and no port", meant: to80, says: http("GET http://8.8.0.9:x/ HTTP/1.1", "Host: 8.8.0.9:x"), heard: "HTTP 400", want: `http deny malformed "8.8.0.9":80`},
		{name: "another port in Host", meant: to80, says: http("GET / HTTP/1.1", "Host: 8.8.0.9:81"), heard: "HTTP 403", want: `http deny host-mismatch "8.8.0.9":81`},
		{name: "a URL with an address, and a host", meant: to80, says: http("GET http://8.8.0.9/ HTTP/1.1", "Host: check.example"),
			heard: "HTTP 403", want: `http deny host-mismatch "8.8.0.9":80`},
		{name: "a CONNECT", meant: to80, says: http("CONNECT 8.8.0.9:80 HTTP/1.1"), heard: "HTTP 400", want: `connect deny malformed "8.8.0.9":80`},
		{name: "a client that hangs up", heard: reset, want: `tls deny no-hello "":443 at 8.8.0.9:443`},
		{name: "one that hangs up in its request", meant: to80, says: []byte("GET / HTTP/1.1\r\n"), heard: ended, want: `http deny no-hello "":80`},
	}
	for i := range cases {
		cases[i].from = fromLab
	}
	newSite(t).tryAll(cases)
}

// observed is the policy of a store with the class of its tills only observed.
var observed = strings.Replace(storePolicy, "local/old]", "local/old], mode: observe", 1)

// TestObservedLater: also a later request that names no host goes where the client wanted
// to, once those before it are answered.
func TestObservedLater(t *testing.T) {
	heard := make(chan string, 2)
	s := newStore(t, heardBy(heard, "HTTP/1.1 204 No Content"+crlf2))
	s.enforce(observed)
	v := s.redirected(80)
	const named = "GET /1 HTTP/1.1\r\nHost: check.example" + crlf2
	const address = "GET /2 HTTP/1.1\r\nHost: 8.8.0.9" + crlf2
	if got, want := v.ask(named+address), strings.Repeat("HTTP/1.1 204 No Content"+crlf2, 2); got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	<-heard
	if got := <-heard; got != address {
		t.Errorf("the origin heard %q", got)
	}
	if got, want := s.told(), `http allow documented "check.example":80; http would-deny ip-literal "8.8.0.9":80`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestObservedStops: what is no request after one that was is no other protocol.
func TestObservedStops(t *testing.T) {
	s := newStore(t, noContent)
	s.enforce(observed)
	v := s.redirected(80)
	say(t, v, "GET / HTTP/1.1\r\nHost: check.example"+crlf2)
	hear(t, v, "HTTP/1.1 204 No Content"+crlf2)
	if got := v.ask("USER ftp\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("%q", got)
	}
	if got, want := s.told(), `http allow documented "check.example":80; http deny malformed "":80`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestObservedSilence: a client that stops in its request is let through, as one that
// says nothing is.
func TestObservedSilence(t *testing.T) {
	const half = "GET / HTTP/1.1\r\nHost: check"
	heard := make(chan string, 1)
	s := newStore(t, func(c net.Conn) {
		buf := make([]byte, len(half))
		io.ReadFull(c, buf)
		heard <- string(buf)
		io.WriteString(c, "bye")
	})
	s.enforce(observed)
	s.p.cfg.HelloTimeout = 20 * time.Millisecond // all that is said has been read already
	v := s.visit(till, func(ctx context.Context, c *peer) {
		s.p.serveHTTPConn(ctx, c, netip.MustParseAddrPort("8.8.0.9:80"), []byte(half))
	})
	if got := v.rest(); got != "bye" {
		t.Errorf("heard %q", got)
	}
	if got := <-heard; got != half {
		t.Errorf("the origin heard %q", got)
	}
	if got, want := s.told(), `http would-deny no-hello "":80`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestObservedEnds: who goes where no name led goes no longer than the class is observed.
func TestObservedEnds(t *testing.T) {
	s := newSite(t)
	s.redirect("8.8.0.9:80")
	const says = "GET / HTTP/1.0" + crlf2
	c := s.open(fromLab, []byte(says))
	s.want(`http would-deny bad-name "":80 at 8.8.0.9:80`)
	s.policy.Store(siteSet(t, strings.Replace(sitePolicy, ", mode: observe", "", 1)))
	s.PolicyChanged()
	if got := heard(c, nil); got != reset {
		t.Errorf("heard %s", got)
	}
	s.want(`close http would-deny bad-name "":80 by policy at 8.8.0.9:80`)
}
