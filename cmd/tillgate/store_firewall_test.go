package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// An element is one of a set, its key's parts with blanks between, and its counter.
type element struct {
	key     string
	packets int
}

func elements(t *testing.T, list string) (all []element) {
	t.Helper()
	var reply struct {
		Nftables []struct {
			Set struct{ Elem []json.RawMessage }
		}
	}
	if err := json.Unmarshal([]byte(list), &reply); err != nil {
		t.Fatalf("%v\n%s", err, list)
	}
	for _, o := range reply.Nftables {
		for _, raw := range o.Set.Elem {
			var e struct {
				Elem struct {
					Val     json.RawMessage
					Counter struct{ Packets int }
				}
			}
			json.Unmarshal(raw, &e)
			if e.Elem.Val != nil {
				raw = e.Elem.Val
			}
			var parts struct{ Concat []any }
			var one string
			if json.Unmarshal(raw, &one) == nil {
				parts.Concat = []any{one}
			} else if err := json.Unmarshal(raw, &parts); err != nil {
				t.Fatalf("%v in %s", err, raw)
			}
			all = append(all, element{strings.Trim(fmt.Sprint(parts.Concat), "[]"), e.Elem.Counter.Packets})
		}
	}
	return all
}

// set are the elements of a set of the box's table.
func set(t *testing.T, store *storelab.Store, name string) []element {
	t.Helper()
	out, err := store.Box.Run(t.Context(), "nft", "--json", "--numeric", "list set inet tillgate "+name)
	if err != nil {
		t.Fatal(err)
	}
	return elements(t, out)
}

// applied puts the rules in force.
func applied(t *testing.T, store *storelab.Store) (said string) {
	t.Helper()
	out, err := store.Box.Tillgate(t.Context(), "firewall", "apply", "--confirm")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// open are the ports below 1025 that a scan of any host finds open: those that are redirected
// to the box.
var open = map[string]string{"sunmi": "[53 80 443]", "pos": "[53 443]", "pc": "[53 443]"}

// scan tries to connect to ports of a host, and returns those that do not refuse at once.
func scan(t *testing.T, term *storelab.Terminal, host netip.Addr, first, last int) (open []int) {
	t.Helper()
	err := term.Do(func() error {
		d := net.Dialer{Timeout: 5 * time.Second}
		for port := first; port <= last; port++ {
			c, err := d.Dial("tcp", netip.AddrPortFrom(host, uint16(port)).String())
			switch {
			case err == nil:
				c.Close()
				open = append(open, port)
			case !errors.Is(err, syscall.ECONNREFUSED):
				return fmt.Errorf("port %d: %w", port, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s at %v: %v", term.Name, host, err)
	}
	return open
}

// sendTo sends a datagram from a terminal to each port of a host, and looks for no answer.
func sendTo(t *testing.T, term *storelab.Terminal, host netip.Addr, first, last int) {
	t.Helper()
	c, err := term.ListenPacket(t.Context(), "udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for port := first; port <= last; port++ {
		c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, uint16(port))))
	}
}

// raw sends a packet of a protocol that is neither TCP nor UDP; a ping looks like one.
func raw(t *testing.T, term *storelab.Terminal, network string, host netip.Addr, packet string) {
	t.Helper()
	err := term.Do(func() error {
		c, err := net.Dial(network, host.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.WriteString(c, packet)
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", network, err)
	}
}

// askedUDP is what became of a datagram to a port of a host: an answer, or why there is none.
func askedUDP(term *storelab.Terminal, to netip.AddrPort, packet []byte) (answer []byte, err error) {
	err = term.Do(func() error {
		c, err := net.Dial("udp", to.String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(packet); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(patience))
		answer = make([]byte, 1500)
		n, err := c.Read(answer)
		answer = answer[:n]
		return err
	})
	return answer, err
}

// TestStoreFirewall has a box that is the terminals' gateway keep them to the document:
// all of it is reached by name, and of all else not one packet comes out.
func TestStoreFirewall(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl")
	store, _ := webStore(t)
	gateway(t, store)
	store.Box.Write(t, settingsFile, "dns: {rate: 0}\nfirewall: {admin: [10.20.9.11/32]}\n")
	store.Box.Start(t)
	for _, port := range []string{":22", ":2222"} { // SSH, wherever it is
		ssh, err := store.Box.Listen(t.Context(), "tcp", port)
		if err != nil {
			t.Fatal(err)
		}
		defer ssh.Close()
	}
	terms := make(map[string]*storelab.Terminal)
	for _, class := range slices.Sorted(maps.Keys(rows)) {
		terms[class] = store.Terminal(t, class)
	}
	guest, other := store.Terminal(t, "guest"), store.Terminal(t, "pc")
	strange4, strange6 := netip.MustParseAddr("45.60.200.9"), netip.MustParseAddr("2a02:26f0:45:99::9")

	// Without rules all comes out: the witness would see it.
	old, err := terms["sunmi"].ListenPacket(t.Context(), "udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	foreign := net.UDPAddrFromAddrPort(netip.AddrPortFrom(strange4, 53))
	wire, _ := question("example.com", dns.TypeA).Pack()
	old.WriteTo(wire, foreign)
	waitFor(t, func() bool { return len(witnessed(t, store, terms["sunmi"].Addr4.String())) > 0 })

	if said := applied(t, store); !strings.Contains(said, "1 connection older than the rules forgotten") {
		t.Errorf("apply said %q", said)
	}
	if _, err := store.Internet.Run(t.Context(), "nft", "flush set inet witness v4; flush set inet witness v6"); err != nil {
		t.Fatal(err)
	}
	// The question that went out before is redirected now, from the same port.
	old.WriteTo(wire, foreign)
	old.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, from, err := old.ReadFrom(make([]byte, 1500)); err != nil || n < 12 {
		t.Errorf("an old socket: %d bytes from %v, %v", n, from, err)
	}
	if out, err := store.Box.Tillgate(t.Context(), "firewall", "check"); err != nil || !strings.HasPrefix(out, "good: ") {
		t.Errorf("check: %v\n%s", err, out)
	}

	for class, term := range terms {
		byTheDocument(t, store, term, class, direct)
		for _, host := range []netip.Addr{strange4, strange6} {
			if got := fmt.Sprint(scan(t, term, host, 1, 1024)); got != open[class] {
				t.Errorf("%s: of %v seem open: %s, want %s", class, host, got, open[class])
			}
			if class == "sunmi" && host.Is4() { // all of them once, as that takes long
				if got := scan(t, term, host, 1025, 65535); len(got) > 0 {
					t.Errorf("of %v seem open: %v", host, got)
				}
			}
			// The kernel sends a host few ICMP errors a second, so this comes before the flood.
			if _, err := askedUDP(term, netip.AddrPortFrom(host, 443), []byte("QUIC")); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: QUIC to %v: %v", class, host, err)
			}
			sendTo(t, term, host, 1, 4000)
			reply, err := ask(term, "udp", host, question("example.com", dns.TypeA))
			if err != nil || reply.Rcode != dns.RcodeNameError {
				t.Errorf("%s: another DNS server, %v: %v, %v", class, host, reply, err)
			}
		}
		raw(t, term, "ip4:icmp", strange4, "\x08\x00\xf7\xff\x00\x00\x00\x00")
		raw(t, term, "ip6:ipv6-icmp", strange6, "\x80\x00\x00\x00\x00\x00\x00\x00")
		raw(t, term, "ip4:47", strange4, "\x00\x00\x08\x00")
		// A neighbour's question is let through on the link only.
		raw(t, term, "ip6:ipv6-icmp", strange6, "\x87\x00\x00\x00\x00\x00\x00\x00"+string(strange6.AsSlice()))

		// Of the box: its services, and nothing else.
		for port, want := range map[int]string{22: "[]", 2222: "[]", 53: "[53]", 80: "[80]", 443: "[443]", 3128: "[3128]", 3129: "[]", 8053: "[]"} {
			if class == "pc" && (port == 22 || port == 2222) {
				want = fmt.Sprintf("[%d]", port)
			}
			for _, box := range []netip.Addr{term.Box4, term.Box6} {
				if (port == 22 || port == 2222) && box.Is6() {
					want = "[]" // the admin's network is of IPv4
				}
				if got := fmt.Sprint(scan(t, term, box, port, port)); got != want {
					t.Errorf("%s: port %d of the box at %v: %s, want %s", class, port, box, got, want)
				}
			}
		}
	}
	for _, port := range []int{22, 2222} {
		if got := scan(t, other, other.Box4, port, port); len(got) > 0 {
			t.Errorf("SSH at %v is open to a PC that is no admin's", got)
		}
	}
	if _, err := store.Internet.Dial(t.Context(), "tcp", netip.AddrPortFrom(store.Box.Addr4, 22).String()); err == nil {
		t.Error("SSH is open to the Internet")
	}

	// The time, of whatever server.
	request := make([]byte, 48)
	request[0] = 4<<3 | 3
	if answer, err := askedUDP(terms["sunmi"], netip.AddrPortFrom(strange4, 123), request); err != nil || len(answer) != 48 {
		t.Errorf("the time of another server: %d bytes, %v", len(answer), err)
	}

	// Each attempt is counted, and each packet of it.
	quiet, loud := store.Terminal(t, "sunmi"), store.Terminal(t, "sunmi") // which have all of their budgets
	for range 7 {
		sendTo(t, quiet, strange4, 4711, 4712)
	}
	sendTo(t, loud, strange4, 1, 4000)
	packets := func(name string, of *storelab.Terminal) string { // of each element of a client
		var n []int
		for _, e := range set(t, store, name) {
			if client, _, _ := strings.Cut(e.key, " "); client == of.Addr4.String() {
				n = append(n, e.packets)
			}
		}
		return fmt.Sprint(n)
	}
	var counts string
	defer func() {
		if t.Failed() {
			t.Log("counted: ", counts)
		}
	}()
	waitFor(t, func() bool { // what was sent may be on its way for a while
		counts = packets("ports4", quiet) + packets("sources4", quiet) + packets("sources4", loud)
		return counts == "[7 7][14][3998]" // ports 53 and 123 are the box's
	})
	if of := len(strings.Fields(packets("ports4", loud))); of < 64 || of > 64+60+5 {
		t.Errorf("%d elements of a source that has tried thousands", of)
	}

	// A guest is in no class, and shows that the witness sees what comes out.
	sendTo(t, guest, strange4, 4711, 4711)
	sendTo(t, guest, strange6, 4711, 4711)
	waitFor(t, func() bool {
		return len(witnessed(t, store, guest.Addr4.String())) > 0 && len(witnessed(t, store, guest.Addr6.String())) > 0
	})
	shut(t, store)
}
