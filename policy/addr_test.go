package policy

import (
	"net/netip"
	"testing"
)

func TestCheckAddr(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"8.8.8.8", ""},
		{"1.0.0.0", ""},
		{"9.255.255.255", ""},
		{"11.0.0.0", ""},
		{"45.60.243.139", ""},
		{"100.63.255.255", ""},
		{"100.128.0.0", ""},
		{"172.15.255.255", ""},
		{"172.32.0.0", ""},
		{"192.31.196.1", ""}, // AS112
		{"198.17.255.255", ""},
		{"198.20.0.0", ""},
		{"223.255.255.255", ""},
		{"2001:4860:4860::8888", ""},
		{"2606:4700::1111", ""},
		{"2620:4f:8000::1", ""}, // AS112
		{"64:ff9b::808:808", ""},

		{"0.0.0.0", "this network (0.0.0.0/8, RFC 791)"},
		{"0.1.2.3", "this network (0.0.0.0/8, RFC 791)"},
		{"10.0.0.1", "private use (10.0.0.0/8, RFC 1918)"},
		{"100.64.0.0", "carrier-grade NAT (100.64.0.0/10, RFC 6598)"},
		{"100.127.255.255", "carrier-grade NAT (100.64.0.0/10, RFC 6598)"},
		{"127.0.0.1", "loopback (127.0.0.0/8, RFC 1122)"},
		{"127.255.0.1", "loopback (127.0.0.0/8, RFC 1122)"},
		{"169.254.169.254", "link-local (169.254.0.0/16, RFC 3927)"},
		{"172.16.0.0", "private use (172.16.0.0/12, RFC 1918)"},
		{"172.31.255.255", "private use (172.16.0.0/12, RFC 1918)"},
		{"192.0.0.1", "IETF protocol assignments (192.0.0.0/24, RFC 6890)"},
		{"192.0.2.1", "documentation (192.0.2.0/24, RFC 5737)"},
		{"192.88.99.1", "6to4 relays (192.88.99.0/24, RFC 7526)"},
		{"192.168.1.1", "private use (192.168.0.0/16, RFC 1918)"},
		{"198.18.0.1", "benchmarking (198.18.0.0/15, RFC 2544)"},
		{"198.19.255.255", "benchmarking (198.18.0.0/15, RFC 2544)"},
		{"198.51.100.1", "documentation (198.51.100.0/24, RFC 5737)"},
		{"203.0.113.1", "documentation (203.0.113.0/24, RFC 5737)"},
		{"224.0.0.1", "multicast (224.0.0.0/4, RFC 5771)"},
		{"239.255.255.255", "multicast (224.0.0.0/4, RFC 5771)"},
		{"240.0.0.1", "reserved (240.0.0.0/4, RFC 1112)"},
		{"255.255.255.255", "limited broadcast (255.255.255.255/32, RFC 919)"},

		{"::", "unspecified (::/128, RFC 4291)"},
		{"::1", "loopback (::1/128, RFC 4291)"},
		{"::8.8.8.8", "IPv4-compatible (::/96, RFC 4291)"},
		{"::ffff:8.8.8.8", "IPv4-mapped (::ffff:0.0.0.0/96, RFC 4291)"},
		{"::ffff:10.0.0.1", "IPv4-mapped (::ffff:0.0.0.0/96, RFC 4291)"},
		{"64:ff9b::10.0.0.1", "private use (10.0.0.0/8, RFC 1918)"},
		{"64:ff9b::7f00:1", "loopback (127.0.0.0/8, RFC 1122)"},
		{"64:ff9b:1::8.8.8.8", "local NAT64 (64:ff9b:1::/48, RFC 8215)"},
		{"64:ff9b:2::1", "outside of global unicast (::/0, RFC 4291)"},
		{"100::1", "discard only (100::/64, RFC 6666)"},
		{"100:0:0:1::1", "dummy prefix (100:0:0:1::/64, RFC 9780)"},
		{"2001::1", "Teredo (2001::/32, RFC 4380)"},
		{"2001:1::1", "IETF protocol assignments (2001::/23, RFC 2928)"},
		{"2001:2::1", "benchmarking (2001:2::/48, RFC 5180)"},
		{"2001:10::1", "ORCHID (2001:10::/28, RFC 4843)"},
		{"2001:2f:ffff::1", "ORCHIDv2 (2001:20::/28, RFC 7343)"},
		{"2001:db8::1", "documentation (2001:db8::/32, RFC 3849)"},
		{"2002:808:808::1", "6to4 (2002::/16, RFC 3056)"},
		{"3fff:fff::1", "documentation (3fff::/20, RFC 9637)"},
		{"4000::1", "outside of global unicast (::/0, RFC 4291)"},
		{"5f00::1", "segment routing identifiers (5f00::/16, RFC 9602)"},
		{"fc00::1", "unique local (fc00::/7, RFC 4193)"},
		{"fd00:20:1::1", "unique local (fc00::/7, RFC 4193)"},
		{"fe80::1", "link-local (fe80::/10, RFC 4291)"},
		{"fe80::1%eth0", "link-local (fe80::/10, RFC 4291)"},
		{"febf::1", "link-local (fe80::/10, RFC 4291)"},
		{"fec0::1", "site-local (fec0::/10, RFC 3879)"},
		{"ff02::1", "multicast (ff00::/8, RFC 4291)"},
	} {
		err := CheckAddr(netip.MustParseAddr(tt.addr))
		if got := errorText(err); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.addr, got, tt.want)
		}
	}
	if err := CheckAddr(netip.Addr{}); errorText(err) != "no address" {
		t.Errorf("the zero address: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestCheckAddrAllocates(t *testing.T) {
	for _, s := range []string{"8.8.8.8", "2001:4860:4860::8888", "64:ff9b::8.8.8.8", "10.0.0.1", "fe80::1%eth0"} {
		addr := netip.MustParseAddr(s)
		if n := testing.AllocsPerRun(100, func() { CheckAddr(addr) }); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

func TestWithinStore(t *testing.T) {
	for addr, want := range map[string]bool{
		"10.20.0.7": true, "172.31.0.1": true, "192.168.1.1": true, "100.64.0.1": true, "169.254.0.1": true, "fd00::1": true, "fe80::1%eth0": true,
		"8.8.8.8": false, "127.0.0.1": false, "0.0.0.0": false, "192.0.2.1": false, "224.0.0.1": false,
		"::1": false, "::ffff:10.20.0.7": false, "2002:808:808::1": false, "2001:0:808:808::1": false, "64:ff9b::a14:7": false, "2001:db8::1": false,
	} {
		if got := WithinStore(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if WithinStore(netip.Addr{}) {
		t.Error("no address is within the store")
	}
}
