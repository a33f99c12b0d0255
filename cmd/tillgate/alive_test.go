package main

import (
	"net"
	"net/netip"
	"testing"
)

func TestReachable(t *testing.T) {
	local := []net.Addr{
		&net.IPNet{IP: net.IPv4(10, 20, 0, 1).To4(), Mask: net.CIDRMask(24, 32)},
		&net.IPNet{IP: net.ParseIP("fd00:20::1"), Mask: net.CIDRMask(64, 128)},
		&net.IPNet{IP: net.ParseIP("fe80::1"), Mask: net.CIDRMask(64, 128)},
	}
	for addr, want := range map[string]string{
		"0.0.0.0:53":        "127.0.0.1:53",
		"[::]:53":           "[::1]:53",
		"127.0.0.1:5300":    "127.0.0.1:5300",
		"127.0.0.9:5300":    "127.0.0.9:5300",
		"10.20.0.1:53":      "10.20.0.1:53",
		"[fd00:20::1]:53":   "[fd00:20::1]:53",
		"[fe80::1%eth0]:53": "[fe80::1%eth0]:53",
		"10.20.0.2:53":      "", // within the network, but gone from the machine
		"[fd00:20::2]:53":   "",
	} {
		got, ok := reachable(netip.MustParseAddrPort(addr), local)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s is asked at %v (%v), want %q", addr, got, ok, want)
		}
	}
}
