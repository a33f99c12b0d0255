package resolver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"tillgate/policy"
)

// serving runs the bench on addrs until the test ends, and returns what it is bound to.
func serving(t *testing.T, b *bench, addrs ...string) []netip.AddrPort {
	t.Helper()
	b.cfg.Listen = addrs
	if err := b.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
		goleak.VerifyNone(t)
	})
	return b.Addrs()
}

// ask sends m and returns the reply.
func ask(t *testing.T, network string, to netip.AddrPort, m *dns.Msg) *dns.Msg {
	t.Helper()
	got, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).Exchange(m, to.String())
	if err != nil {
		t.Fatalf("%s %v: %v", network, to, err)
	}
	return got
}

func TestEveryAddressAnswersFromItself(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	bound := serving(t, b, ":0")
	if len(bound) != 2 || bound[0].Port() != bound[1].Port() {
		t.Fatalf("bound to %v: want IPv4 and IPv6 at one port", bound)
	}
	for _, addr := range []string{"127.0.0.1", "127.0.0.2", "127.9.9.9"} {
		// A connected socket takes only what comes from the address that it asked.
		to := netip.AddrPortFrom(netip.MustParseAddr(addr), bound[0].Port())
		for _, network := range []string{"udp", "tcp"} {
			m := ask(t, network, to, queryFor("tillgate.internal", dns.TypeA))
			if got, want := gist(m), "NOERROR tillgate.internal./30/A/"+addr+" opt"; got != want {
				t.Errorf("%s at %s: %s, want %s", network, addr, got, want)
			}
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		m := ask(t, network, netip.AddrPortFrom(netip.IPv6Loopback(), bound[0].Port()), queryFor("x", dns.TypeA))
		if m.Rcode != dns.RcodeRefused {
			t.Errorf("%s over IPv6: %s; ::1 is in no class of this policy", network, gist(m))
		}
	}
}

func TestClassByInterface(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	text := strings.Replace(testPolicy, `, 127.0.0.0/8]`, `]
    interfaces: [lo]`, 1)
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	b.deps.Policy = func() *policy.Set { return set }
	for _, to := range serving(t, b, "127.0.0.1:0", "[::1]:0") {
		for _, network := range []string{"udp", "tcp"} {
			if m := ask(t, network, to, queryFor("localhost", dns.TypeA)); m.Rcode != dns.RcodeSuccess {
				t.Errorf("%s %v: %s", network, to, gist(m))
			}
		}
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
	for _, s := range b.udp {
		if _, err := s.conn.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a socket stayed open: %v", err)
		}
	}
}

// TestTCPPipeline: replies come as they are ready, whole, and one that waits for the
// upstream holds up no other.
func TestTCPPipeline(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	release := make(chan struct{})
	b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
		<-release
		return reply(name, qtype, 60, "192.0.9.1"), nil
	}
	to := serving(t, b, "127.0.0.1:0")[0]
	conn, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	var wire bytes.Buffer
	names := []string{known, "one.example", "two.example", "three.example"}
	for i, name := range names {
		m := queryFor(name, dns.TypeA)
		m.Id = uint16(i)
		packed, _ := m.Pack()
		binary.Write(&wire, binary.BigEndian, uint16(len(packed)))
		wire.Write(packed)
	}
	// In pieces, so that a message is never read whole at once.
	for wire.Len() > 0 {
		if _, err := conn.Write(wire.Next(7)); err != nil {
			t.Fatal(err)
		}
	}
	c := &dns.Conn{Conn: conn}
	for i := range names {
		if i == len(names)-1 {
			close(release)
		}
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if want := (i + 1) % len(names); int(m.Id) != want {
			t.Errorf("reply %d is to query %d, want %d", i, m.Id, want)
		}
	}
}

func TestTCPBounds(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	to := serving(t, b, "127.0.0.1:0")[0]
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
		conn, err := d.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	answered := func(conn net.Conn) bool {
		c := &dns.Conn{Conn: conn}
		if c.WriteMsg(queryFor("localhost", dns.TypeA)) != nil {
			return false
		}
		_, err := c.ReadMsg()
		return err == nil
	}
	for i := range maxTCPClient {
		if !answered(dial("127.0.0.2")) {
			t.Fatalf("connection %d of one client was refused", i+1)
		}
	}
	if answered(dial("127.0.0.2")) {
		t.Error("one client has more connections than the bound")
	}
	if rec := b.records.last(); rec.Reason != policy.LimitReached || rec.Client.String() != "127.0.0.2" {
		t.Errorf("recorded %+v", rec)
	}
	for i := range maxTCP - maxTCPClient {
		if conn := dial(fmt.Sprintf("127.0.1.%d", i/maxTCPClient+1)); !answered(conn) {
			t.Fatalf("connection %d in all was refused", i+1+maxTCPClient)
		}
	}
	if answered(dial("127.0.0.3")) {
		t.Error("more connections than the bound")
	}
}

// TestStopAnswersWhatWasAsked: a query that waits for the upstream when the box is
// told to stop still gets its answer.
func TestStopAnswersWhatWasAsked(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBench(t)
	b.now = time.Now()
	asked, release := make(chan struct{}), make(chan struct{})
	b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
		close(asked)
		<-release
		return reply(name, qtype, 60, "192.0.9.1"), nil
	}
	b.cfg.Listen = []string{"127.0.0.1:0"}
	if err := b.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()

	conn, err := dns.Dial("udp", b.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMsg(queryFor(known, dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	<-asked
	stop()
	close(release)
	m, err := conn.ReadMsg()
	if err != nil || m.Rcode != dns.RcodeSuccess {
		t.Errorf("%v, %v", m, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		if _, err = io.ReadFull(conn, make([]byte, 1)); err == nil {
			t.Error("the socket is still open")
		}
	}
}

// TestStopTellsWhatWasCounted: what was answered from memory is told of when the box stops,
// whichever sockets it came by.
func TestStopTellsWhatWasCounted(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	b.cfg.Listen = []string{"127.0.0.1:0"}
	if err := b.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := min(runtime.GOMAXPROCS(0), maxReaders); len(b.udp) != n {
		t.Errorf("%d sockets, want %d", len(b.udp), n)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	const clients, queries = 10, 5
	for range clients {
		conn, err := dns.Dial("udp", b.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range queries {
			if err := conn.WriteMsg(queryFor("example.com", dns.TypeA)); err != nil {
				t.Fatal(err)
			}
			if m, err := conn.ReadMsg(); err != nil || m.Rcode != dns.RcodeNameError {
				t.Fatalf("%v, %v", m, err)
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	var told uint64
	for _, rec := range b.records.all {
		told += max(rec.Count, 1)
	}
	if n := len(b.records.all); told != clients*queries || n > 2*len(b.udp) {
		t.Errorf("%d records tell of %d queries, want %d", n, told, clients*queries)
	}
}

// TestTCPClientThatDoesNotRead loses its connection, and holds up nobody who waits for the
// same name.
func TestTCPClientThatDoesNotRead(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	release := make(chan struct{})
	b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
		if name == known {
			<-release
		}
		m := reply(name, qtype, 300)
		for i := range maxAddrs {
			m.Answer = append(m.Answer, addressRecord(name+".", netip.AddrFrom4([4]byte{192, 0, 9, byte(i)}), 300))
		}
		return m, nil
	}
	to := serving(t, b, "127.0.0.1:0")[0]
	conn, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(1)

	send := func(name string) error {
		packed, err := queryFor(name, dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
		return err
	}
	if err := send(known); err != nil {
		t.Fatal(err)
	}
	// Until the box can't write any more, and so reads no more, and has closed.
	closed := make(chan error, 1)
	go func() {
		for {
			if err := send("many.shop.example"); err != nil {
				closed <- err
				return
			}
		}
	}()
	waiting := make(chan *dns.Msg, 1)
	go func() {
		m, _, _ := (&dns.Client{Timeout: 10 * time.Second}).Exchange(queryFor(known, dns.TypeA), to.String())
		waiting <- m
	}()
	for b.Stats().Waiting < 2 {
		runtime.Gosched()
	}
	close(release)
	if m := <-waiting; m == nil || m.Rcode != dns.RcodeSuccess {
		t.Errorf("the other client got %v", m)
	}
	if err := <-closed; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the connection ended with %v", err)
	}
}

// TestTCPStrangers: the Internet gets no connection, strangers inside a few.
func TestTCPStrangers(t *testing.T) {
	var conns tcpConns
	open := func(client string) bool {
		return conns.add(&tcpConn{client: netip.MustParseAddr(client), stranger: true})
	}
	for i := range maxTCPStrangers {
		if !open(fmt.Sprintf("172.16.0.%d", i)) {
			t.Fatalf("stranger %d was refused", i)
		}
	}
	if open("172.16.1.1") {
		t.Error("one stranger too many")
	}
	if !conns.add(&tcpConn{client: netip.MustParseAddr("10.0.0.1")}) {
		t.Error("strangers took a client's place")
	}
}

func TestTCPMessageTooLong(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	conn, err := net.Dial("tcp", serving(t, b, "127.0.0.1:0")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(binary.BigEndian.AppendUint16(nil, maxQuery+1)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came back", n)
	}
}
