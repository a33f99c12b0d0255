package pktinfo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection over loopback is known to have come in by it, also before anything was
// read of it.
func TestIncoming(t *testing.T) {
	var interfaces Interfaces
	for _, tt := range []struct{ network, addr string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		l, err := (&net.ListenConfig{Control: Ask}).Listen(t.Context(), tt.network, tt.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial(tt.network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if got := interfaces.Name(Incoming(server.(*net.TCPConn))); got != "lo" {
			t.Errorf("%s: came in by %q, want lo", tt.network, got)
		}
	}
}

func sender(t testing.TB, network, addr string) (*net.UDPConn, *Sender) {
	t.Helper()
	conn, err := (&net.ListenConfig{Control: Ask}).ListenPacket(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s, err := NewSender(conn.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UDPConn), s
}

func TestReadSource(t *testing.T) {
	_, s := sender(t, "udp4", "127.0.0.1:0")
	for _, tt := range []struct {
		addr    string
		ifindex int // as the source message names it
	}{{"192.0.2.1", 0}, {"2001:db8::1", 0}, {"fe80::1", 7}, {"2001:db8::2", 0}} {
		addr := netip.MustParseAddr(tt.addr)
		info := Read(s.source.of(addr, 7))
		if want := (Info{Local: addr, Interface: tt.ifindex}); info != want {
			t.Errorf("%s: read %v, want %v", tt.addr, info, want)
		}
	}
	if s.source.of(netip.Addr{}, 7) != nil {
		t.Error("a source of no address")
	}
}

func TestReadOther(t *testing.T) {
	_, s := sender(t, "udp4", "127.0.0.1:0")
	whole := s.source.of(netip.MustParseAddr("2001:db8::1"), 7)
	long := append([]byte{}, whole...)
	long[0] += 8
	short := append([]byte{}, whole...)
	short[0] = unix.SizeofCmsghdr - 1
	for _, oob := range [][]byte{nil, whole[:unix.SizeofCmsghdr-1], whole[:unix.SizeofCmsghdr], whole[:len(whole)-8], long, short, unix.UnixRights(1)} {
		if info := Read(oob); info != (Info{}) {
			t.Errorf("%x: read %v, want nothing", oob, info)
		}
	}
	if info := Read(append(unix.UnixRights(1), whole...)); info.Interface != 0 || !info.Local.IsValid() {
		t.Errorf("behind another message: %v", info)
	}
}

// What is sent comes from the address that it is to come from, and the kernel tells where
// and when it came; nothing of that allocates.
func TestSend(t *testing.T) {
	for _, tt := range []struct{ network, listen, from, to string }{
		{"udp4", ":0", "127.0.0.9", "127.0.0.8"},
		{"udp6", "[::]:0", "::1", "::1"},
	} {
		conn, s := sender(t, tt.network, tt.listen)
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		Stamp(raw)
		from := netip.MustParseAddr(tt.from)
		to := netip.AddrPortFrom(netip.MustParseAddr(tt.to), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		packet, oob := []byte("packet"), make([]byte, Size)
		var info Info
		allocs := testing.AllocsPerRun(10, func() {
			if err := s.Send(packet, from, to, 0); err != nil {
				t.Fatal(err)
			}
			n, oobn, _, peer, err := conn.ReadMsgUDPAddrPort(packet, oob)
			if err != nil || n != len(packet) || peer.Addr() != from {
				t.Fatalf("%s: %d bytes from %v, %v", tt.network, n, peer, err)
			}
			info = Read(oob[:oobn])
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations a packet", tt.network, allocs)
		}
		if info.Local != to.Addr() || info.Interface == 0 {
			t.Errorf("%s: came to %v by %d", tt.network, info.Local, info.Interface)
		}
		// The machine's clock may be anything, and may step; not to another epoch in a test.
		if age := time.Since(info.Stamp); age < -time.Hour || age > time.Hour {
			t.Errorf("%s: came %v ago", tt.network, age)
		}
	}
}

// Each client reaches one of the sockets of an address. One that somebody else has is an
// error, also if that one would share it.
func TestListenUDP(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		loopback := map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"}[network]
		conns, err := ListenUDP(t.Context(), network, loopback, 3, Ask)
		if err != nil {
			t.Fatal(err)
		}
		addr := conns[0].LocalAddr().String()
		came := make(chan string, 1)
		for _, conn := range conns {
			defer conn.Close()
			if conn.LocalAddr().String() != addr {
				t.Errorf("%v beside %v", conn.LocalAddr(), addr)
			}
			go func() {
				data, oob := make([]byte, 9), make([]byte, Size)
				for {
					n, oobn, _, _, err := conn.ReadMsgUDPAddrPort(data, oob)
					if err != nil {
						return
					}
					came <- fmt.Sprint(string(data[:n]), " ", Read(oob[:oobn]).Local.IsValid())
				}
			}()
		}
		for range 20 {
			client, err := net.Dial(network, addr)
			if err != nil {
				t.Fatal(err)
			}
			client.Write([]byte("x"))
			if got := <-came; got != "x true" {
				t.Errorf("came %s", got)
			}
			client.Close()
		}
		if _, err := ListenUDP(t.Context(), network, addr, 3, Ask); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second time: error %v", err)
		}

		other, err := (&net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return share(c) }}).ListenPacket(t.Context(), network, loopback)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if _, err := ListenUDP(t.Context(), network, other.LocalAddr().String(), 3, Ask); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("with one that would share: error %v", err)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct{ listen, want string }{
		{":53", " 53 [4 6] <nil>"},
		{"0.0.0.0:53", " 53 [4 6] <nil>"},
		{"[::]:0", " 0 [4 6] <nil>"},
		{"192.0.2.1:53", "192.0.2.1 53 [4] <nil>"},
		{"[fe80::1%eth0]:53", "fe80::1%eth0 53 [6] <nil>"},
		{"localhost:53", "localhost 53 [4] <nil>"},
		{"53", `  [] listen address "53": address 53: missing port in address`},
	} {
		host, port, families, err := Split(tt.listen)
		if got := fmt.Sprint(host, " ", port, " ", families, " ", err); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.listen, got, tt.want)
		}
	}
}

func TestInterfaces(t *testing.T) {
	var interfaces Interfaces
	if got := interfaces.Name(0); got != "" {
		t.Errorf("no interface is called %q", got)
	}
	if got := interfaces.Name(1 << 30); got != "" {
		t.Errorf("an interface that is not there is called %q", got)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::1")
	if got := interfaces.Address(v4, lo.Index, true); got != v4 {
		t.Errorf("the address that was asked is answered by %v", got)
	}
	if got := interfaces.Address(v6, lo.Index, true); got != v4 {
		t.Errorf("the other family's is %v, want %v", got, v4)
	}
	if got := interfaces.Address(v6, 1<<30, true); got.IsValid() {
		t.Errorf("an interface that is not there has %v", got)
	}
}
