package resolver

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/internal/clock"
	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// twins are two resolvers in one world. One has a memo.
type twins struct {
	t        testing.TB
	now      time.Time
	set      *policy.Set
	with     *memo
	upstream chan struct{} // closed: it answers
	box      [2]*Resolver  // the plain one, and the one with the memo
	records  [2]records
	answered atomic.Uint64 // from the memo, and told of
}

func newTwins(t testing.TB, change ...func(*Config)) *twins {
	w := &twins{t: t, now: start, set: twinPolicy(t)}
	for i := range w.box {
		b := newBench(t, change...)
		b.deps.Policy = func() *policy.Set { return w.set }
		b.deps.Clock = clock.System(func() time.Time { return w.now }, time.Time{})
		b.deps.Now = func() time.Time { return w.now }
		b.deps.Records = &w.records[i]
		b.deps.Steer = func() bool { return true }
		b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
			<-w.upstream
			return twinUpstream(name, qtype)
		}
		w.box[i] = b.Resolver
	}
	w.with = newMemo(func(t tally) {
		w.answered.Add(t.n)
		w.box[1].tell(t)
	})
	w.box[1].udp = []*udpSocket{{memo: w.with}}
	return w
}

// twinPolicy is that of the other tests with a service that ends in a while, and more.
func twinPolicy(t testing.TB, change ...string) *policy.Set {
	t.Helper()
	text := strings.Replace(testPolicy, "services:\n  - id: local/printer", `services:
  - id: local/soon
    reason: ends soon
    until: `+start.Add(9700*time.Millisecond).Format(time.RFC3339Nano)+`
    destinations: [{host: ends.soon.example, ports: [tcp/443]}]
  - id: local/printer`, 1)
	text = strings.Replace(text, "local/printer, local/cdn]", "local/printer, local/cdn, local/soon]", 1)
	text = strings.NewReplacer(change...).Replace(text)
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// twinUpstream answers each name in a way of its own.
func twinUpstream(name string, qtype uint16) (*dns.Msg, error) {
	switch {
	case strings.HasPrefix(name, "fw."):
		return reply(name, qtype, 3, "10.1.2.3", "192.0.9.7"), nil // one that only a rule lets through
	case strings.HasPrefix(name, "many."):
		m := reply(name, qtype, 7)
		for i := range 60 {
			m.Answer = append(m.Answer, addressRecord(name+".", netip.AddrFrom4([4]byte{192, 0, 9, byte(i)}), 300))
		}
		return m, nil
	case strings.HasPrefix(name, "cdn."):
		m := reply("edge.example", qtype, 2, "192.0.9.2", "10.9.9.9", "2a00::2")
		m.Question[0].Name = name + "."
		m.AuthenticatedData = true
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: name + ".", Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}, Target: "edge.example."})
		return m, nil
	case strings.HasPrefix(name, "ends."):
		return reply(name, qtype, 1, "192.0.9.3"), nil
	case name == known:
		m := reply(name, qtype, 300, "192.0.9.1", "2a00::1")
		m.AuthenticatedData = true
		return m, nil
	case strings.HasPrefix(name, "api-prox"):
		return nil, errUpstreamTimeout
	}
	m := reply(name, qtype, 60)
	m.Rcode = dns.RcodeNameError
	m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "payxpert.com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 5}, Ns: "ns.payxpert.com.", Mbox: "x.payxpert.com.", Minttl: 5}}
	return m, nil
}

// ask gives a packet to both and compares what comes back.
func (w *twins) ask(from netip.Addr, info pktinfo.Info, wire []byte) []byte {
	w.t.Helper()
	var got [2][]byte
	for i, r := range w.box {
		var late []byte
		w.upstream = make(chan struct{})
		send := func(packet []byte, local netip.Addr, to netip.AddrPort, ifindex int) error {
			if local != info.Local || to.Addr() != from || to.Port() != 4711 || ifindex != info.Interface {
				w.t.Errorf("a late reply goes from %v to %v by %d", local, to, ifindex)
			}
			late = bytes.Clone(packet)
			return nil
		}
		// The same buffer for all, as the kernel does.
		packets := []pktinfo.Packet{{Data: bytes.Clone(wire), From: netip.AddrPortFrom(from, 4711), Info: info, Reply: make([]byte, 0, serverUDPSize)}}
		if i == 0 {
			r.serve(r.queryUDP(w.set, &packets[0], w.now, send), packets[0].Data)
		} else {
			before := r.stats.queries.Load()
			r.serveUDP(w.with, packets, send)
			if n := r.stats.queries.Load() - before; n != 1 {
				w.t.Fatalf("one query is counted as %d", n)
			}
		}
		got[i] = packets[0].Reply
		packets[0].Reply = nil
		clear(packets[0].Data)
		close(w.upstream)
		r.fetches.running.Wait()
		if packets[0].Reply != nil || late != nil && len(got[i]) > 0 {
			w.t.Error("the packet was answered when it was the kernel's again, or twice")
		}
		if late != nil {
			got[i] = late
		}
	}
	if !bytes.Equal(got[0], got[1]) {
		w.t.Fatalf("%x of %v at %v %v:\nplain %x\n memo %x", wire, from, info, w.now.Sub(start), got[0], got[1])
	}
	if end := nameEnd(wire); end > 0 && len(got[1]) >= end && got[1][5] == 1 && !bytes.Equal(got[1][headerSize:end], wire[headerSize:end]) {
		w.t.Fatalf("%x is answered by %x", wire, got[1])
	}
	return got[1]
}

// check compares what was recorded and counted, once all is told.
func (w *twins) check() {
	w.t.Helper()
	w.box[1].Settle()
	var sums [2]map[string]uint64
	for i := range sums {
		sums[i] = make(map[string]uint64)
		for _, rec := range w.records[i].all {
			n := max(rec.Count, 1)
			rec.Count, rec.Ms = 0, 0
			if i == 0 || rec.Policy != "" {
				sums[i][fmt.Sprintf("%+v", rec)] += n
			}
		}
	}
	if diff := cmp.Diff(sums[0], sums[1]); diff != "" {
		w.t.Errorf("records (-plain +memo):\n%s", diff)
	}
	one, other := w.box[0].Stats(), w.box[1].Stats()
	if diff := cmp.Diff(one, other); diff != "" {
		w.t.Errorf("stats (-plain +memo):\n%s", diff)
	}
}

// twinQueries are all kinds of them.
func twinQueries(t testing.TB) (wires [][]byte) {
	names := []string{
		known, "API-Pos-default-V4.payxpert.COM", "fw.printer.example", "cdn.shop.example", "many.shop.example", "ends.soon.example",
		"payxpress-soft-mpos.firebaseio.com", "api-prox-default-v4.payxpert.com", "www.google.com", "central.payxpert.com", "ads.payxpert.com", "example.com", "eXample.com",
		".", "com", "payxpert.com", "pool.ntp.org", "Europe.pool.ntp.org", "tillgate.internal", "TILLGATE.Internal", "x.tillgate.INTERNAL",
		"localhost", "resolver.arpa", "home.arpa", "a_b.example", "b!d.example", `\000.example`, `a\.b.example`, `\200.example`,
		strings.Repeat("long.", 50) + "x", strings.Repeat("a", 63) + ".example",
	}
	plain := func(m *dns.Msg) { m.Extra = nil }
	size := func(n uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.IsEdns0().SetUDPSize(n) } }
	changes := [][]func(*dns.Msg){
		{}, {}, {plain}, {plain, authentic}, {size(0)}, {size(600)}, {size(65535)},
		{func(m *dns.Msg) { m.IsEdns0().SetDo() }},
		{func(m *dns.Msg) { m.CheckingDisabled, m.RecursionDesired = true, false }},
		{func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }},
		{func(m *dns.Msg) {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
		}},
		{func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }},
		{func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }},
		{func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }}, {func(m *dns.Msg) { m.Response = true }},
		{func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[0]) }},
		{func(m *dns.Msg) { m.Extra = append(m.Extra, addressRecord("x.", netip.IPv6Loopback(), 0)) }},
	}
	types := []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeHTTPS, dns.TypeANY, dns.TypeNS}
	for _, name := range names {
		for _, qtype := range types {
			for _, change := range changes {
				wires = append(wires, packed(t, queryFor(name, qtype, change...)))
			}
		}
	}
	pointed := append(packed(t, queryFor("x", dns.TypeA, plain))[:headerSize:headerSize], 0xC0, 0x04, 0, 1, 0, 1) // QDCOUNT is a name: \000
	return append(wires, nil, []byte("x"), wires[0][:11], wires[0][:headerSize], wires[0][:20], append(bytes.Clone(wires[0]), 0), pointed)
}

// recased is the query with other letters in capitals.
func recased(random *rand.Rand, wire []byte) []byte {
	wire = bytes.Clone(wire)
	for i := headerSize; i < nameEnd(wire); i++ {
		if c := wire[i] | 0x20; 'a' <= c && c <= 'z' && random.IntN(2) == 0 {
			wire[i] ^= 0x20
		}
	}
	return wire
}
