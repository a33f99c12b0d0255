package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tillgate/decision"
	"tillgate/policy"
)

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
	s.want(`tls deny no-hello "":443 at 8.8.0.9:443`)
	settle(0, 1)
	s.open(fromLab, goodHello)
	s.want(`tls allow documented "api.pay.example":443 at 8.8.0.1:443`)
	s.policy.Store(siteSet(t, strings.Replace(sitePolicy, "127.0.1.3/32", "127.0.1.4/32", 1)))
	refused("one more of any client", "2 tunnels in all already", "127.0.1.4", handMade(serverName(hostName("office.example"))))
	if h := s.Health(); h.State != decision.Warn || h.Text != "new connections are refused: 2 tunnels in all already; tillgate log --denied tells whose; raise proxy.tunnels if they are meant to be so many" || h.Since.IsZero() {
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
	// What ends late of the tests before may have given a lower one back.
	var held []*os.File
	for f, err := os.Open(os.DevNull); err == nil; f, err = os.Open(os.DevNull) {
		held = append(held, f)
	}
	restore := func() {
		for _, f := range held {
			f.Close()
		}
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
		want(decision.Warn, "new connections are refused: 9 tunnels in all already; tillgate log --denied tells whose; raise proxy.tunnels if they are meant to be so many", at(0))
		time.Sleep(time.Second)
		want(decision.OK, "", at(90*time.Second))
		p.trouble.report("connections can't be accepted")
		want(decision.Warn, "connections can't be accepted", at(90*time.Second))
	})
}
