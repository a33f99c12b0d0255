package ntprelay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tillgate/decision"
	"tillgate/internal/pktinfo"
)

// listening runs the bench on addrs until the test ends, and returns what it is bound to.
func (b *bench) listening(addrs ...string) []netip.AddrPort {
	b.t.Helper()
	b.cfg.Listen = addrs
	if err := b.Listen(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.t.Context())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	b.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.t.Errorf("serving: %v", err)
		}
		goleak.VerifyNone(b.t)
	})
	return b.Addrs()
}

func dial(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second)) // of a test that fails
	return conn
}

// Every address is served, of both families, and answers from itself: a connected socket
// takes nothing else.
func TestEveryAddressAnswersFromItself(t *testing.T) {
	b := newBench(t)
	b.synchronise()
	bound := b.listening(":0")
	if len(bound) != 2 || bound[0].Port() != bound[1].Port() {
		t.Fatalf("bound to %v: want IPv4 and IPv6 at one port", bound)
	}
	for _, addr := range []string{"127.0.0.1", "127.0.0.2", "127.9.9.9", "::1"} {
		conn := dial(t, netip.AddrPortFrom(netip.MustParseAddr(addr), bound[0].Port()))
		if _, err := conn.Write(packet(first(4, client), start)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 512)
		n, err := conn.Read(got)
		if err != nil || n != headerSize {
			t.Fatalf("%s: %d bytes, %v", addr, n, err)
		}
		h := parseHeader(got)
		if h.leap == unknown || h.origin != stampOf(start) {
			t.Errorf("%s: %+v", addr, h)
		}
		// The clock of the bench stands still. What has passed is the kernel's to tell.
		if h.transmit <= h.receive {
			t.Errorf("%s: no stamp of the kernel's: received %#x, sent %#x", addr, uint64(h.receive), uint64(h.transmit))
		}
	}
}

// A packet that is longer than what is read is not taken for its beginning.
func TestTooLong(t *testing.T) {
	b := newBench(t)
	b.synchronise()
	conn := dial(t, b.listening("127.0.0.1:0")[0])
	long := make([]byte, maxRequest+4)
	copy(long, packet(first(4, client), start))
	field := long[headerSize:]
	field[0], field[1], field[2], field[3] = 0xf3, 0x23, byte((maxRequest-headerSize)>>8), byte((maxRequest-headerSize)&0xff)
	for _, p := range [][]byte{long, packet(first(4, client), start.Add(time.Second))} {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 512)
	if _, err := conn.Read(got); err != nil {
		t.Fatal(err)
	}
	if h := parseHeader(got); h.origin != stampOf(start.Add(time.Second)) {
		t.Errorf("answered %+v", h)
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	b := newBench(t)
	b.cfg.Listen = []string{"127.0.0.1:0", taken.LocalAddr().String()}
	if err := b.Listen(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("error %v", err)
	}
	for _, conn := range b.conns {
		if _, err := conn.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a socket stayed open: %v", err)
		}
	}
}

// A request costs no allocation, from the socket to the socket.
func TestNoAllocations(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Rate, c.Burst = 1<<20, 1<<20 })
	b.synchronise()
	conn := dial(t, b.listening("127.0.0.1:0")[0])
	request, got := packet(first(3, client), b.truth()), make([]byte, 512)
	exchange := func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(got); err != nil {
			t.Fatal(err)
		}
	}
	exchange() // the first is recorded
	b.records.repeats.Store(true)
	if n := testing.AllocsPerRun(100, exchange); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

// A batch as large as they get: each request has its own answer or none, and all answers
// have a transmit stamp.
func TestBatch(t *testing.T) {
	b := newBench(t)
	b.synchronise()
	b.records.repeats.Store(true)
	q := b.request(till, nil)
	q.send = nil // nothing goes by itself
	packets := make([]pktinfo.Packet, batchSize)
	for i := range packets {
		from := till
		if i%4 == 3 {
			from = office
		}
		packets[i] = pktinfo.Packet{From: netip.MustParseAddrPort(from), Reply: make([]byte, 0, headerSize), Cut: i == 5,
			Data: packet(first(4, client), start.Add(time.Duration(i)*time.Second))}
	}
	m := newMemo(b.clients, b.tell)
	b.serveAll(m, q, packets)
	for i, p := range packets {
		if i%4 == 3 || i == 5 {
			if len(p.Reply) > 0 {
				t.Errorf("packet %d is answered", i)
			}
			continue
		}
		if len(p.Reply) != headerSize {
			t.Fatalf("packet %d: a reply of %d bytes", i, len(p.Reply))
		}
		if h := parseHeader(p.Reply); h.origin != stampOf(start.Add(time.Duration(i)*time.Second)) || h.transmit != stampOf(b.truth()) {
			t.Errorf("packet %d: %+v", i, h)
		}
	}
	want := Stats{Requests: batchSize, Answered: batchSize - batchSize/4 - 1, Denied: batchSize / 4, Dropped: 1, Clients: 1}
	if got := b.Stats(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if n := testing.AllocsPerRun(20, func() {
		for i := range packets {
			packets[i].Reply = packets[i].Reply[:0]
		}
		b.serveAll(m, q, packets)
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

// The kernel's stamp is an age. A clock that was stepped since tells none.
func TestAge(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, tt := range []struct {
		stamp time.Time
		want  time.Duration
	}{
		{now.Add(-time.Millisecond), time.Millisecond},
		{now.Add(-time.Second), time.Second},
		{now.Add(-time.Second - 1), 0},
		{now, 0},
		{now.Add(time.Nanosecond), 0},
		{now.AddDate(-10, 0, 0), 0},
		{time.Time{}, 0},
	} {
		if got := age(tt.stamp, now); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.stamp, got, tt.want)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	w := newBench(b)
	w.synchronise()
	w.records.repeats.Store(true)
	q := w.request(till, packet(first(3, client), w.truth()))
	q.send = func([]byte, netip.Addr, netip.AddrPort, int) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		w.serve(q)
	}
}

// BenchmarkBatch is a full one of a client that is known, with a journal.
func BenchmarkBatch(b *testing.B) {
	w := newBench(b)
	w.synchronise()
	journal, err := decision.Open(decision.Config{Dir: b.TempDir() + "/journal", Now: w.deps.Clock.Now, PolicyID: func() string { return w.set.ID() }})
	if err != nil {
		b.Fatal(err)
	}
	w.deps.Records = journal
	m, q := newMemo(w.clients, w.tell), w.request(till, nil)
	packets := make([]pktinfo.Packet, batchSize)
	for i := range packets {
		packets[i] = pktinfo.Packet{From: netip.MustParseAddrPort(till), Reply: make([]byte, 0, headerSize), Data: packet(first(4, client), w.truth())}
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range packets {
			packets[i].Reply = packets[i].Reply[:0]
		}
		w.serveAll(m, q, packets)
	}
}
