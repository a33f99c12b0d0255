package pktinfo

import (
	"net"
	"net/netip"
	"testing"

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

func TestReadSource(t *testing.T) {
	for _, tt := range []struct {
		addr    string
		ifindex int // as the source message names it
	}{{"192.0.2.1", 0}, {"2001:db8::1", 0}, {"fe80::1", 7}} {
		addr := netip.MustParseAddr(tt.addr)
		local, ifindex := Read(Source(addr, 7))
		if local != addr || ifindex != tt.ifindex {
			t.Errorf("%s: read %v and %d, want itself and %d", tt.addr, local, ifindex, tt.ifindex)
		}
	}
	if Source(netip.Addr{}, 7) != nil {
		t.Error("a source of no address")
	}
}

func TestReadOther(t *testing.T) {
	whole := Source(netip.MustParseAddr("2001:db8::1"), 7)
	for _, oob := range [][]byte{nil, whole[:unix.SizeofCmsghdr-1], whole[:unix.SizeofCmsghdr], whole[:len(whole)-8], unix.UnixRights(1)} {
		if local, ifindex := Read(oob); local.IsValid() || ifindex != 0 {
			t.Errorf("%x: read %v and %d, want nothing", oob, local, ifindex)
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
