package resolver

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/decision"
	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

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

// A query that was asked before costs no allocation, from the socket to the socket.
func TestNoAllocations(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Rate, c.Burst = 1000, 1000 })
	b.now = time.Now()
	conn, err := net.Dial("udp", serving(t, b, "127.0.0.1:0")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	query, reply := packed(t, queryFor("example.com", dns.TypeA)), make([]byte, serverUDPSize)
	allocs := testing.AllocsPerRun(100, func() { // after one that is not counted
		if _, err := conn.Write(query); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(reply); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a query", allocs)
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
		if i%29 == 0 {
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
