package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tillgate/decision"
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

func TestLimits(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Tunnels, c.TunnelsPerClient = 2, 1 })
	s.redirect("8.8.0.9:443")
	// A client may hear of its end before the place is free again.
	settle := func(waiting, tunnels int) {
		for st := s.Stats(); st.Waiting != waiting || st.Tunnels != tunnels; st = s.Stats() {
		}
	}
	refused := func(why, reason, from string, hello []byte) {
		t.Helper()
		if got := s.try(from, hello); got != reset {
			t.Errorf("%s: heard %s, want %s", why, got, reset)
		}
		r := <-s.records
		if r.Verdict != policy.Deny || r.Reason != policy.LimitReached || r.Detail != reason {
			t.Errorf("%s: record %v %v %q, want the detail %q", why, r.Verdict, r.Reason, r.Detail, reason)
		}
	}

	first := s.open(fromTill, goodHello)
	s.want(`tls allow documented "api.pay.example":443 at 8.8.0.1:443`)
	refused("a second tunnel of a client", "1 tunnels of this client already", fromTill, goodHello)
	if h := s.Health(); h.State != decision.OK {
		t.Errorf("one client's limit is the box's: %+v", h)
	}

	settle(0, 1)
	silent := s.call(fromTill)
	settle(1, 1)
	refused("a second silent connection of a client", "1 connections that have asked for nothing of this client already", fromTill, nil)

	silent.Close()
	s.want(`tls deny no-hello "":443`)
	settle(0, 1)
	s.open(fromLab, goodHello)
	s.want(`tls allow documented "api.pay.example":443 at 8.8.0.1:443`)
	s.policy.Store(siteSet(t, strings.Replace(sitePolicy, "127.0.1.3/32", "127.0.1.4/32", 1)))
	refused("one more of any client", "2 tunnels in all already", "127.0.1.4", handMade(serverName(hostName("office.example"))))
	if h := s.Health(); h.State != decision.Warn || h.Text != "connections are refused: 2 tunnels in all already" || h.Since.IsZero() {
		t.Errorf("the box is full, and says %+v", h)
	}

	// What is over gives its place back.
	first.Close()
	s.want(`close tls allow documented "api.pay.example":443 by client at 8.8.0.1:443`)
	settle(0, 1)
	s.open(fromTill, goodHello)
	s.want(`tls allow documented "api.pay.example":443 at 8.8.0.1:443`)

	want := Stats{Connections: 7, Refused: 1, Allowed: 3, Denied: 4, Up: uint64(len(goodHello)), Down: uint64(len(goodHello)), Tunnels: 2}
	if diff := cmp.Diff(want, s.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

// A stranger from the Internet is not heard.
func TestWelcome(t *testing.T) {
	s := newSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		client string
		want   bool
	}{{"8.8.4.4", false}, {"2a00:1450::1", false}, {"192.168.77.1", true}, {fromTill, true}} {
		far, near := connect(t, l)
		c := &peer{TCPConn: near, client: netip.MustParseAddr(tt.client), local: netip.MustParseAddrPort("10.20.0.1:3128")}
		if got := s.welcome(c, policy.Connect); got != tt.want {
			t.Errorf("%s: welcome %v, want %v", tt.client, got, tt.want)
		}
		if tt.want {
			c.giveUpPlace()
			continue
		}
		if got := heard(far, nil); got != reset {
			t.Errorf("%s: heard %s, want %s", tt.client, got, reset)
		}
		s.want(`connect deny unknown-client "":0`)
	}
}

// A tunnel lasts as long as what allows it.
func TestPolicyChanged(t *testing.T) {
	sni := func(name string) []byte { return handMade(serverName(hostName(name))) }
	for _, tt := range []struct {
		name     string
		from     string
		hello    []byte
		old, new string // in the policy
		by, why  string // empty: it goes on
	}{
		{"nothing of it", fromTill, goodHello, "tcp/443], private: true", "tcp/443]", "", ""},
		{"denied now", fromTill, goodHello, "host: bad.pay.example", `host: "*.pay.example"`, "policy", "denied-by-policy"},
		{"the class has it no more", fromTill, goodHello, "[lab/till, local/mqtt, local/printer", "[local/mqtt, local/printer", "policy", "other-class"},
		{"another class", fromTill, goodHello, "[127.0.1.1/32]", "[10.0.0.0/8]", "policy", "unknown-client"},
		{"no private address any more", fromTill, sni("printer.example"), ", private: true", "", "policy", "private-address"},
		{"SNI is required now", fromTill, handMade(), "{host: mqtt.example, ports: [tcp/443], sni: optional}", "{host: mqtt.example, ports: [tcp/443]}", "policy", "no-sni"},
		{"another rule for private addresses", fromTill, sni("printer.example"), "host: printer.example", "host: \"*.example\"", "", ""},
		{"observed no more", fromLab, sni("evil.example"), ", mode: observe", "", "policy", "not-documented"},
		{"observed no more, nameless", fromLab, []byte("\x1b@"), ", mode: observe", "", "policy", "bad-name"},
		{"still observed, nameless", fromLab, []byte("\x1b@"), "host: bad.pay.example", "host: worse.pay.example", "", ""},
		{"ended", fromTill, sni("trial.example"), "2030-01-01", "2028-01-01", "until", "expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.redirect("8.8.0.9:443")
			s.setTime(time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC))
			s.mu.Lock()
			s.names = []string{"mqtt.example"}
			s.mu.Unlock()
			c := s.open(tt.from, tt.hello)
			<-s.records
			changed := strings.Replace(sitePolicy, tt.old, tt.new, 1)
			if changed == sitePolicy {
				t.Fatal("the policy did not change")
			}
			s.policy.Store(siteSet(t, changed))
			s.PolicyChanged()
			if tt.by == "" {
				say(t, c, "still there")
				hear(t, c, "still there")
				c.Close()
				if r := <-s.records; r.By != "client" {
					t.Errorf("ended by %s: %s", r.By, r.Detail)
				}
				return
			}
			if got := heard(c, nil); got != reset {
				t.Errorf("heard %s, want %s", got, reset)
			}
			r := <-s.records
			if r.Event != decision.EventClose || r.By != tt.by || r.Detail != tt.why || r.Up != uint64(len(tt.hello)) || r.Down != r.Up {
				t.Errorf("record %+v, want by %s, %s", r, tt.by, tt.why)
			}
		})
	}
}

func TestUntil(t *testing.T) {
	s := newSite(t)
	s.redirect("8.8.0.9:443")
	hello := handMade(serverName(hostName("trial.example")))
	c := s.open(fromTill, hello) // before the time is trusted
	s.want(`tls allow local-service "trial.example":443 at 8.8.0.1:443`)
	s.registry.expire(time.Time{})
	say(t, c, "still there")
	hear(t, c, "still there")

	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s.setTime(now)
	s.registry.expire(now)
	if got := heard(c, nil); got != reset {
		t.Errorf("heard %s, want %s", got, reset)
	}
	s.want(`close tls allow local-service "trial.example":443 by until at 8.8.0.1:443`)

	denied := s.call(fromTill)
	say(t, denied, string(hello))
	if got := heard(denied, nil); got != alerted {
		t.Errorf("heard %s, want %s", got, alerted)
	}
	s.want(`tls deny expired "trial.example":443`)
}

// A policy that changes while a host is dialled counts.
func TestPolicyChangedWhileDialling(t *testing.T) {
	s := newSite(t)
	s.redirect("8.8.0.9:443")
	s.dialBy(func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		s.policy.Store(siteSet(t, strings.Replace(sitePolicy, "host: bad.pay.example", `host: "*.pay.example"`, 1)))
		s.PolicyChanged()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	c := s.call(fromTill)
	say(t, c, string(goodHello))
	if got := heard(c, nil); got != reset {
		t.Errorf("heard %s, want %s", got, reset)
	}
	r := <-s.records
	if r.Rcode != "connection_terminated" || r.Detail != "given up: cut by policy: denied-by-policy" {
		t.Errorf("record %+v", r)
	}
}

// A tunnel may be cut between the decision and its beginning: while a CONNECT has yet to
// say its hello.
func TestCutBeforeTunnel(t *testing.T) {
	s, _ := buildSite(t)
	defer s.closeListeners()
	drained := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		cut  func()
		want string
	}{
		{func() {
			s.policy.Store(siteSet(t, strings.Replace(sitePolicy, "127.0.1.1/32", "10.0.0.0/8", 1)))
			s.PolicyChanged()
		}, "policy"},
		{func() {
			go func() {
				defer close(drained)
				s.registry.drain(0)
			}()
		}, "stop"},
	} {
		s.policy.Store(siteSet(t, sitePolicy))
		far, near := connect(t, l)
		server, _ := connect(t, l)
		c := &peer{TCPConn: near, client: netip.MustParseAddr(fromTill)}
		a := c.attempt(policy.Connect, "api.pay.example", 443)
		if !s.decide(a) {
			t.Fatalf("denied: %v", a.decision.Reason)
		}
		if err := s.admit(a); err != nil {
			t.Fatal(err)
		}
		tt.cut()
		if got := heard(far, nil); got != reset {
			t.Errorf("heard %s, want %s", got, reset)
		}
		s.tunnel(a, nil, server)
		c.giveUpPlace()
		s.want(`close connect allow documented "api.pay.example":443 by ` + tt.want)
	}
	<-drained
	a := (&peer{client: netip.MustParseAddr(fromTill)}).attempt(policy.Connect, "api.pay.example", 443)
	if _, err := s.dial(t.Context(), a); !errors.Is(err, errStopping) || faultOf(err) != abandoned {
		t.Errorf("dialling while the box stops: %v", err)
	}
}

func TestStop(t *testing.T) {
	s, serve := buildSite(t)
	s.drainTime = time.Hour
	s.redirect("8.8.0.9:443")
	explicit, intercepted := s.Addrs()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- serve(ctx) }()

	live := s.open(fromTill, goodHello)
	s.want(`tls allow documented "api.pay.example":443 at 8.8.0.1:443`)
	silent := s.call(fromTill)
	browser := s.connectFrom(fromTill, explicit[0])
	for waiting := 0; waiting < 2; waiting = s.Stats().Waiting {
	}

	stop()
	for _, c := range []net.Conn{silent, browser} {
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection that says nothing is open: %v", err)
		}
	}
	for _, addr := range []netip.AddrPort{explicit[0], intercepted[0]} {
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			c.Close()
			t.Errorf("%v still listens", addr)
		}
	}
	say(t, live, "the rest") // a tunnel may come to its end
	hear(t, live, "the rest")
	live.Close()
	if err := <-served; err != nil {
		t.Errorf("serving: %v", err)
	}
	s.want(`close tls allow documented "api.pay.example":443 by client at 8.8.0.1:443`)
	if n := len(s.records); n != 0 {
		t.Errorf("%d more records: %s", n, s.next())
	}
}

// What does not end by itself is cut when its time is over.
func TestStopCuts(t *testing.T) {
	s, serve := buildSite(t)
	s.drainTime = time.Millisecond
	s.redirect("8.8.0.9:443")
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- serve(ctx) }()
	c := s.open(fromTill, goodHello)
	s.want(`tls allow documented "api.pay.example":443 at 8.8.0.1:443`)
	stop()
	if got := heard(c, nil); got != reset {
		t.Errorf("heard %s, want %s", got, reset)
	}
	if err := <-served; err != nil {
		t.Errorf("serving: %v", err)
	}
	s.want(`close tls allow documented "api.pay.example":443 by stop at 8.8.0.1:443`)
}

// A stop does not wait for a host that is being dialled.
func TestStopWhileDialling(t *testing.T) {
	s, serve := buildSite(t)
	s.drainTime = time.Hour
	s.redirect("8.8.0.9:443")
	ctx, stop := context.WithCancel(context.Background())
	s.dialBy(func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		stop()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	served := make(chan error)
	go func() { served <- serve(ctx) }()
	c := s.call(fromTill)
	say(t, c, string(goodHello))
	if err := <-served; err != nil {
		t.Errorf("serving: %v", err)
	}
	if got := heard(c, nil); got != reset {
		t.Errorf("heard %s, want %s", got, reset)
	}
	s.want(`tls allow documented "api.pay.example":443 connection_terminated`)
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

// Without descriptors nothing is accepted, and nobody is lost.
func TestExhausted(t *testing.T) {
	s, serve := buildSite(t)
	s.redirect("8.8.0.9:443")
	logged := make(chan string, 100)
	s.deps.Log = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) { logged <- string(p) }), nil))
	c := s.call(fromTill)
	say(t, c, string(goodHello))

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	next := f.Fd()
	f.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- serve(ctx) }()
	line := <-logged
	restore()
	if !strings.Contains(line, "too many open files") {
		t.Errorf("logged %s", line)
	}
	if h := s.Health(); h.State != decision.Warn || !strings.Contains(h.Text, "too many open files") {
		t.Errorf("health %+v", h)
	}
	hear(t, c, string(goodHello))
	c.Close()
	stop()
	if err := <-served; err != nil {
		t.Errorf("serving: %v", err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

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

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{}, Deps{})
		at := func(d time.Duration) time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d) }
		want := func(state decision.State, text string, since time.Time) {
			t.Helper()
			h := p.Health()
			if h.Part != "proxy" || h.State != state || h.Text != text || !h.Since.Equal(since) {
				t.Errorf("health %+v, want %v %q since %v", h, state, text, since)
			}
		}
		want(decision.OK, "", time.Time{})
		p.reportLimit(&limitError{"tunnels", 9, true})
		want(decision.OK, "", time.Time{})
		p.reportLimit(&limitError{"tunnels", 9, false})
		time.Sleep(30 * time.Second)
		p.reportLimit(&limitError{"tunnels", 9, false})
		time.Sleep(59 * time.Second)
		want(decision.Warn, "connections are refused: 9 tunnels in all already", at(0))
		time.Sleep(time.Second)
		want(decision.OK, "", at(90*time.Second))
		p.trouble.report("connections can't be accepted")
		want(decision.Warn, "connections can't be accepted", at(90*time.Second))
	})
}
