package main

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// decisionsOf are the proxy's decisions on what a terminal asked for by IPv4 and IPv6,
// sorted: plane, verdict, reason and name.
func decisionsOf(t *testing.T, store *storelab.Store, term *storelab.Terminal) (all []string) {
	t.Helper()
	for _, r := range journal(t, store) {
		if r.Event == "" && r.Plane != "dns" && (r.Client == term.Addr4.String() || r.Client == term.Addr6.String()) {
			all = append(all, strings.Join([]string{r.Plane, r.Verdict, r.Reason, r.Name}, " "))
		}
	}
	slices.Sort(all)
	return all
}

// TestStoreOldClients has clients that send no SNI, as old ones of MQTT do, connect to a
// host that is allowed without. It is known which host is meant where the box itself gave
// this terminal the address.
func TestStoreOldClients(t *testing.T) {
	t.Parallel()
	store := labStore(t, "mqtt.example", "strict.lab.example")
	store.Box.Write(t, "policy.yaml", strings.Replace(labPolicy, "    destinations:\n",
		"    destinations:\n      - {host: mqtt.example, ports: [tcp/443], sni: optional}\n", 1))
	for _, host := range []string{"mqtt.example", "strict.lab.example"} {
		serveTCP(t, store, host, func(c net.Conn) { io.Copy(c, c) })
	}
	box := store.Box.Start(t)
	till, other := store.Terminal(t, "pos"), store.Terminal(t, "pos")
	mqtt4, mqtt6 := store.Internet.Addr(t, "mqtt.example")
	strict4, _ := store.Internet.Addr(t, "strict.lab.example")
	// A terminal is known by the address that it asks from: so it asks by both families.
	resolve(t, till, "udp", till.Box4, question("mqtt.example", dns.TypeA))
	resolve(t, till, "udp", till.Box6, question("mqtt.example", dns.TypeAAAA))
	resolve(t, till, "udp", till.Box4, question("strict.lab.example", dns.TypeA))
	nameless := helloFor(t, "")
	for _, tt := range []struct {
		what string
		term *storelab.Terminal
		way  way
		host string
		want string
	}{
		{"CONNECT", till, way{proxy: netip.AddrPortFrom(till.Box4, 3128)}, "mqtt.example", echoed},
		{"redirected", till, way{addr: mqtt4}, "", echoed},
		{"redirected, IPv6", till, way{addr: mqtt6}, "", echoed},
		{"CONNECT to a host that must be named", till, way{proxy: netip.AddrPortFrom(till.Box4, 3128)}, "strict.lab.example", alerted},
		{"redirected from one", till, way{addr: strict4}, "", alerted},
		{"from an address that the box never gave out", till, way{addr: netip.MustParseAddr("23.0.0.7")}, "", alerted},
		{"from one that it gave another terminal", other, way{addr: mqtt4}, "", alerted},
	} {
		if got := opening(tt.term, tt.way, tt.host, nameless); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
	for term, want := range map[*storelab.Terminal][]string{
		till: {
			"connect allow local-service mqtt.example", "connect deny no-sni strict.lab.example",
			"tls allow local-service mqtt.example", "tls allow local-service mqtt.example",
			"tls deny no-sni ", "tls deny no-sni ",
		},
		other: {"tls deny no-sni "},
	} {
		if diff := cmp.Diff(want, decisionsOf(t, store, term)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", term.Name, diff)
		}
	}
}

// TestStoreObservedProxy has terminals of a class that is only observed go where they may not.
func TestStoreObservedProxy(t *testing.T) {
	t.Parallel()
	store := labStore(t, "free.example", "page.example")
	store.Box.Write(t, "policy.yaml", strings.Replace(labPolicy, "services: [payxpert/central]", "services: [payxpert/central], mode: observe", 1))
	serveTCP(t, store, "free.example", func(c net.Conn) { io.Copy(c, c) })
	serveHTTP(t, store, "page.example", 80, http.HandlerFunc(served))
	store.Upstream.Serve(t, "inside.example. 300 A 10.20.0.11")
	box := store.Box.Start(t)
	pc := store.Terminal(t, "pc")
	learn(t, pc, "free.example", "page.example", "inside.example")
	free4, free6 := store.Internet.Addr(t, "free.example")
	explicit := way{name: "explicit", proxy: netip.AddrPortFrom(pc.Box4, 3128)}
	elsewhere := way{name: "elsewhere", addr: netip.MustParseAddr("23.0.0.7")}
	hello := helloFor(t, "free.example")
	var want []string
	for _, tt := range []struct {
		way     way
		host    string
		opening []byte
		want    string
		record  string
	}{
		{explicit, "free.example", hello, echoed, "connect would-deny not-documented free.example"},
		{elsewhere, "", hello, echoed, "tls would-deny not-documented free.example"},
		// Without a name it goes where the client wanted to.
		{way{addr: free4}, "", helloFor(t, ""), echoed, "tls would-deny no-sni "},
		{way{addr: free6}, "", []byte("SSH-2.0-client\r\n"), echoed, "tls would-deny not-tls "},
		// The guards are on all the same.
		{way{addr: netip.MustParseAddr("10.20.0.11")}, "", helloFor(t, ""), alerted, "tls deny private-address "},
		{explicit, "free.example", helloFor(t, "page.example"), alerted, "connect deny sni-mismatch free.example"},
		{explicit, "inside.example", hello, "403 destination_ip_prohibited", "connect deny private-address inside.example"},
	} {
		want = append(want, tt.record)
		if got := opening(pc, tt.way, tt.host, tt.opening); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.record, got, tt.want)
		}
	}
	for _, w := range []way{explicit, elsewhere} {
		want = append(want, "http would-deny not-documented page.example")
		c := goClient(store, pc, w)
		if got := fetch(c, "http://page.example/"); got != "served" {
			t.Errorf("HTTP %s: %s", w.name, got)
		}
		c.CloseIdleConnections()
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, decisionsOf(t, store, pc)); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}
