package resolver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestGiven(t *testing.T) {
	var (
		start  = time.Unix(1_800_000_000, 0)
		pos    = netip.MustParseAddr("10.20.0.7")
		other  = netip.MustParseAddr("10.20.0.8")
		first  = netip.MustParseAddr("192.0.2.1")
		second = netip.MustParseAddr("2001:db8::2")
		g      given
	)
	g.add(pos, "mqtt.example", []netip.Addr{first, second}, start)
	g.add(pos, "api.example", []netip.Addr{first}, start.Add(time.Hour))
	g.add(other, "other.example", []netip.Addr{first}, start)
	g.add(pos, "empty.example", nil, start)

	for _, tt := range []struct {
		name   string
		client netip.Addr
		addr   netip.Addr
		after  time.Duration
		want   []string
	}{
		{"two names", pos, first, time.Hour, []string{"api.example", "mqtt.example"}},
		{"one name", pos, second, time.Hour, []string{"mqtt.example"}},
		{"each client its own", other, first, time.Hour, []string{"other.example"}},
		{"an address of nobody", pos, netip.MustParseAddr("192.0.2.9"), time.Hour, nil},
		{"a client that asked nothing", netip.MustParseAddr("10.20.0.9"), first, time.Hour, nil},
		{"just before the end", pos, second, givenAge - 1, []string{"mqtt.example"}},
		{"the older has ended", pos, first, givenAge, []string{"api.example"}},
		{"both have", pos, first, givenAge + time.Hour, nil},
	} {
		if diff := cmp.Diff(tt.want, g.names(tt.client, tt.addr, start.Add(tt.after))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestGivenAgainLastsLonger(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	client, addr := netip.MustParseAddr("10.20.0.7"), netip.MustParseAddr("192.0.2.1")
	var g given
	g.add(client, "mqtt.example", []netip.Addr{addr}, start)
	g.add(client, "mqtt.example", []netip.Addr{addr}, start.Add(givenAge-1))
	if got := g.names(client, addr, start.Add(givenAge+1)); len(got) != 1 {
		t.Errorf("an address that was given again is forgotten: %q", got)
	}
}

func TestGivenIsBounded(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Millisecond) }
	client := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}) }
	addr := netip.MustParseAddr("192.0.2.1")
	name := func(i int) string { return fmt.Sprintf("n%d.example", i) }

	var g given
	const more = 10
	for i := range maxGivenClients + more {
		g.add(client(i), "mqtt.example", []netip.Addr{addr}, at(i))
	}
	if n := len(g.clients); n != maxGivenClients {
		t.Errorf("%d clients are remembered, want %d", n, maxGivenClients)
	}
	for i := range maxGivenClients + more {
		if got := len(g.names(client(i), addr, start)) == 1; got != (i >= more) {
			t.Errorf("client %d of %d: remembered %v", i, maxGivenClients+more, got)
		}
	}

	last := client(maxGivenClients)
	for i := range maxGivenPairs + more {
		g.add(last, name(i), []netip.Addr{addr}, at(maxGivenClients+more+i))
	}
	if n := len(g.clients[last].pairs); n != maxGivenPairs {
		t.Errorf("%d pairs are remembered, want %d", n, maxGivenPairs)
	}
	names := g.names(last, addr, start)
	for i := range maxGivenPairs + more {
		if got := slices.Contains(names, name(i)); got != (i >= more) {
			t.Errorf("name %d of %d: remembered %v", i, maxGivenPairs+more, got)
		}
	}

	// The oldest is given again, so that the one after it goes next.
	for i, n := range []int{more, maxGivenPairs + more} {
		g.add(last, name(n), []netip.Addr{addr}, at(2*maxGivenClients+i))
	}
	names = g.names(last, addr, start)
	if !slices.Contains(names, name(more)) || slices.Contains(names, name(more+1)) {
		t.Error("what was given last is forgotten before what was given first")
	}
	if c := g.clients[last]; c.order.Len() != maxGivenPairs || len(c.pairs) != maxGivenPairs {
		t.Errorf("%d pairs, %d in order, want %d", len(c.pairs), c.order.Len(), maxGivenPairs)
	}
}

// What a client was told is what NamesOf tells of it, from the cache or not; not what
// was kept from it.
func TestNamesOf(t *testing.T) {
	b := newBench(t)
	b.up = func(name string, qtype uint16) (*dns.Msg, error) {
		if name == "many.shop.example" {
			return reply(name, qtype, 300, "192.168.9.9", "8.8.0.1"), nil
		}
		return reply(name, qtype, 300, "8.8.0.1", "2a00:1450::1"), nil
	}
	for _, q := range []struct {
		client, name string
		qtype        uint16
	}{
		{till, known, dns.TypeA},
		{till, known, dns.TypeA}, // from the cache
		{till, strings.ToUpper(known), dns.TypeAAAA},
		{till, "many.shop.example", dns.TypeA},
		{lab, "observed.example", dns.TypeA},
		{till, "denied.example", dns.TypeA},
		{lab, known, dns.TypeHTTPS},
	} {
		b.query(q.client, queryFor(q.name, q.qtype))
	}
	for _, tt := range []struct {
		client, addr string
		want         []string
	}{
		{till, "8.8.0.1", []string{known, "many.shop.example"}},
		{till, "2a00:1450::1", []string{known}},
		{till, "192.168.9.9", nil},
		{lab, "8.8.0.1", []string{"observed.example"}},
		{lab, "2a00:1450::1", nil},
		{office, "8.8.0.1", nil},
	} {
		got := b.NamesOf(netip.MustParseAddr(tt.client), netip.MustParseAddr(tt.addr))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s at %s (-want +got):\n%s", tt.client, tt.addr, diff)
		}
	}
}
