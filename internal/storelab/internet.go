package storelab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"tillgate/policy"
)

// Internet is the one host that carries every address of the outside. Tests
// start what answers there: web servers, time servers, hostile ones.
type Internet struct {
	*Host
	addrs map[string][2]netip.Addr
}

// The addresses look like any on the Internet, since the box refuses those that
// are set aside for examples. Nothing leaves the machine: no way leads out of
// these namespaces.
var (
	outside4 = netip.MustParseAddr("45.60.1.1")
	outside6 = netip.MustParseAddr("2a02:26f0:45:61::1")
)

// google holds the addresses that the box has pinned for dns.google.
var google = []netip.Addr{
	netip.MustParseAddr("8.8.8.8"),
	netip.MustParseAddr("8.8.4.4"),
	netip.MustParseAddr("2001:4860:4860::8888"),
	netip.MustParseAddr("2001:4860:4860::8844"),
}

// Names returns a name for every destination that is a host: of a wildcard, one
// that it matches.
func Names(rules []*policy.Rule) []string {
	var names []string
	for _, r := range rules {
		if r.Host != "" {
			names = append(names, strings.Replace(r.Host, "*", "any", 1))
		}
	}
	return names
}

// dark drops what goes to, or comes from, the addresses of its sets.
const dark = `table inet dark {
	set v4 { type ipv4_addr; }
	set v6 { type ipv6_addr; }
	chain in {
		type filter hook prerouting priority raw;
		ip daddr @v4 drop
		ip6 daddr @v6 drop
	}
	chain out {
		type filter hook output priority raw;
		ip saddr @v4 drop
		ip6 saddr @v6 drop
	}
}`

// newInternet gives each name an address of each family, and makes the host have them.
func newInternet(h *Host, names []string) (*Internet, error) {
	in := &Internet{Host: h, addrs: make(map[string][2]netip.Addr)}
	var owned []netip.Prefix
	own := func(a netip.Addr) { owned = append(owned, netip.PrefixFrom(a, a.BitLen())) }
	for _, a := range google {
		own(a)
	}
	a4, a6 := outside4, outside6
	for _, name := range names {
		if _, twice := in.addrs[name]; twice || name == "dns.google" {
			continue
		}
		in.addrs[name] = [2]netip.Addr{a4, a6}
		own(a4)
		own(a6)
		a4, a6 = a4.Next(), a6.Next()
	}
	if err := h.address("lo", owned...); err != nil {
		return nil, err
	}
	if _, err := h.Run(context.Background(), "nft", dark+"\n"+called); err != nil {
		return nil, err
	}
	in.addrs["dns.google"] = [2]netip.Addr{google[0], google[2]}
	return in, nil
}

// Addr returns the addresses of a name that the store was made with.
func (in *Internet) Addr(t TB, name string) (a4, a6 netip.Addr) {
	t.Helper()
	a, ok := in.addrs[name]
	if !ok {
		t.Fatalf("the store was made without the name %s", name)
	}
	return a[0], a[1]
}

// BlackHole drops every packet from and to the addresses; the sender hears
// nothing. Connections that stand are cut off as well.
func (in *Internet) BlackHole(t TB, addrs ...netip.Addr) {
	t.Helper()
	var rules strings.Builder
	for _, a := range addrs {
		set := "v4"
		if a.Is6() {
			set = "v6"
		}
		fmt.Fprintf(&rules, "add element inet dark %s { %s }\n", set, a)
	}
	in.nft(t, rules.String())
}

// Heal ends every black hole.
func (in *Internet) Heal(t TB) {
	t.Helper()
	in.nft(t, "flush set inet dark v4; flush set inet dark v6")
}

func (in *Internet) nft(t TB, rules string) {
	t.Helper()
	if _, err := in.Run(context.Background(), "nft", rules); err != nil {
		t.Fatalf("%v", err)
	}
}
