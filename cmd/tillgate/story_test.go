package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

// addrs are addresses, with spaces between them.
func addrs(text string) []netip.Addr {
	var list []netip.Addr
	for a := range strings.FieldsSeq(text) {
		list = append(list, netip.MustParseAddr(a))
	}
	return list
}

// TestStory: one client's records of all planes read as what happened to it, and another
// client's answers are not its.
func TestStory(t *testing.T) {
	at := time.Date(2026, 11, 22, 6, 1, 12, 0, time.UTC)
	till, other := netip.MustParseAddr("10.20.1.7"), netip.MustParseAddr("10.20.1.8")
	dest := netip.MustParseAddrPort
	asked := func(client netip.Addr, name string, answers string) decision.Record {
		return decision.Record{Plane: policy.DNS, Verdict: policy.Allow, Reason: policy.Documented, Client: client, Class: "sunmi",
			Name: name, Qtype: "A", Rcode: "NOERROR", Service: "payxpert/emv", Row: 1, Answers: addrs(answers)}
	}
	blocked := func(client netip.Addr, to string, proto policy.Proto) decision.Record {
		d := dest(to)
		return decision.Record{Plane: policy.Firewall, Reason: policy.FirewallReject, Client: client, Class: "sunmi", Port: d.Port(), Proto: proto, Dest: d}
	}
	known := blocked(till, "8.8.8.8:443", policy.UDP)
	known.Detail = "8.8.8.8 is dns.google, alt.example"
	named := blocked(till, "8.8.4.4:853", policy.TCP)
	named.Name = "dns.google"
	counted := blocked(till, "8.8.8.8:443", policy.UDP)
	counted.Count, counted.Until = 41, at.Add(19*time.Second)
	tunnel := decision.Record{Plane: policy.TLS, Verdict: policy.Allow, Reason: policy.Documented, Client: till, Class: "sunmi",
		Name: "dns.google", Port: 443, Proto: policy.TCP, Service: "payxpert/emv", Row: 1, Dest: dest("8.8.4.4:443")}
	shared, later, closed := tunnel, tunnel, tunnel
	shared.Name = "alt.example"
	later.Dest = dest("8.8.8.9:443")
	closed.Event, closed.By, closed.Ms = decision.EventClose, "client", 900
	denied := asked(till, "evil.example", "192.0.2.9") // a record that no box writes: what is denied has no answer
	denied.Verdict, denied.Reason, denied.Service, denied.Row = policy.Deny, policy.NotDocumented, "", 0

	var b strings.Builder
	w := newLogWriter(&b, display{}, time.UTC)
	for i, r := range []decision.Record{
		asked(till, "dns.google", "8.8.8.8 8.8.4.4"),
		asked(other, "many.example", "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4"),
		tunnel, shared, later, closed,
		blocked(till, "8.8.8.8:443", policy.UDP), counted, named,
		blocked(other, "8.8.8.8:443", policy.UDP),
		blocked(other, "192.0.2.4:0", policy.ICMP),
		denied,
		blocked(till, "192.0.2.9:443", policy.TCP),
		blocked(till, "[2001:db8::9]:443", policy.TCP),
		known,
	} {
		r.Time = at.Add(time.Duration(i) * time.Second)
		if err := w.write(&r); err != nil {
			t.Fatal(err)
		}
	}
	// The same moment, and a clock that was set back.
	for _, ago := range []time.Duration{0, time.Hour} {
		r := tunnel
		r.Time = at.Add(-ago)
		if err := w.write(&r); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.ReplaceAll(b.String(), "2026-11-22 ", "")
	const want = `06:01:12 allow 10.20.1.7 (sunmi)          dns.google A  row 1 payxpert/emv; 8.8.8.8, 8.8.4.4
06:01:13 allow 10.20.1.8 (sunmi)          many.example A  row 1 payxpert/emv; 192.0.2.1, 192.0.2.2 and 2 more
06:01:14 allow 10.20.1.7 (sunmi)          dns.google:443 tls  row 1 payxpert/emv; to 8.8.4.4, answered 2s before
06:01:15 allow 10.20.1.7 (sunmi)          alt.example:443 tls  row 1 payxpert/emv; to 8.8.4.4, answered 3s before for dns.google
06:01:16 allow 10.20.1.7 (sunmi)          dns.google:443 tls  row 1 payxpert/emv; to 8.8.8.9
06:01:17 close 10.20.1.7 (sunmi)          dns.google:443 tls  closed by the client after 900ms; 0 bytes up, 0 bytes down
06:01:18 deny  10.20.1.7 (sunmi)          8.8.8.8:443 udp  refused by the firewall; 8.8.8.8 is dns.google, answered 6s before
06:01:19 deny  10.20.1.7 (sunmi)          8.8.8.8:443 udp  refused by the firewall; 8.8.8.8 is dns.google, answered 7s before; 41 more until 06:01:31
06:01:20 deny  10.20.1.7 (sunmi)          dns.google:853 tcp  refused by the firewall; to 8.8.4.4, answered 8s before
06:01:21 deny  10.20.1.8 (sunmi)          8.8.8.8:443 udp  refused by the firewall
06:01:22 deny  10.20.1.8 (sunmi)          192.0.2.4 icmp  refused by the firewall; 192.0.2.4 is many.example, answered 9s before
06:01:23 deny  10.20.1.7 (sunmi)          evil.example A  no rule names it; 192.0.2.9
06:01:24 deny  10.20.1.7 (sunmi)          192.0.2.9:443 tcp  refused by the firewall
06:01:25 deny  10.20.1.7 (sunmi)          [2001:db8::9]:443 tcp  refused by the firewall
06:01:26 deny  10.20.1.7 (sunmi)          8.8.8.8:443 udp  refused by the firewall; 8.8.8.8 is dns.google, alt.example, answered 14s before
06:01:12 allow 10.20.1.7 (sunmi)          dns.google:443 tls  row 1 payxpert/emv; to 8.8.4.4, answered just before
05:01:12 allow 10.20.1.7 (sunmi)          dns.google:443 tls  row 1 payxpert/emv; to 8.8.4.4
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStoryIsBounded: the oldest answers go, and what was answered again is the newest word
// on it.
func TestStoryIsBounded(t *testing.T) {
	s := newStory()
	at := time.Date(2026, 11, 22, 6, 1, 12, 0, time.UTC)
	till := netip.MustParseAddr("10.20.1.7")
	addr := netip.MustParseAddr("2001:db8::")
	var all []netip.Addr
	for i := range 2*maxTold + 10 {
		addr = addr.Next()
		all = append(all, addr)
		for again := range 2 {
			s.hear(&decision.Record{Time: at.Add(time.Duration(again) * time.Second), Plane: policy.DNS, Verdict: policy.Allow,
				Client: till, Name: fmt.Sprintf("n%d.example", i), Answers: []netip.Addr{addr}})
		}
	}
	if len(s.told) != maxTold || len(s.order) != maxTold {
		t.Fatalf("%d and %d are remembered, want %d", len(s.told), len(s.order), maxTold)
	}
	for i, addr := range all {
		text := s.whereTo(&decision.Record{Time: at.Add(3 * time.Second), Plane: policy.Firewall, Client: till, Dest: netip.AddrPortFrom(addr, 443)})
		want := ""
		if i >= len(all)-maxTold {
			want = fmt.Sprintf("%v is n%d.example, answered 2s before", addr, i)
		}
		if text != want {
			t.Fatalf("%d: %q, want %q", i, text, want)
		}
	}
}
