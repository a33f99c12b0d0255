package proxy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// What the box asks itself is no client's attempt.
func TestProbe(t *testing.T) {
	s := newSite(t)
	explicit, intercepted := s.Addrs()
	for range 3 {
		for _, addr := range append(explicit, intercepted...) {
			if err := s.Probe(t.Context(), addr); err != nil {
				t.Errorf("%v: %v", addr, err)
			}
		}
	}
	if got := s.Stats(); got != (Stats{}) {
		t.Errorf("it was counted: %+v", got)
	}
	if n := len(s.probes.from); n != 0 {
		t.Errorf("%d probes are remembered", n)
	}
	// A client from the same address is one, and its record is the first.
	s.try(fromTill, nil)
	_, port, _ := strings.Cut(intercepted[0].String(), ":")
	s.want(`tls deny private-address "":` + port)
}

// The kernel connects also where nobody accepts.
func TestProbeNobodyThere(t *testing.T) {
	p := New(Config{Listen: []string{"127.0.0.1:0"}, Intercept: []string{"[::1]:0"}}, Deps{})
	if err := p.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.closeListeners()
	explicit, intercepted := p.Addrs()
	ctx, cancel := context.WithTimeout(t.Context(), aWhile)
	defer cancel()
	var asked sync.WaitGroup
	for _, addr := range append(explicit, intercepted...) {
		asked.Go(func() {
			if err := p.Probe(ctx, addr); err == nil || !strings.HasPrefix(err.Error(), "nobody accepts connections") {
				t.Errorf("%v: %v", addr, err)
			}
		})
	}
	asked.Wait()
	p.closeListeners()
	if err := p.Probe(t.Context(), explicit[0]); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed: %v", err)
	}
	if err := p.Probe(t.Context(), netip.MustParseAddrPort("192.0.2.1:3128")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("another machine's address: %v", err)
	}
	if n := len(p.probes.from); n != 0 {
		t.Errorf("%d probes are remembered", n)
	}
}
