package resolver

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/decision"
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

// Whatever is asked in whatever order, while time passes, clients exceed their rate and
// policies come and go: with a memo or without, the replies are the same bytes, and the records
// and counts say the same.
func TestMemoIsUnseen(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	w := newTwins(t, func(c *Config) { c.Rate, c.Burst, c.Entries = 500, 40, 10000 })
	sets := []*policy.Set{w.set, w.set, twinPolicy(t, "{host: ads.payxpert.com}", "{host: ads.payxpert.com}, {host: example.com}"), twinPolicy(t, "version: 1", "version: 1\nmode: observe")}
	wires := twinQueries(t)
	clients := []netip.Addr{}
	for _, a := range []string{till, till, till, office, lab, "fd00:1::5", "127.0.0.1", "172.16.0.1", "8.8.8.8", "fe80::1"} {
		clients = append(clients, netip.MustParseAddr(a))
	}
	infos := []pktinfo.Info{{Local: netip.MustParseAddr("10.0.0.1")}, {Local: netip.MustParseAddr("10.0.0.1")},
		{Local: netip.MustParseAddr("127.0.0.1"), Interface: lo.Index}, {Local: netip.MustParseAddr("fd00:1::1")}}
	random := rand.New(rand.NewPCG(7, 7))
	wire, few := wires[0], wires[:8]
	for step := range 40000 {
		switch dice := random.IntN(1000); {
		case dice < 1:
			w.set = sets[random.IntN(len(sets))]
		case dice < 3:
			w.box[1].Settle()
		case dice < 8:
			few = wires[random.IntN(len(wires)-8):][:8] // what is asked in this while
		case dice < 300:
			w.now = w.now.Add(time.Duration(random.IntN(1500)) * time.Microsecond)
		case dice < 301:
			w.now = w.now.Add(time.Duration(random.IntN(1500)) * time.Millisecond)
		case dice < 320:
			wire = wires[random.IntN(len(wires))]
		case dice < 800:
			wire = few[random.IntN(len(few))]
		default:
			wire = recased(random, wire)
		}
		if len(wire) > 2 {
			wire = bytes.Clone(wire)
			wire[0], wire[1] = byte(step>>8), byte(step)
		}
		w.ask(clients[random.IntN(len(clients))], infos[random.IntN(len(infos))], wire)
	}
	w.check()
	if n := w.answered.Load(); n < 5000 {
		t.Errorf("only %d answers came from the memo", n)
	}
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

// Each of these is answered from the memo the second time, and allocates nothing then.
func TestMemoAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		what, client, name string
		qtype              uint16
	}{
		{"from the cache", till, known, dns.TypeA},
		{"a denial", till, "example.com", dns.TypeA},
		{"another class's", office, known, dns.TypeAAAA},
		{"a type that is not given", till, known, dns.TypeHTTPS},
		{"steered", till, "pool.ntp.org", dns.TypeA},
		{"the box's own", till, "tillgate.internal", dns.TypeA},
		{"observed", lab, "example.com", dns.TypeHTTPS},
	} {
		t.Run(tt.what, func(t *testing.T) {
			w := newTwins(t, func(c *Config) { c.Rate, c.Burst = 1000, 1000 })
			wire, client := packed(t, queryFor(tt.name, tt.qtype)), netip.MustParseAddr(tt.client)
			info := pktinfo.Info{Local: netip.MustParseAddr("10.0.0.1")}
			w.ask(client, info, wire) // fills the cache
			w.ask(client, info, wire)
			w.box[1].Settle()
			reply := make([]byte, 0, serverUDPSize)
			packets := []pktinfo.Packet{{Data: wire, From: netip.AddrPortFrom(client, 53), Info: info}}
			const runs = 100
			allocs := testing.AllocsPerRun(runs, func() {
				packets[0].Reply = reply
				w.box[1].serveUDP(w.with, packets, nil)
			})
			if allocs != 0 || len(packets[0].Reply) == 0 {
				t.Errorf("%v allocations, a reply of %d bytes", allocs, len(packets[0].Reply))
			}
			if w.box[1].Settle(); w.records[1].last().Count != runs+1 {
				t.Errorf("%d attempts are told of", w.records[1].last().Count)
			}
		})
	}
}

// These are never given again.
func TestMemoLeavesOut(t *testing.T) {
	w := newTwins(t)
	for _, tt := range []struct {
		what, client, name string
		change             func(*dns.Msg)
	}{
		{"a failure", till, "api-prox-default-v4.payxpert.com", nil},
		{"a stranger", "172.16.0.1", known, nil},
		{"who is not heard", "8.8.8.8", known, nil},
		{"options", till, known, func(m *dns.Msg) {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
		}},
		{"what breaks the protocol", till, known, func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }},
		{"long replies", till, "many.shop.example", nil},
	} {
		m := queryFor(tt.name, dns.TypeA)
		if tt.change != nil {
			tt.change(m)
		}
		for range 3 {
			w.ask(netip.MustParseAddr(tt.client), pktinfo.Info{}, packed(t, m))
		}
		for e := range w.with.all {
			t.Errorf("%s: %x is remembered", tt.what, (*e).reply)
		}
	}
	w.check()
	if n := w.answered.Load(); n != 0 {
		t.Errorf("%d are answered from the memo", n)
	}
}

// An answer is not given again when what it stands on has ended within the second.
func TestMemoEnds(t *testing.T) {
	client := netip.MustParseAddr(till)
	t.Run("a service", func(t *testing.T) {
		w := newTwins(t)
		w.now = start.Add(9 * time.Second)
		for range 3 { // at 9.0, 9.4 and 9.8 s; it ends at 9.7 s
			for _, name := range []string{"ends.soon.example", "soon.example"} {
				w.ask(client, pktinfo.Info{}, packed(t, queryFor(name, dns.TypeHTTPS)))
			}
			w.now = w.now.Add(400 * time.Millisecond)
		}
		if w.check(); w.answered.Load() != 2 {
			t.Errorf("%d are answered from the memo, want those of 9.4 s", w.answered.Load())
		}
	})
	t.Run("an interface", func(t *testing.T) {
		lo, err := net.InterfaceByName("lo")
		if err != nil {
			t.Fatal(err)
		}
		w := newTwins(t)
		w.set = twinPolicy(t, "  office: {", "  office: {interfaces: [lo], ")
		stranger, wire := netip.MustParseAddr("172.16.0.1"), packed(t, queryFor("example.com", dns.TypeA))
		for _, tt := range []struct{ ifindex, rcode int }{{lo.Index, dns.RcodeNameError}, {lo.Index, dns.RcodeNameError}, {0, dns.RcodeRefused}} {
			if got := w.ask(stranger, pktinfo.Info{Interface: tt.ifindex}, wire); int(got[3]&0xF) != tt.rcode {
				t.Errorf("by interface %d: %x", tt.ifindex, got)
			}
		}
	})
	t.Run("a bucket", func(t *testing.T) {
		w := newTwins(t, func(c *Config) { c.Rate, c.Burst = 1, 10 })
		wire := packed(t, queryFor("example.com", dns.TypeA))
		w.ask(client, pktinfo.Info{}, wire)
		for _, b := range w.box {
			b.rate.buckets[client].full.Store(gone)
			delete(b.rate.buckets, client)
		}
		w.ask(client, pktinfo.Info{}, wire)
		w.ask(client, pktinfo.Info{}, wire)
		if w.check(); w.answered.Load() != 1 {
			t.Errorf("%d are answered from the memo, want that of the new bucket", w.answered.Load())
		}
	})
}

// However many questions come, so many answers are remembered; what made room is told of.
func TestMemoIsBounded(t *testing.T) {
	w := newTwins(t)
	for i := range 3 * memoSets * memoWays {
		wire := packed(t, queryFor(fmt.Sprintf("n%d.example", i), dns.TypeA))
		for range 2 {
			w.ask(netip.MustParseAddr(till), pktinfo.Info{}, wire)
		}
	}
	const most = memoSets * memoWays
	if n := len(slices.Collect(w.with.all)); n > most || n < most*9/10 {
		t.Errorf("%d answers are remembered of at most %d", n, most)
	}
	w.check()

	w.now = w.now.Add(memoAge)
	w.box[1].Settle()
	for e := range w.with.all {
		t.Fatalf("%x is remembered beyond its time", (*e).reply)
	}
}

// A memo that is settled while it answers loses nothing and tells nothing twice.
func TestMemoSettlesMeanwhile(t *testing.T) {
	w := newTwins(t)
	const batches, batch = 2000, 8
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			w.box[1].Settle()
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	wire := packed(t, queryFor("example.com", dns.TypeA))
	packets := make([]pktinfo.Packet, batch)
	for range batches {
		for i := range packets {
			packets[i] = pktinfo.Packet{Data: wire, From: netip.AddrPortFrom(netip.MustParseAddr(till), 53)}
		}
		w.box[1].serveUDP(w.with, packets, nil)
	}
	close(stop)
	<-stopped
	w.box[1].Settle()
	var sum uint64
	for _, rec := range w.records[1].all {
		sum += max(rec.Count, 1)
	}
	if sum != batches*batch || w.box[1].Stats().Denied != sum {
		t.Errorf("%d attempts are told of and %d counted, of %d", sum, w.box[1].Stats().Denied, batches*batch)
	}
}

// What the journal says after all adds up to what was asked, over policies, windows and batches.
func TestMemoInTheJournal(t *testing.T) {
	w := newTwins(t)
	j, err := decision.Open(decision.Config{Dir: t.TempDir() + "/journal", Now: func() time.Time { return w.now }, PolicyID: func() string { return w.set.ID() }})
	if err != nil {
		t.Fatal(err)
	}
	w.box[1].deps.Records = j
	sets := []*policy.Set{w.set, twinPolicy(t, "{host: ads.payxpert.com}", "{host: example.com}")}
	random := rand.New(rand.NewPCG(1, 2))
	var asked uint64
	for range 5000 {
		w.ask(netip.MustParseAddr(till), pktinfo.Info{}, packed(t, queryFor([]string{known, "example.com", "x.example"}[random.IntN(3)], dns.TypeA)))
		asked++
		w.now = w.now.Add(time.Duration(random.IntN(30)) * time.Millisecond)
		if random.IntN(200) == 0 {
			w.set = sets[random.IntN(2)]
		}
		if random.IntN(50) == 0 {
			w.box[1].Settle()
		}
	}
	w.box[1].Settle()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := j.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	want, got := make(map[string]uint64), make(map[string]uint64)
	for _, rec := range w.records[0].all {
		want[fmt.Sprint(rec.Name, rec.Verdict, rec.Rule, rec.Policy)]++
	}
	for rec, err := range j.Read(decision.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got[fmt.Sprint(rec.Name, rec.Verdict, rec.Rule, rec.Policy)] += max(rec.Count, 1)
	}
	if diff := cmp.Diff(want, got); diff != "" || j.Stats().Records > asked/5 {
		t.Errorf("%d records (-asked +told):\n%s", j.Stats().Records, diff)
	}
}

// FuzzMemo asks any bytes twice, and again as another would spell them.
func FuzzMemo(f *testing.F) {
	for i, wire := range twinQueries(f) {
		if i%7 == 0 {
			f.Add(wire, uint16(i))
		}
	}
	w := newTwins(f)
	f.Fuzz(func(t *testing.T, wire []byte, id uint16) {
		w.t = t
		if len(wire) > maxQuery {
			return
		}
		client, info := netip.MustParseAddr(till), pktinfo.Info{Local: netip.MustParseAddr("10.0.0.1")}
		w.ask(client, info, wire)
		w.ask(client, info, wire)
		if len(wire) > 2 {
			wire = recased(rand.New(rand.NewPCG(uint64(id), 0)), wire)
			wire[0], wire[1] = byte(id>>8), byte(id)
			w.ask(client, info, wire)
		}
		w.now = w.now.Add(time.Duration(id) * time.Microsecond)
		w.ask(client, info, wire)
		w.check()
		w.records[0].all, w.records[1].all = nil, nil
	})
}
