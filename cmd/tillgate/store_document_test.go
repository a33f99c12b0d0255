package main

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// What the ways of standing in a store have in common: what is documented is reached by name,
// and nothing else.

// direct are the ways of a terminal without settings whose connections are redirected: to where
// the box's DNS says, and to where its own DoH does.
var direct = []way{
	{name: "redirected", only: "-4"}, {name: "redirected6", only: "-6"},
	{name: "doh", only: "-4", doh: true}, {name: "doh6", only: "-6", doh: true},
}

// byTheDocument has a terminal of a class ask for every documented destination by name. It
// gets what the class may have, and the box calls nobody else for it.
func byTheDocument(t *testing.T, store *storelab.Store, term *storelab.Terminal, class string, ways []way) {
	t.Helper()
	for _, d := range destinations(t) {
		learn(t, term, d.host)
	}
	store.Internet.Called(t) // by others
	for _, w := range ways {
		if w.doh && !slices.Contains(rows[class], 1) {
			continue // TestStoreOwnDoH has a class that may not use dns.google
		}
		var urls []string
		want := make(map[string]string)
		for _, d := range destinations(t) {
			path := "/" + class + "/" + w.name
			u := d.url(path)
			urls = append(urls, u)
			switch {
			case w.doh && d.port == 80 && !strings.Contains(open[class], " 80 "): // redirected for none
				want[u] = refused
			case !slices.Contains(rows[class], d.row):
				want[u] = w.outcome(d.port)
			case d.host == "dns.google":
				want[u] = dnsMessage
			default:
				want[u] = "served " + d.host + " " + path
			}
		}
		if diff := cmp.Diff(want, visitByCurl(t, store, term, w, urls)); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", class, w.name, diff)
		}
	}
	checkCalls(t, store, class)
	timeByName(t, term, class)
}

// timeByName has a terminal look up the documented time servers: for a class that may have them
// they are the box, which answers.
func timeByName(t *testing.T, term *storelab.Terminal, class string) {
	t.Helper()
	names := documentedNames(t)[7]
	for _, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			addrs, gist := addresses(resolve(t, term, "udp", term.Box4, question(name, qtype)))
			may := slices.Contains(rows[class], 7)
			if led := len(addrs) == 1 && (addrs[0] == term.Box4 || addrs[0] == term.Box6); led != may || len(addrs) > 0 && !may {
				t.Errorf("%s, %s: %v, %s", class, name, addrs, gist)
			}
		}
	}
	if !slices.Contains(rows[class], 7) {
		return
	}
	request := make([]byte, 48)
	request[0] = 4<<3 | 3
	for _, box := range []netip.Addr{term.Box4, term.Box6} { // the names lead there
		if answer, err := askedUDP(term, netip.AddrPortFrom(box, 123), request); err != nil || len(answer) != 48 {
			t.Errorf("%s: the time of %v: %d bytes, %v", class, box, len(answer), err)
		}
	}
}

// sendSYNs asks each TCP port of a host for a connection, and waits for no answer.
func sendSYNs(t *testing.T, term *storelab.Terminal, host netip.Addr, first, last int) {
	t.Helper()
	err := term.Do(func() error {
		d := net.Dialer{Timeout: time.Millisecond} // what is asked for has left by then
		for port := first; port <= last; port++ {
			c, err := d.Dial("tcp", netip.AddrPortFrom(host, uint16(port)).String())
			var timeout net.Error
			switch {
			case err == nil:
				c.Close()
			case !errors.As(err, &timeout) || !timeout.Timeout():
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s to %v: %v", term.Name, host, err)
	}
}
