package main

import (
	"strings"
	"testing"

	"tillgate/internal/storelab"
)

// witness notes on the Internet's end of the line what comes from anybody but the box.
const witness = `table inet witness {
	set v4 { typeof ip saddr . ip daddr . meta l4proto; size 65535; flags dynamic; }
	set v6 { typeof ip6 saddr . ip6 daddr . meta l4proto; size 65535; flags dynamic; }
	chain in {
		type filter hook prerouting priority raw - 2;
		iifname != { "line", "uplink" } accept
		ip6 daddr ff02::/16 accept
		ip saddr != { 45.60.0.2, 10.20.0.1, 10.20.1.1, 10.20.9.1 } add @v4 { ip saddr . ip daddr . meta l4proto }
		ip6 saddr != { 2a02:26f0:45:60::2, fd10:20::1, fd10:20:1::1, fd10:20:9::1, fe80::/10, :: } add @v6 { ip6 saddr . ip6 daddr . meta l4proto }
	}
}`

// tracked is a table of the host's own, which has the kernel track connections.
const tracked = `table inet host {
	chain forward {
		type filter hook forward priority filter;
		ct state established,related accept
	}
}`

// gateway makes the box forward what nobody stops, and lays the witness: the way out and
// the way back are there.
func gateway(t *testing.T, store *storelab.Store) {
	t.Helper()
	if _, err := store.Box.Run(t.Context(), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Box.Run(t.Context(), "nft", tracked); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Internet.Run(t.Context(), "nft", witness); err != nil {
		t.Fatal(err)
	}
}

// witnessed is what the witness has seen come from a network, by its first digits.
func witnessed(t *testing.T, store *storelab.Store, from string) (seen []string) {
	t.Helper()
	for _, set := range []string{"v4", "v6"} {
		out, err := store.Internet.Run(t.Context(), "nft", "--json", "--numeric", "list set inet witness "+set)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range elements(t, out) {
			if strings.HasPrefix(e.key, from) {
				seen = append(seen, e.key)
			}
		}
	}
	return seen
}

// shut is a witness's view of the classes: not one packet of theirs came out.
func shut(t *testing.T, store *storelab.Store) {
	t.Helper()
	for _, from := range []string{"10.20.0.", "10.20.1.", "10.20.9.", "fd10:20::", "fd10:20:1:", "fd10:20:9:"} {
		if seen := witnessed(t, store, from); len(seen) > 0 {
			t.Errorf("came out: %q", seen)
		}
	}
}
