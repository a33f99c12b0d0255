package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tillgate/decision"
	"tillgate/policy"
)

// The clients of these tests are told by the loopback address that they call from.
const (
	fromTill     = "127.0.1.1"
	fromLab      = "127.0.1.2" // its class is observed
	fromStranger = "127.0.1.9" // in no class
)

const sitePolicy = `
version: 1
packs: [lab]
classes:
  till: {networks: [127.0.1.1/32], services: [lab/till, local/mqtt, local/printer, local/trial]}
  lab:  {networks: [127.0.1.2/32], services: [lab/till, local/mqtt], mode: observe}
  pc:   {networks: [127.0.1.3/32], services: [lab/office]}
services:
  - id: local/mqtt
    reason: old clients
    destinations: [{host: mqtt.example, ports: [tcp/443], sni: optional}, {host: old.example, ports: [tcp/443], sni: optional}]
  - id: local/printer
    reason: printer firmware
    destinations: [{host: printer.example, ports: [tcp/443], private: true}]
  - id: local/trial
    reason: a trial
    until: 2030-01-01T00:00:00Z
    destinations: [{host: trial.example, ports: [tcp/443]}]
deny: [{host: bad.pay.example}]
`

const sitePack = `
pack: lab
title: Lab document
source: none
services:
  - {id: till, row: 1, title: Till, for: [pos], requirement: required, purpose: [test], destinations: [
      {host: "*.pay.example", ports: [tcp/443]}, {host: check.example, ports: [tcp/80, tcp/443]}]}
  - {id: office, row: 4, title: Office, for: [pc], requirement: optional, purpose: [test], destinations: [
      {host: office.example, ports: [tcp/443]}]}
`

// A site is a proxy that serves, with an Internet of the test's own: all of it answers at
// one origin, which says a greeting and then what it hears.
type site struct {
	*Proxy
	t       *testing.T
	records chan decision.Record // of which a test takes those that it waits for
	origin  net.Listener
	policy  atomic.Pointer[policy.Set]

	mu       sync.Mutex
	meant    netip.AddrPort // where redirected connections were going; not valid: they are not redirected
	greeting string
	dialled  []netip.AddrPort
	names    []string // of NamesOf
	trusted  time.Time
	far      func(context.Context, netip.AddrPort) (net.Conn, error) // instead of the origin
}

func siteSet(t *testing.T, text string) *policy.Set {
	t.Helper()
	set, err := policy.Compile([]policy.File{
		{Name: "policy.yaml", Data: []byte(text)},
		{Name: "packs/lab.yaml", Data: []byte(sitePack)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// newSite returns a site that serves until the test ends, with nothing left behind.
func newSite(t *testing.T, change ...func(*Config)) *site {
	t.Helper()
	s, serve := buildSite(t, change...)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return s
}

// buildSite returns a site that listens, and what serves it.
func buildSite(t *testing.T, change ...func(*Config)) (*site, func(context.Context) error) {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	s := &site{t: t, records: make(chan decision.Record, 1000)}
	s.policy.Store(siteSet(t, sitePolicy))
	cfg := Config{
		Listen: []string{"127.0.0.1:0"}, Intercept: []string{"127.0.0.1:0"},
		ConnectTimeout: time.Minute, HelloTimeout: time.Minute, IdleTimeout: time.Hour,
		Tunnels: 100, TunnelsPerClient: 100,
	}
	for _, f := range change {
		f(&cfg)
	}
	s.Proxy = New(cfg, Deps{
		Policy: s.policy.Load,
		Lookup: s.lookup,
		NamesOf: func(client, addr netip.Addr) []string {
			s.mu.Lock()
			defer s.mu.Unlock()
			if client.String() == fromStranger || addr != s.meant.Addr() {
				return nil
			}
			return s.names
		},
		Trusted: func() time.Time {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.trusted
		},
		Records: s,
		Log:     slog.New(slog.DiscardHandler),
	})
	s.own = func() ([]netip.Prefix, error) { return networks("8.8.9.9/32"), nil }
	s.dialTCP = s.dialOrigin
	s.originalDst = func(c *net.TCPConn) (netip.AddrPort, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.meant.IsValid() {
			return originalDst(c)
		}
		return s.meant, true
	}
	s.serveOrigin()
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, s.Serve
}

func (s *site) lookup(_ context.Context, name string) ([]netip.Addr, error) {
	switch name {
	case "printer.example", "inside.pay.example":
		return addrs("10.20.5.7"), nil
	case "refused.pay.example":
		return addrs("8.8.0.2"), nil
	case "lost.pay.example":
		return nil, errors.New("no such host")
	}
	return addrs("8.8.0.1"), nil
}

func (s *site) dialOrigin(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	s.mu.Lock()
	s.dialled = append(s.dialled, addr)
	far := s.far
	s.mu.Unlock()
	if far != nil {
		return far(ctx, addr)
	}
	if addr.Addr() == netip.MustParseAddr("8.8.0.2") {
		return nil, syscall.ECONNREFUSED
	}
	return dialTCP(ctx, s.origin.Addr().(*net.TCPAddr).AddrPort())
}

func (s *site) serveOrigin() {
	var err error
	if s.origin, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		s.t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := s.origin.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				s.mu.Lock()
				greeting := s.greeting
				s.mu.Unlock()
				io.WriteString(c, greeting)
				io.Copy(c, c)
			})
		}
	})
	s.t.Cleanup(func() {
		s.origin.Close()
		served.Wait()
	})
}

func (s *site) Repeat(decision.Key) bool { return false }

func (s *site) Record(r decision.Record) { s.records <- r }

// next is the next record, as text.
func (s *site) next() string {
	r := <-s.records
	text := fmt.Sprintf("%v %v %v %q:%d", r.Plane, r.Verdict, r.Reason, r.Name, r.Port)
	if r.Event != "" {
		text = fmt.Sprintf("%v %v by %v", r.Event, text, r.By)
	}
	if r.Rcode != "" {
		text += " " + r.Rcode
	}
	if r.Dest.IsValid() {
		text += " at " + r.Dest.String()
	}
	return text
}

// call connects a client to the listener for redirected connections.
func (s *site) call(from string) *net.TCPConn {
	_, to := s.Addrs()
	return s.connectFrom(from, to[0])
}

func (s *site) connectFrom(from string, to netip.AddrPort) *net.TCPConn {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// try has a client say something and nothing more, and returns what it comes to hear. Who
// is refused at once may learn it while still connecting.
func (s *site) try(from string, says []byte) string {
	s.t.Helper()
	_, to := s.Addrs()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", to[0].String())
	if errors.Is(err, syscall.ECONNRESET) {
		return reset
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.Write(says)
	conn.(*net.TCPConn).CloseWrite()
	return heard(conn, says)
}

// What a client comes to hear.
const (
	alerted  = "alert"        // unrecognized_name, then the end
	ended    = "the end"      // nothing but
	reset    = "a reset"      // nothing but
	tunneled = "all it said"  // the origin
	greeted  = "the greeting" // the origin, which speaks first
)

// heard reads to the end and puts it into a word.
func heard(c net.Conn, said []byte) string {
	got, err := io.ReadAll(c)
	switch {
	case errors.Is(err, syscall.ECONNRESET) && len(got) == 0:
		return reset
	case err != nil:
		return fmt.Sprintf("%q, then %v", got, err)
	case len(got) == 0:
		return ended
	case string(got) == string(alertRecord):
		return alerted
	case string(got) == string(said):
		return tunneled
	case string(got) == "220 hello\r\n":
		return greeted
	}
	return fmt.Sprintf("%q", got)
}

// A flowCase is a redirected client, and what becomes of it.
type flowCase struct {
	name  string
	from  string // fromTill if empty
	meant string // 8.8.0.9:443 if empty
	names string // that the client was given the address for
	says  []byte
	heard string
	want  string // the record
}

// tryAll runs each case, and expects no other record than those.
func (s *site) tryAll(cases []flowCase) {
	for _, tt := range cases {
		s.t.Run(tt.name, func(t *testing.T) {
			if tt.meant == "" {
				tt.meant = "8.8.0.9:443"
			}
			if tt.from == "" {
				tt.from = fromTill
			}
			s.mu.Lock()
			s.meant, s.names, s.dialled = netip.MustParseAddrPort(tt.meant), strings.Fields(tt.names), nil
			s.mu.Unlock()
			got := s.try(tt.from, tt.says)
			if strings.HasPrefix(got, `"HTTP/1.`) {
				got = "HTTP" + got[9:13]
			}
			if got != tt.heard {
				t.Errorf("heard %s, want %s", got, tt.heard)
			}
			if got := s.next(); got != tt.want {
				t.Errorf("record %s, want %s", got, tt.want)
			}
			if tt.heard == tunneled {
				if got, want := s.next(), "close "+strings.Replace(tt.want, " at ", " by client at ", 1); got != want {
					t.Errorf("record %s, want %s", got, want)
				}
			}
			// Of a denial the address is where the client wanted to go.
			connected := strings.Contains(tt.want, " at ") && !strings.Contains(tt.want, " deny ")
			if dials := len(s.dialled); (dials == 1) != connected && !strings.HasSuffix(tt.want, " connection_refused") {
				t.Errorf("dialled %v", s.dialled)
			}
		})
	}
	if n := len(s.records); n != 0 {
		s.t.Errorf("%d more records: %s", n, s.next())
	}
}
