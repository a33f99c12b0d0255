package ntprelay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// twins are two relays in one world. The second has a memo.
type twins struct {
	t    testing.TB
	box  [2]*bench
	memo *memo
	told uint64 // of what the memo answered
}

func newTwins(t testing.TB, change ...func(*Config)) *twins {
	w := &twins{t: t}
	for i := range w.box {
		b := newBench(t, change...)
		b.clients.random = rand.New(rand.NewPCG(1, 2)).Uint32
		w.box[i] = b
	}
	w.memo = newMemo(w.box[1].clients, func(t tally) {
		w.told += t.n
		w.box[1].tell(t)
	})
	w.box[1].memos = []*memo{w.memo}
	return w
}

func (w *twins) each(f func(*bench)) {
	for _, b := range w.box {
		f(b)
	}
}

// ask gives packets to both, and compares what comes back.
func (w *twins) ask(packets []pktinfo.Packet) {
	w.t.Helper()
	var replies [2][]pktinfo.Packet
	for i, b := range w.box {
		for _, p := range packets {
			p.Reply = make([]byte, 0, headerSize)
			replies[i] = append(replies[i], p)
		}
		m := w.memo
		if i == 0 { // one that is new knows nobody
			m = newMemo(b.clients, b.tell)
			for j := range replies[i] {
				b.serveAll(m, b.request(till, nil), replies[i][j:][:1])
				clear(m.admitted)
			}
			continue
		}
		b.serveAll(m, b.request(till, nil), replies[i])
	}
	for i := range packets {
		if plain, memo := replies[0][i].Reply, replies[1][i].Reply; !bytes.Equal(plain, memo) {
			w.t.Fatalf("%x of %v:\nplain %x\n memo %x", packets[i].Data, packets[i].From, plain, memo)
		}
	}
	if plain, memo := w.box[0].sent, w.box[1].sent; !slices.Equal(plain, memo) {
		w.t.Fatalf("sent by themselves:\nplain %+v\n memo %+v", plain, memo)
	}
	w.each(func(b *bench) { b.sent = nil })
}

// check compares what was recorded, counted and learnt, once all is told.
func (w *twins) check() {
	w.t.Helper()
	w.box[1].Settle()
	var sums [2]map[string]uint64
	for i, b := range w.box {
		sums[i] = make(map[string]uint64)
		for _, rec := range b.records.take() {
			n := max(rec.Count, 1)
			rec.Count, rec.Ms, rec.OffsetMs, rec.Policy = 0, 0, 0, ""
			sums[i][fmt.Sprintf("%+v", rec)] += n
		}
	}
	if diff := cmp.Diff(sums[0], sums[1]); diff != "" {
		w.t.Errorf("records (-plain +memo):\n%s", diff)
	}
	if diff := cmp.Diff(w.box[0].Stats(), w.box[1].Stats()); diff != "" {
		w.t.Errorf("stats (-plain +memo):\n%s", diff)
	}
	if diff := cmp.Diff(w.box[0].Clients(), w.box[1].Clients(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		w.t.Errorf("clients (-plain +memo):\n%s", diff)
	}
}

// endingPolicy is the tests' with a class whose time servers end in a while.
func endingPolicy(t testing.TB) *policy.Set {
	t.Helper()
	return compile(t, testPolicy+`  soon: {networks: [10.0.7.0/24], services: [local/time]}
services: [{id: local/time, reason: r, until: `+start.Add(9700*time.Millisecond).Format(time.RFC3339Nano)+`,
  destinations: [{host: time.example, ports: [udp/123]}]}]
`)
}

// memoPackets are all kinds of them.
func memoPackets() (packets [][]byte) {
	for version := range uint8(6) {
		for m := range mode(8) {
			packets = append(packets, packet(first(version, m), start), packet(first(version, m), time.Time{}))
		}
	}
	good := packet(first(4, client), start)
	field := append(bytes.Clone(good), 0xf3, 0x23, 0, 28)
	return append(packets, nil, good[1:], append(field, make([]byte, 24)...), append(bytes.Clone(good), make([]byte, 20)...),
		packet(first(4, client), start.AddDate(-50, 0, 0)), good, good, good, good, packet(first(3, symmetricActive), start.Add(-time.Minute)))
}

// Whoever asks in whatever order, while time passes, is lost and comes back, clients exceed
// their rate and policies come and go: with a memo or without, the replies are the same bytes,
// and the records and counts say the same.
func TestMemoIsUnseen(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []int{0, 20} {
		w := newTwins(t, func(c *Config) { c.Rate, c.Burst = rate, 30 })
		sets := []*policy.Set{w.box[0].set, endingPolicy(t), compile(t, noServers), compile(t, testPolicy)}
		packets := memoPackets()
		clients := []string{till, till, till, till, "10.0.0.5:123", pos, office, lab, "10.0.7.1:40000", "10.9.9.9:40000", "198.51.100.7:123", "[fd00:1::5]:40000", "127.0.0.1:999"}
		random := rand.New(rand.NewPCG(7, 7))
		w.each(func(b *bench) { b.set = sets[1] })
		for range 5000 {
			switch dice := random.IntN(1000); {
			case dice < 2:
				set := sets[random.IntN(len(sets))]
				w.each(func(b *bench) { b.set = set })
			case dice < 4:
				w.box[1].Settle()
			case dice < 8:
				w.each((*bench).synchronise)
			case dice < 400:
				d := time.Duration(random.IntN(1500)) * time.Microsecond
				w.each(func(b *bench) { b.pass(d) })
			case dice < 402:
				d := time.Duration(random.IntN(1500)) * time.Millisecond
				w.each(func(b *bench) { b.pass(d) })
			case dice == 402 && random.IntN(5) == 0:
				w.each(func(b *bench) { b.pass(12 * time.Hour) }) // too long without a server
			}
			var batch []pktinfo.Packet
			for range 1 + random.IntN(4) {
				p := pktinfo.Packet{From: netip.MustParseAddrPort(clients[random.IntN(len(clients))]), Cut: random.IntN(50) == 0}
				p.Data = packets[len(packets)-1-min(random.IntN(len(packets)), random.IntN(len(packets)), random.IntN(len(packets)))]
				p.Info.Interface = random.IntN(2) * lo.Index
				batch = append(batch, p)
			}
			w.ask(batch)
		}
		w.check()
		if w.told < 500 {
			t.Errorf("rate %d: only %d answers came from the memo", rate, w.told)
		}
	}
}

// Nobody is known beyond a second, nor past the end of a rule, nor by another interface.
func TestMemoForgets(t *testing.T) {
	w := newTwins(t)
	b := w.box[1]
	b.set = endingPolicy(t)
	b.synchronise()
	from := "10.0.7.1:999"
	asks := func(ifindex int) bool {
		before := w.memo.known()
		p := []pktinfo.Packet{{From: netip.MustParseAddrPort(from), Data: packet(first(4, client), start), Reply: make([]byte, 0, headerSize)}}
		p[0].Info.Interface = ifindex
		b.serveAll(w.memo, b.request(till, nil), p)
		return w.memo.known() > before
	}
	if asks(0) || !asks(0) || asks(1<<20) {
		t.Error("an asker is known before it was judged, not after, or by another interface")
	}
	b.pass(memoAge)
	if asks(0) || !asks(0) {
		t.Error("an asker is known beyond its time")
	}
	b.synchronise()
	if asks(0) || !asks(0) {
		t.Error("an asker is known when the time is estimated anew")
	}
	b.pass(9500*time.Millisecond - memoAge)
	asks(0)
	b.pass(199 * time.Millisecond)
	if !asks(0) {
		t.Error("an asker is not known until its rule ends")
	}
	b.pass(time.Millisecond)
	if asks(0) {
		t.Error("an asker is known when its rule has ended")
	}
	// The last moment at which the estimate is fine.
	fine := sort.Search(int(240*time.Hour/time.Millisecond), func(i int) bool {
		return b.deps.Clock.Estimate().LevelAt(b.now()+time.Duration(i)*time.Millisecond) != clock.Fine
	})
	b.set = compile(t, testPolicy)
	b.pass(time.Duration(fine)*time.Millisecond - memoAge/2)
	from = till
	asks(0)
	b.pass(memoAge / 4)
	if !asks(0) {
		t.Error("an asker is not known while the time is")
	}
	b.pass(memoAge / 4)
	if asks(0) {
		t.Error("who asks when the time is known no more is told it")
	}
	b.pass(memoAge)
	b.Settle()
	if n := len(w.memo.admitted); n != 0 {
		t.Errorf("%d askers are kept after their time", n)
	}
}

// Who is in the memo, but forgotten by the table of clients, is judged again: there it would
// have a rate and a clock of which nobody else knows.
func TestMemoOfAForgottenClient(t *testing.T) {
	w := newTwins(t)
	b := w.box[1]
	b.synchronise()
	ask := func() {
		b.serveAll(w.memo, b.request(till, nil), []pktinfo.Packet{{From: netip.MustParseAddrPort(till), Data: packet(first(4, client), start), Reply: make([]byte, 0, headerSize)}})
	}
	ask()
	for i := range 10 * maxClients {
		b.clients.take(address(i), "", b.now()+time.Second)
	}
	if b.clients.all[netip.MustParseAddrPort(till).Addr()] != nil {
		t.Fatal("the client is not forgotten")
	}
	ask()
	if n := w.memo.known(); n != 0 || b.clients.all[netip.MustParseAddrPort(till).Addr()] == nil {
		t.Errorf("%d answers came from the memo, and the client is not remembered anew", n)
	}
}

// known is how many answers of the memo were counted and not told.
func (m *memo) known() (n uint64) {
	for _, a := range m.admitted {
		n += a.n
	}
	return n
}

// The memo stays at its bound.
func TestMemoBounded(t *testing.T) {
	w := newTwins(t)
	w.each((*bench).synchronise)
	var packets []pktinfo.Packet
	for i := range maxAdmitted + 20 {
		addr := netip.AddrFrom16([16]byte{0xfd, 0, 0, 1, 8: byte(i >> 8), 15: byte(i)})
		packets = append(packets, pktinfo.Packet{From: netip.AddrPortFrom(addr, 999), Data: packet(first(4, client), start)})
	}
	w.each(func(b *bench) { b.set = compile(t, testPolicy) })
	for range 3 {
		w.ask(packets)
	}
	if n := len(w.memo.admitted); n != maxAdmitted {
		t.Errorf("%d askers are known, want %d", n, maxAdmitted)
	}
	w.check()
	if w.told != 2*maxAdmitted {
		t.Errorf("%d answers came from the memo, want %d", w.told, 2*maxAdmitted)
	}
}

// A memo that is settled while it answers loses nothing and tells nothing twice.
func TestMemoSettlesMeanwhile(t *testing.T) {
	w := newTwins(t)
	b := w.box[1]
	b.synchronise()
	const batches, batch = 2000, 8
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			b.Settle()
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	packets, q := make([]pktinfo.Packet, batch), b.request(till, nil)
	for range batches {
		for i := range packets {
			packets[i] = pktinfo.Packet{From: netip.MustParseAddrPort(till), Data: packet(first(4, client), start), Reply: make([]byte, 0, headerSize)}
		}
		b.serveAll(w.memo, q, packets)
	}
	close(stop)
	<-stopped
	b.Settle()
	var sum uint64
	for _, rec := range b.records.take() {
		sum += max(rec.Count, 1)
	}
	if sum != batches*batch || b.Stats().Answered != sum {
		t.Errorf("%d requests are told of and %d counted, of %d", sum, b.Stats().Answered, batches*batch)
	}
}

// What was answered under a policy is told as that one's, though another is in force.
func TestMemoTellsOfItsPolicy(t *testing.T) {
	w := newTwins(t)
	b := w.box[1]
	b.synchronise()
	was := b.set.ID()
	ask := func() {
		b.serveAll(w.memo, b.request(till, nil), []pktinfo.Packet{{From: netip.MustParseAddrPort(till), Data: packet(first(4, client), start), Reply: make([]byte, 0, headerSize)}})
	}
	ask()
	ask()
	ask()
	b.set = endingPolicy(t)
	ask()
	var counted []decision.Record
	for _, rec := range b.records.take() {
		if rec.Count > 0 {
			counted = append(counted, rec)
		}
	}
	if len(counted) != 1 || counted[0].Count != 2 || counted[0].Policy != was || counted[0].Service != "payxpert/sunmi-ntp" || counted[0].Class != "till" {
		t.Errorf("told %+v, of policy %s", counted, was)
	}
}
