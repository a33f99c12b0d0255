package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"tillgate/policy"
)

// TestPlaces: where each client may have one connection that has asked for nothing, one in
// no class cannot have more by way of more addresses.
func TestPlaces(t *testing.T) {
	s := newSite(t, func(c *Config) { c.TunnelsPerClient = 1 })
	s.policy.Store(siteSet(t, strings.Replace(sitePolicy, "127.0.1.3/32", "fd00:5::/64", 1)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		client string
		want   bool
	}{
		{"fd00:9::1", true},
		{"fd00:9::2", false},
		{"fd00:9::ffff:ffff:ffff:ffff", false},
		{"fd00:9:0:1::1", true}, // of the next network
		{"192.168.77.1", true},
		{"192.168.77.2", true}, // of IPv4 there are few
		{"192.168.77.1", false},
		{"fd00:5::1", true}, // of a class
		{"fd00:5::2", true},
		{"fd00:5::1", false},
	} {
		far, near := connect(t, l)
		c := &peer{TCPConn: near, client: netip.MustParseAddr(tt.client), local: netip.MustParseAddrPort("10.20.0.1:3128")}
		defer c.giveUpPlace()
		if got := s.welcome(c, policy.Connect); got != tt.want {
			t.Errorf("%s: welcome %v, want %v", tt.client, got, tt.want)
		}
		if tt.want {
			continue
		}
		if got := heard(far, nil); got != reset {
			t.Errorf("%s: heard %s, want %s", tt.client, got, reset)
		}
		s.want(`connect deny limit "":0`)
	}
}
