package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

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
