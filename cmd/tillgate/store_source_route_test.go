package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStoreSourceRoute has a packet name the box as where it goes, and by a source route
// (RFC 791 section 3.1) a host of the store behind it, on a box that is told to follow these.
func TestStoreSourceRoute(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.Box.Write(t, "policy.yaml", edgePolicy)
	gateway(t, store)
	store.Box.Start(t)
	applied(t, store)
	if _, err := store.Box.Run(t.Context(), "sh", "-c", `for f in /proc/sys/net/ipv4/conf/*/accept_source_route; do echo 1 >$f; done
nft 'table inet w { counter sent {}; chain f { type filter hook forward priority -300; udp dport 53 counter name sent; }; }'`); err != nil {
		t.Fatal(err)
	}
	pos, guest := store.Terminal(t, "pos"), store.Terminal(t, "guest")
	box, _ := store.Box.Addr(t, "pos")
	c, err := pos.ListenPacket(t.Context(), "udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// Loose source and record route: its length, where in it the packet is, the hops.
	hops := append(box.AsSlice(), guest.Addr4.AsSlice()...)
	option := append([]byte{131, byte(3 + len(hops)), 4}, append(hops, 0)...)
	raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_IP, unix.IP_OPTIONS, string(option))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(guest.Addr4, 53))); err != nil {
		t.Fatal(err)
	}
	listed := func(counter string) string {
		out, err := store.Box.Run(t.Context(), "nft", "list counter inet "+counter)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	waitFor(t, func() bool { return strings.Contains(listed("tillgate refused-pos"), "packets 1 ") })
	if out := listed("w sent"); !strings.Contains(out, "packets 0 ") {
		t.Errorf("sent on into the store: %s", out)
	}
}
