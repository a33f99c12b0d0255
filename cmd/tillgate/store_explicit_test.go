package main

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// TestStoreExplicit has terminals with DNS and proxy set by hand, in a store whose router
// drops all but the box. By these settings they get what is documented; what ignores them gets
// nowhere.
func TestStoreExplicit(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl", "chromium", "certutil")
	store, web := webStore(t)
	router := store.Router(t, "sunmi")
	if _, err := store.Internet.Run(t.Context(), "nft", witness); err != nil {
		t.Fatal(err)
	}
	store.Box.Start(t)
	strange4, strange6 := netip.MustParseAddr("45.60.200.9"), netip.MustParseAddr("2a02:26f0:45:99::9")
	for _, class := range slices.Sorted(maps.Keys(rows)) {
		term := store.Terminal(t, class)
		byTheDocument(t, store, term, class, ways(term)[:2])

		// By the proxy to other hosts.
		tried := 0
		for _, by := range []struct {
			box, host netip.Addr
			last      int
		}{{term.Box4, strange4, 1024}, {term.Box6, strange6, 64}, {term.Box4, netip.MustParseAddr("8.8.8.8"), 64}} {
			for port := 1; port <= by.last; port++ {
				tried++
				if got := connects(term, by.box, netip.AddrPortFrom(by.host, uint16(port)).String()); got != "403 http_request_denied" {
					t.Fatalf("%s, CONNECT to %v port %d: %s", class, by.host, port, got)
				}
			}
		}
		waitFor(t, func() bool { // all of them are in the log
			told := 0
			for _, r := range journal(t, store, "--class", class, "--plane", "connect", "--denied") {
				if r.Reason == "ip-literal" {
					told += max(r.Count, 1)
				}
			}
			return told == tried
		})

		// By no setting: dropped.
		if err := term.Do(func() error { return tryAll(t.Context()) }); err != nil {
			t.Error(err)
		}
		for _, host := range []netip.Addr{strange4, strange6} {
			sendSYNs(t, term, host, 1, 1024)
			sendTo(t, term, host, 1, 4000)
		}
		if reply, err := ask(term, "udp", term.Box4, question("example.com", dns.TypeA)); err != nil || reply.Rcode != dns.RcodeNameError {
			t.Errorf("%s: another name: %v, %v", class, reply, err)
		}
		// A terminal that takes the box for its router gets no further.
		if _, err := term.Run(t.Context(), "ip", "route", "replace", "default", "via", term.Box4.String()); err != nil {
			t.Fatal(err)
		}
		sendTo(t, term, strange4, 1, 100)
	}

	// A browser, by the PAC that the box serves.
	const page = "http://connectivitycheck.gstatic.com/by-pac"
	browser := store.Browser(t, store.Terminal(t, "sunmi"), "--proxy-pac-url=http://10.20.1.1:3128/proxy.pac", page)
	web.WaitFor(t, page)
	browser.Kill()
	shut(t, store)

	// Without the router's rules the witness would see what comes out.
	if _, err := router.Run(t.Context(), "nft", "flush ruleset"); err != nil {
		t.Fatal(err)
	}
	term := store.Terminal(t, "pos")
	sendTo(t, term, strange4, 9, 9)
	sendTo(t, term, strange6, 9, 9)
	waitFor(t, func() bool {
		return len(witnessed(t, store, term.Addr4.String())) > 0 && len(witnessed(t, store, term.Addr6.String())) > 0
	})
}

// connects is the box's answer to a CONNECT.
func connects(term *storelab.Terminal, box netip.Addr, to string) string {
	c, err := term.Dial(context.Background(), "tcp", netip.AddrPortFrom(box, 3128).String())
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	var no *refusal
	switch err = demand(c, to); {
	case errors.As(err, &no):
		return no.gist
	case err != nil:
		return err.Error()
	}
	return "granted"
}
