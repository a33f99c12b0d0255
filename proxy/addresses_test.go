package proxy

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tillgate/internal/storelab"
)

func TestOwnAddresses(t *testing.T) {
	var o ownAddresses
	defer o.close()
	own, err := o.get()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(own, netip.MustParsePrefix("127.0.0.1/8")) {
		t.Errorf("loopback is not among %v", own)
	}
}

// The box knows of an address of its own from the moment that it has it, and lists them
// only then.
func TestOwnAddressesChange(t *testing.T) {
	store := storelab.New(t, storelab.Config{})
	till := store.Terminal(t, "sunmi")
	var o ownAddresses
	defer o.close()
	get := func() (own []netip.Prefix) {
		t.Helper()
		if err := till.Do(func() (err error) { own, err = o.get(); return err }); err != nil {
			t.Fatal(err)
		}
		return own
	}
	ip := func(argv ...string) {
		t.Helper()
		if _, err := till.Run(t.Context(), append([]string{"ip", "addr"}, argv...)...); err != nil {
			t.Fatal(err)
		}
	}
	before := get()
	if after := get(); &after[0] != &before[0] {
		t.Error("they are listed though none has changed")
	}
	for _, addr := range []string{"8.8.4.9/32", "2a00:1450::9/128"} {
		ip("add", addr, "dev", "lo", "nodad")
		if !slices.Contains(get(), netip.MustParsePrefix(addr)) {
			t.Errorf("%s is new, and not known", addr)
		}
		ip("del", addr, "dev", "lo")
		if slices.Contains(get(), netip.MustParsePrefix(addr)) {
			t.Errorf("%s is gone, and known", addr)
		}
	}

	// More changes than the kernel keeps.
	if err := unix.SetsockoptInt(o.changes, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	last := ""
	for i := range 20 {
		last = fmt.Sprintf("8.8.5.%d/32", i)
		ip("add", last, "dev", "lo")
	}
	if own := get(); !slices.Contains(own, netip.MustParsePrefix(last)) || len(own) != len(before)+20 {
		t.Errorf("%d of %d are known", len(own)-len(before), 20)
	}

	// Without news they are listed each time.
	unix.Close(o.changes)
	o.changes = -1
	ip("del", last, "dev", "lo")
	if slices.Contains(get(), netip.MustParsePrefix(last)) {
		t.Error("nothing is heard any more, and what was once told is believed")
	}
}

// An address can be used before the kernel tells of it, if it is optimistic (RFC 4429).
func TestOwnAddressesOptimistic(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6/conf/all/optimistic_dad"); err != nil {
		t.Skip("this kernel has no optimistic addresses")
	}
	store := storelab.New(t, storelab.Config{})
	till := store.Terminal(t, "sunmi")
	run := func(argv ...string) {
		t.Helper()
		if _, err := till.Run(t.Context(), argv...); err != nil {
			t.Fatal(err)
		}
	}
	run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
	run("ip", "link", "set", "near", "addrgenmode", "none")
	run("ip", "link", "set", "far", "addrgenmode", "none")
	run("sh", "-c", "cd /proc/sys/net/ipv6/conf/near && echo 1 | tee accept_dad dad_transmits optimistic_dad")
	run("ip", "link", "set", "near", "up")
	run("ip", "link", "set", "far", "up")

	var o ownAddresses
	defer o.close()
	var own []netip.Prefix
	routes := -1
	if err := till.Do(func() (err error) {
		if _, err = o.get(); err != nil {
			return err
		}
		routes, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		return unix.Bind(routes, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV6_ROUTE})
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(routes)
	addr := netip.MustParsePrefix("2a00:1450::9/64")
	run("ip", "addr", "add", addr.String(), "dev", "near", "optimistic")
	local := addr.Addr().As16()
	buf := make([]byte, 4096)
	for n := 0; !bytes.Contains(buf[:n], local[:]); { // the route to it
		var err error
		if n, err = unix.Read(routes, buf); err != nil {
			t.Fatal(err)
		}
	}
	run("ip", "link", "set", "lo", "up") // waits until all have been told
	if err := till.Do(func() (err error) { own, err = o.get(); return err }); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(own, addr) {
		t.Errorf("%v can be used, and is not among %v", addr, own)
	}
}

func TestOwnAddressesAllocs(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector allocates")
	}
	var o ownAddresses
	defer o.close()
	if n := testing.AllocsPerRun(100, func() { o.get() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
