package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"tillgate/policy"
)

// goodHello is of a client that may have what it asks for.
var goodHello = handMade(serverName(hostName("api.pay.example")))

// open calls, says a hello, and hears from the origin that the tunnel is there.
func (s *site) open(from string, hello []byte) *net.TCPConn {
	s.t.Helper()
	c := s.call(from)
	say(s.t, c, string(hello))
	hear(s.t, c, string(hello))
	return c
}

// redirect says where the next connections were going.
func (s *site) redirect(meant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meant = netip.MustParseAddrPort(meant)
}

func (s *site) setTime(trusted time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trusted = trusted
}

func (s *site) want(records ...string) {
	s.t.Helper()
	for _, want := range records {
		if got := s.next(); got != want {
			s.t.Errorf("record %s, want %s", got, want)
		}
	}
}

func (s *site) dialBy(far func(context.Context, netip.AddrPort) (net.Conn, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.far = far
}

func TestSilence(t *testing.T) {
	s := newSite(t, func(c *Config) { c.HelloTimeout = aWhile })
	s.redirect("8.8.0.9:25")
	s.mu.Lock()
	s.greeting = "220 hello\r\n"
	s.mu.Unlock()

	silent, slow := s.call(fromTill), s.call(fromTill)
	say(t, slow, string(goodHello[:20]))
	if got := heard(silent, nil); got != reset {
		t.Errorf("after silence heard %s", got)
	}
	if got := heard(slow, nil); got != alerted {
		t.Errorf("after a part of a hello heard %s", got)
	}
	for range 2 {
		r := <-s.records
		if r.Reason != policy.NoHello || r.Verdict != policy.Deny || r.Detail != "not in time" || r.Ms < milliseconds(aWhile) {
			t.Errorf("record %+v", r)
		}
	}

	// An observed client waits for its server, which speaks first.
	c := s.call(fromLab)
	hear(t, c, "220 hello\r\n")
	say(t, c, "QUIT\r\n")
	hear(t, c, "QUIT\r\n")
	c.Close()
	s.want(`tls would-deny no-hello "":25 at 8.8.0.9:25`, `close tls would-deny no-hello "":25 by client at 8.8.0.9:25`)
}

// What comes to the listener itself has not been redirected.
func TestDirect(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		direct     bool
		heard      string
		want       string
	}{
		{"TLS", string(goodHello), true, tunneled, `tls allow documented "api.pay.example":443 at 8.8.0.1:443`},
		{"HTTP", "GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n", true, "", `http deny not-documented "evil.example":80`},
		{"other", "\x1b@", true, reset, `tls deny not-tls "":443`},
		{"no SNI", string(handMade()), true, alerted, `tls deny no-sni "":443`},
		{"in earnest", string(goodHello), false, reset, `tls deny private-address "":PORT`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, func(c *Config) { c.Direct = tt.direct })
			if got := s.try(fromTill, []byte(tt.says)); got != tt.heard && tt.heard != "" {
				t.Errorf("heard %s, want %s", got, tt.heard)
			}
			_, to := s.Addrs()
			s.want(strings.Replace(tt.want, "PORT", fmt.Sprint(to[0].Port()), 1))
		})
	}
}

// A listener at the port that is meant needs no redirection.
func TestMeant(t *testing.T) {
	p := New(Config{}, Deps{})
	p.originalDst = func(*net.TCPConn) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
	for _, tt := range []struct {
		port uint16
		ok   bool
	}{{443, true}, {80, true}, {3129, false}} {
		c := &peer{local: netip.AddrPortFrom(netip.MustParseAddr("10.20.0.1"), tt.port)}
		meant, ok := p.meant(c)
		if ok != tt.ok || ok && meant != netip.AddrPortFrom(netip.Addr{}, tt.port) {
			t.Errorf("port %d: %v, %v", tt.port, meant, ok)
		}
	}
}

// A real handshake, in which the client itself sees that it has its host.
func TestRealTLS(t *testing.T) {
	body := bytes.Repeat([]byte("receipt "), 1<<17)
	origin := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(body) }))
	defer origin.Close()
	s := newSite(t)
	s.redirect("8.8.0.9:443")
	s.policy.Store(siteSet(t, strings.Replace(sitePolicy, "host: printer.example", "host: example.com", 1)))
	s.dialBy(func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		return dialTCP(ctx, netip.MustParseAddrPort(origin.Listener.Addr().String()))
	})
	transport := origin.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return s.call(fromTill), nil }
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(body))
	}
	s.want(`tls allow local-service "example.com":443 at 8.8.0.1:443`)
}

func TestClassByInterface(t *testing.T) {
	s := newSite(t)
	s.redirect("8.8.0.9:443")
	s.policy.Store(siteSet(t, strings.Replace(sitePolicy, "networks: [127.0.1.3/32]", "interfaces: [lo]", 1)))
	s.open(fromStranger, handMade(serverName(hostName("office.example"))))
	s.want(`tls allow documented "office.example":443 at 8.8.0.1:443`)
}

func TestListen(t *testing.T) {
	p := New(Config{Listen: []string{":0", "127.0.0.1:0"}, Intercept: []string{"[::]:0", "[::1]:0"}}, Deps{})
	if err := p.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.closeListeners()
	explicit, intercepted := p.Addrs()
	shape := func(addrs []netip.AddrPort) (s string) {
		for _, a := range addrs {
			s += a.Addr().String() + " "
		}
		return s
	}
	if got := shape(explicit); got != "0.0.0.0 :: 127.0.0.1 " || explicit[0].Port() != explicit[1].Port() {
		t.Errorf("bound %v", explicit)
	}
	if got := shape(intercepted); got != "0.0.0.0 :: ::1 " || intercepted[0].Port() != intercepted[1].Port() {
		t.Errorf("bound %v", intercepted)
	}
}

func TestListenFails(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct{ addr, want string }{
		{taken.Addr().String(), "address already in use"},
		{"3128", `listen address "3128": address 3128: missing port in address`},
	} {
		p := New(Config{Listen: []string{"127.0.0.1:0"}, Intercept: []string{"127.0.0.1:0", tt.addr}}, Deps{})
		err := p.Listen(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %s", tt.addr, err, tt.want)
		}
		for _, l := range append(p.explicit, p.intercepted...) {
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: a socket stayed open: %v", tt.addr, err)
			}
		}
		if tt.addr == taken.Addr().String() && !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("the error can't be told: %v", err)
		}
		if e, ok := errors.AsType[*ListenError](err); !ok || !e.Intercept {
			t.Errorf("%s: of which list it is can't be told: %v", tt.addr, err)
		}
	}
	err = New(Config{Listen: []string{taken.Addr().String()}, Intercept: []string{"127.0.0.1:0"}}, Deps{}).Listen(t.Context())
	if e, ok := errors.AsType[*ListenError](err); !ok || e.Intercept {
		t.Errorf("of which list it is can't be told: %v", err)
	}
}
