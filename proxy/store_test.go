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
	"testing"
	"time"

	"tillgate/decision"
	"tillgate/internal/crew"
	"tillgate/policy"
)

// storePolicy is what the tests of HTTP go by. Nothing is asked of the document's own
// hosts: it is the ports that differ.
const storePolicy = `
version: 1
mode: enforce
packs: [lab]
classes:
  till:  {networks: [10.20.1.0/24], services: [lab/till, local/printer, local/old]}
  other: {networks: [10.20.9.0/24], services: [lab/office]}
services:
  - id: local/printer
    reason: printer firmware
    destinations: [{host: printer.store.example, ports: [tcp/80], private: true}]
  - id: local/old
    reason: old clients
    destinations: [{host: mqtt.example, ports: [tcp/8883], sni: optional}]
deny: [{host: bad.pay.example}]
`

const storePack = `
pack: lab
title: Lab document
source: none
services:
  - {id: till, row: 1, title: Till, for: [pos], requirement: required, purpose: [test], destinations: [
      {host: api.pay.example, ports: [tcp/443]},
      {host: "*.pay.example", ports: [tcp/443]},
      {host: check.example, ports: [tcp/80, tcp/443]},
      {host: alt.example, ports: [tcp/8080]},
      {host: inside.example, ports: [tcp/80, tcp/443]}]}
  - {id: office, row: 4, title: Office, for: [pc], requirement: optional, purpose: [test], destinations: [
      {host: office.example, ports: [tcp/443]}]}
`

// A store is a proxy with clients and origins of its own.
type store struct {
	t *testing.T
	p *Proxy

	ctx    context.Context // in which clients are served
	stop   context.CancelFunc
	origin net.Listener // every name's address leads here
	dials  atomic.Int32
	set    atomic.Pointer[policy.Set]

	mu      sync.Mutex
	records []decision.Record
}

var (
	till     = netip.MustParseAddr("10.20.1.7")
	stranger = netip.MustParseAddr("192.0.2.1") // in no class
)

// aWhile is a time limit in tests that wait until it is over. On a busy machine it must not
// be over before the test has done what is to happen first.
const aWhile = 3 * time.Second

// newStore has the origins served by the function, one connection at a time for each call.
func newStore(t *testing.T, origin func(net.Conn)) *store {
	t.Helper()
	s := &store{t: t}
	s.ctx, s.stop = context.WithCancel(t.Context())
	s.enforce(storePolicy)
	s.p = New(Config{
		ConnectTimeout: time.Minute, HelloTimeout: time.Minute, IdleTimeout: time.Minute,
		Tunnels: 100, TunnelsPerClient: 100,
	}, Deps{
		Policy:  s.set.Load,
		Lookup:  s.lookup,
		NamesOf: func(_, _ netip.Addr) []string { return nil },
		Trusted: func() time.Time { return time.Time{} },
		Records: s,
		Log:     slog.New(slog.DiscardHandler),
	})
	s.p.own = func() ([]netip.Prefix, error) { return nil, nil }
	s.p.dialTCP = s.dial
	var err error
	if s.origin, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
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
				origin(c)
			})
		}
	})
	t.Cleanup(func() {
		s.origin.Close()
		served.Wait()
	})
	return s
}

// enforce puts a policy in force.
func (s *store) enforce(text string) {
	s.t.Helper()
	set, err := policy.Compile([]policy.File{
		{Name: "policy.yaml", Data: []byte(text)},
		{Name: "packs/lab.yaml", Data: []byte(storePack)},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.set.Store(set)
}

func (s *store) lookup(_ context.Context, name string) ([]netip.Addr, error) {
	switch name {
	case "inside.example", "printer.store.example":
		return []netip.Addr{netip.MustParseAddr("10.20.5.7")}, nil
	case "lost.pay.example":
		return nil, errors.New("no such host")
	case "slow.pay.example":
		return nil, context.DeadlineExceeded
	}
	return []netip.Addr{netip.MustParseAddr("8.8.0.1")}, nil
}

func (s *store) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	s.dials.Add(1)
	return dialTCP(ctx, s.origin.Addr().(*net.TCPAddr).AddrPort())
}

func (s *store) Repeat(decision.Key) bool { return false }

func (s *store) Record(r decision.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, r)
}

// told are the decisions so far, as text: plane, verdict, reason, name and port.
func (s *store) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, r := range s.records {
		if r.Event == "" {
			lines = append(lines, fmt.Sprintf("%v %v %v %q:%d", r.Plane, r.Verdict, r.Reason, r.Name, r.Port))
		}
	}
	return strings.Join(lines, "; ")
}

// ends are those of tunnels and exchanges so far, as text: plane, name and port, who ended
// it, the fault if there was one, and what was wrong.
func (s *store) ends() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, r := range s.records {
		if r.Event == decision.EventClose {
			lines = append(lines, strings.TrimRight(fmt.Sprintf("%v %q:%d by %s %s %s", r.Plane, r.Name, r.Port, r.By, r.Rcode, r.Detail), " "))
		}
	}
	return strings.Join(lines, "; ")
}

// A visitor is a client's end of a connection, and the news when the proxy is done with
// the other.
type visitor struct {
	*net.TCPConn
	t    *testing.T
	done chan struct{}
}

// visit connects a client to the proxy: serve gets the near end.
func (s *store) visit(client netip.Addr, serve func(context.Context, *peer)) *visitor {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	far, near := connect(s.t, l)
	v := &visitor{TCPConn: far, t: s.t, done: make(chan struct{})}
	go func() {
		defer close(v.done)
		var conns crew.Crew
		defer conns.Close()
		attend(s.ctx, &conns, &peer{
			TCPConn: near, client: client, began: time.Now(),
			local: netip.MustParseAddrPort("10.20.1.1:3128"),
		}, serve)
	}()
	s.t.Cleanup(func() {
		far.Close()
		<-v.done
	})
	return v
}

func (s *store) explicit() *visitor { return s.visit(till, s.p.serveProxy) }

// redirected is a connection that was on its way to the port.
func (s *store) redirected(port uint16) *visitor {
	return s.visit(till, func(ctx context.Context, c *peer) {
		s.p.serveHTTPConn(ctx, c, netip.AddrPortFrom(netip.MustParseAddr("8.8.0.9"), port), nil)
	})
}

// ask sends all of the text and returns all that comes until the end, when the proxy
// is done as well.
func (v *visitor) ask(text string) string {
	v.t.Helper()
	say(v.t, v, text)
	return v.rest()
}

// rest is what comes until the end.
func (v *visitor) rest() string {
	v.t.Helper()
	got, err := io.ReadAll(v)
	if err != nil {
		v.t.Errorf("after %q: %v", got, err)
	}
	v.Close()
	<-v.done
	return string(got)
}
