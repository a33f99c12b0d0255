package resolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"tillgate/policy"
)

func authentic(m *dns.Msg) { m.AuthenticatedData = true }

// steering is a bench whose box serves time.
func steering(t testing.TB) *bench {
	t.Helper()
	b := newBench(t)
	text := strings.Replace(testPolicy, "services: [payxpert/central]", "services: [payxpert/central], time: true", 1) + "  - host: uk.pool.ntp.org\n"
	text = strings.Replace(text, "  - id: local/cdn", `  - id: local/both
    reason: a time server with a page
    destinations: [{host: ntp.page.example, ports: [udp/123, tcp/443]}]
  - id: local/cdn`, 1)
	text = strings.Replace(text, "deny: [{host: ads.payxpert.com}]", "deny:\n  - host: ads.payxpert.com", 1)
	text = strings.Replace(text, "local/printer, local/cdn", "local/printer, local/cdn, local/both", 1)
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	b.deps.Policy = func() *policy.Set { return set }
	b.deps.Steer = func() bool { return true }
	return b
}

func TestSteer(t *testing.T) {
	const pool = "pool.ntp.org"
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what, client string
		local        string
		ifindex      int
		name         string
		qtype        uint16
		want         string
		reason       policy.Reason
		detail       string
	}{
		{"A", till, "10.0.0.1", 0, pool, dns.TypeA, "NOERROR pool.ntp.org./30/A/10.0.0.1 opt ede4", policy.Documented, "steered: the box is the time server"},
		{"as it was asked", till, "10.0.0.2", 0, "europe.POOL.ntp.org", dns.TypeA, "NOERROR europe.POOL.ntp.org./30/A/10.0.0.2 opt ede4", policy.Documented, "steered: the box is the time server"},
		{"AAAA of a box without", till, "10.0.0.1", 0, pool, dns.TypeAAAA, "NOERROR SOA@pool.ntp.org. opt", policy.Documented, "steered: the box has no such address where the client is"},
		{"AAAA of one with", till, "127.0.0.1", lo.Index, pool, dns.TypeAAAA, "NOERROR pool.ntp.org./30/AAAA/::1 opt ede4", policy.Documented, "steered: the box is the time server"},
		{"AAAA by IPv6", till, "fd00:1::1", 0, pool, dns.TypeAAAA, "NOERROR pool.ntp.org./30/AAAA/fd00:1::1 opt ede4", policy.Documented, "steered: the box is the time server"},
		{"A by IPv6", till, "fd00:1::1", lo.Index, pool, dns.TypeA, "NOERROR pool.ntp.org./30/A/127.0.0.1 opt ede4", policy.Documented, "steered: the box is the time server"},
		{"A at a link-local address", till, "169.254.1.1", lo.Index, pool, dns.TypeA, "NOERROR pool.ntp.org./30/A/127.0.0.1 opt ede4", policy.Documented, "steered: the box is the time server"},
		{"AAAA at a link-local address", till, "fe80::1", lo.Index, pool, dns.TypeAAAA, "NOERROR pool.ntp.org./30/AAAA/::1 opt ede4", policy.Documented, "steered: the box is the time server"},
		{"only a link-local address", till, "fe80::1", 0, pool, dns.TypeAAAA, "NOERROR SOA@pool.ntp.org. opt", policy.Documented, "steered: the box has no such address where the client is"},
		{"CNAME", till, "10.0.0.1", 0, pool, dns.TypeCNAME, "NOERROR SOA@pool.ntp.org. opt", policy.QtypeSuppressed, "steered: only its address is given"},
		{"HTTPS", till, "10.0.0.1", 0, pool, dns.TypeHTTPS, "NOERROR SOA@pool.ntp.org. opt", policy.QtypeSuppressed, "steered: only its address is given"},
		{"what Android has built in", office, "10.0.9.1", 0, "time.android.com", dns.TypeA, "NOERROR time.android.com./30/A/10.0.9.1 opt ede4", policy.LocalService, "steered: the box is the time server"},
		{"AAAA for a class without IPv6", office, "10.0.9.1", lo.Index, "time.android.com", dns.TypeAAAA, "NOERROR SOA@time.android.com. opt", policy.LocalService, "steered: the client would come by a family that its class has no network of"},
		{"what Windows has built in", office, "10.0.9.1", 0, "time.windows.com", dns.TypeA, "NOERROR time.windows.com./30/A/10.0.9.1 opt ede4", policy.LocalService, "steered: the box is the time server"},

		{"without time: true", till, "10.0.0.1", 0, "time.android.com", dns.TypeA, "NXDOMAIN SOA@time.android.com. opt ede15", policy.NotDocumented, ""},
		{"above it", office, "10.0.9.1", 0, "android.com", dns.TypeA, "NOERROR SOA@android.com. opt ede15", policy.NotDocumented, ""},
		{"by time: true", office, "10.0.9.1", 0, pool, dns.TypeA, "NOERROR pool.ntp.org./30/A/10.0.9.1 opt ede4", policy.Documented, "steered: the box is the time server"},
		{"denied", till, "10.0.0.1", 0, "uk.pool.ntp.org", dns.TypeA, "NXDOMAIN SOA@uk.pool.ntp.org. opt ede15", policy.DeniedByPolicy, ""},
		{"observed, without time", lab, "10.0.8.1", 0, pool, dns.TypeA, "NOERROR pool.ntp.org./300/A/192.0.9.1 opt", policy.OtherClass, ""},
		{"a web server too", till, "10.0.0.1", 0, "ntp.page.example", dns.TypeA, "NOERROR ntp.page.example./300/A/192.0.9.1 opt", policy.LocalService, ""},
		{"a web server", till, "10.0.0.1", 0, known, dns.TypeA, "NOERROR " + known + "./300/A/192.0.9.1 opt", policy.Documented, ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			for _, proto := range []policy.Proto{policy.UDP, policy.TCP} {
				b := steering(t)
				m := b.exchangeAt(tt.client, tt.local, tt.ifindex, proto, packed(t, queryFor(tt.name, tt.qtype, authentic)))
				if got := gist(m); got != tt.want {
					t.Errorf("%v: got %s, want %s", proto, got, tt.want)
				}
				rec := b.records.last()
				if rec.Reason != tt.reason || rec.Detail != tt.detail || len(rec.Answers) != len(m.Answer) {
					t.Errorf("%v: recorded %v, %q, answers %v", proto, rec.Reason, rec.Detail, rec.Answers)
				}
				if rec.Verdict == policy.Allow && (rec.Rule == "") != strings.HasPrefix(tt.name, "time.") {
					t.Errorf("%v: recorded with rule %q", proto, rec.Rule)
				}
				if steered := tt.detail != ""; steered && len(b.asked) > 0 {
					t.Errorf("%v: asked upstream for %v", proto, b.asked)
				} else if addr := rec.Answers; steered && len(addr) > 0 && b.NamesOf(netip.MustParseAddr(tt.client), addr[0]) != nil {
					t.Errorf("%v: the box's address is remembered for %s", proto, tt.name)
				}
			}
		})
	}
}

// A box that does not serve time, or not now, sends nobody to itself.
func TestSteerOff(t *testing.T) {
	b := steering(t)
	on := false
	b.deps.Steer = func() bool { return on }
	for _, tt := range []struct {
		on   bool
		want string
	}{
		{false, "NOERROR pool.ntp.org./300/A/192.0.9.1 opt"},
		{true, "NOERROR pool.ntp.org./30/A/10.0.0.1 opt ede4"}, // whatever is in the cache
		{false, "NOERROR pool.ntp.org./300/A/192.0.9.1 opt"},
	} {
		on = tt.on
		if got := gist(b.query(till, queryFor("pool.ntp.org", dns.TypeA))); got != tt.want {
			t.Errorf("on %v: %s, want %s", on, got, tt.want)
		}
	}
	if b := newBench(t); b.deps.Steer() {
		t.Error("a resolver that nobody told of the box's time steers")
	}
}

// The box itself, which is the client of the real servers, is not sent to itself.
func TestLookupIsNotSteered(t *testing.T) {
	b := steering(t)
	b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
		return reply(name, qtype, 300, "192.0.9.1", "2a00:1450::1"), nil
	}
	b.query(till, queryFor("pool.ntp.org", dns.TypeA))
	got, err := b.Lookup(t.Context(), "pool.ntp.org")
	b.fetches.running.Wait()
	if want := "[2a00:1450::1 192.0.9.1]"; fmt.Sprint(got) != want || err != nil {
		t.Errorf("%v, %v; want %s", got, err, want)
	}
}

// Over real sockets a client gets the very address that it asked at.
func TestSteerOverSockets(t *testing.T) {
	b := steering(t)
	bound := serving(t, b, ":0")
	for _, addr := range []string{"127.0.0.1", "127.0.0.2"} {
		for _, network := range []string{"udp", "tcp"} {
			m := ask(t, network, netip.AddrPortFrom(netip.MustParseAddr(addr), bound[0].Port()), queryFor("pool.ntp.org", dns.TypeA))
			if got, want := gist(m), "NOERROR pool.ntp.org./30/A/"+addr+" opt ede4"; got != want {
				t.Errorf("%s at %s: %s, want %s", network, addr, got, want)
			}
		}
	}
}

// The box's own name has no address by which its client would be a stranger.
func TestOwnAddressOfAFamily(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ client, want string }{
		{till, "NOERROR tillgate.internal./30/AAAA/::1 opt"},
		{office, "NOERROR SOA@tillgate.internal. opt"},
	} {
		b := steering(t)
		m := b.exchangeAt(tt.client, "127.0.0.1", lo.Index, policy.UDP, packed(t, queryFor("tillgate.internal", dns.TypeAAAA)))
		if got := gist(m); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.client, got, tt.want)
		}
	}
}
