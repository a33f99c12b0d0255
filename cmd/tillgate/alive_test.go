package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestReachable(t *testing.T) {
	const (
		usual  = "127.0.0.1/8 ::1/128 10.20.0.1/24 fe80::1/64 fd00:20::1/64"
		no6    = "127.0.0.1/8 10.20.0.1/24" // disable_ipv6=1
		noLoop = "fe80::1/64 10.20.0.1/24 10.20.0.2/24 fd00:20::1/64"
	)
	for _, tt := range []struct{ local, addr, want string }{
		{usual, "0.0.0.0:53", "127.0.0.1:53"},
		{usual, "[::]:53", "[::1]:53"},
		{usual, "127.0.0.1:5300", "127.0.0.1:5300"},
		{usual, "127.0.0.9:5300", "127.0.0.9:5300"},
		{usual, "[::1]:5300", "[::1]:5300"},
		{usual, "10.20.0.1:53", "10.20.0.1:53"},
		{usual, "[fd00:20::1]:53", "[fd00:20::1]:53"},
		{usual, "[fe80::1%eth0]:53", "[fe80::1%eth0]:53"},
		{usual, "10.20.0.2:53", ""}, // within the network, but gone from the machine
		{usual, "[fd00:20::2]:53", ""},

		{no6, "0.0.0.0:53", "127.0.0.1:53"},
		{no6, "[::]:53", ""},
		{no6, "[::1]:53", ""},
		{"127.0.0.1/8 fe80::1/64", "[::]:53", ""}, // through which interface, nobody knows

		{noLoop, "0.0.0.0:53", "10.20.0.1:53"},
		{noLoop, "[::]:53", "[fd00:20::1]:53"},
		{noLoop, "[::1]:53", ""},
	} {
		var local []net.Addr
		for _, text := range strings.Fields(tt.local) {
			ip, network, err := net.ParseCIDR(text)
			if err != nil {
				t.Fatal(err)
			}
			local = append(local, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		got, ok := reachable(netip.MustParseAddrPort(tt.addr), local)
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s is asked at %v (%v), want %q, of %s", tt.addr, got, ok, tt.want, tt.local)
		}
	}
}
