package main

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"tillgate/internal/storelab"
)

// TestStoreFirewallOneArmed has the box in the network of one class, without a line of its
// own: it forwards nothing, and the answers to its own questions come in where the
// terminals do.
func TestStoreFirewallOneArmed(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl")
	for class, device := range map[string]string{"sunmi": "eth0.21", "pos": "eth0.20", "pc": "eth0.29"} {
		t.Run(class, func(t *testing.T) { oneArmed(t, class, device) })
	}
}

func oneArmed(t *testing.T, class, device string) {
	store, _ := webStore(t)
	store.OneArmed(t, class)
	if _, err := store.Internet.Run(t.Context(), "nft", witness); err != nil {
		t.Fatal(err)
	}
	store.Box.Write(t, settingsFile, fmt.Sprintf("dns: {rate: 0}\nfirewall: {interfaces: {%s: [%s]}}\n", class, device))
	applied(t, store) // before the box: also its first questions go through
	store.Box.Start(t)
	term := store.Terminal(t, class)
	byTheDocument(t, store, term, class, direct)
	for _, host := range []netip.Addr{netip.MustParseAddr("45.60.200.9"), netip.MustParseAddr("2a02:26f0:45:99::9")} {
		if got := fmt.Sprint(scan(t, term, host, 1, 1024)); got != open[class] {
			t.Errorf("of %v seem open: %s", host, got)
		}
		if _, err := askedUDP(term, netip.AddrPortFrom(host, 443), []byte("QUIC")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("QUIC to %v: %v", host, err)
		}
		sendTo(t, term, host, 1, 4000)
	}
	if found := len(set(t, store, "ports6")); found < 64 {
		t.Errorf("%d attempts by IPv6 are told of", found)
	}
	shut(t, store)
	// The witness sees a terminal that goes to the store's router by itself.
	router := netip.PrefixFrom(term.Addr4, 24).Masked().Addr().As4()
	router[3] = 254
	if _, err := term.Run(t.Context(), "ip", "route", "replace", "default", "via", netip.AddrFrom4(router).String()); err != nil {
		t.Fatal(err)
	}
	sendTo(t, term, netip.MustParseAddr("45.60.200.9"), 9, 9)
	waitFor(t, func() bool { return len(witnessed(t, store, term.Addr4.String())) > 0 })
}
