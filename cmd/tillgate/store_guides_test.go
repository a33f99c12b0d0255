package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// guide returns what is to be typed or written by a guide for standing in a store: its
// blocks.
func guide(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "packaging", "guides", name))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// block is the one that begins like this.
func block(t *testing.T, blocks []string, begin string) string {
	t.Helper()
	i := slices.IndexFunc(blocks, func(b string) bool { return strings.HasPrefix(b, begin) })
	if i < 0 {
		t.Fatalf("the guide has no block that begins with %q", begin)
	}
	return blocks[i]
}

// write makes a file of a store.
func write(t *testing.T, store *storelab.Store, name, text string) string {
	t.Helper()
	file := filepath.Join(store.Dir(), name)
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// leased takes the address that a DHCP client was given, and tells what it was told.
const leased = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface" && ip route replace default via "$router"
echo "router $router dns $dns time $ntpsrv"
`

// TestStoreGuides stands a box in the store by the words of the guides.
func TestStoreGuides(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "dnsmasq", "udhcpc", "curl")
	for _, tt := range []struct{ file, device, router string }{
		{"raspberry-pi.md", "", "10.20.0.1"},
		{"one-armed.md", "eth0", "10.20.0.2"},
		{"openwrt.md", "br-pos", ""},
	} {
		t.Run(tt.file, func(t *testing.T) { standBy(t, tt.file, tt.device, tt.router) })
	}
}

// standBy has a terminal of class pos try what the guide promises. Its interface on the
// box is called device there; where the guide has a file of dnsmasq's, it names router.
func standBy(t *testing.T, file, device, router string) {
	blocks := guide(t, file)
	store, _ := webStore(t)
	ip := func(h *storelab.Host, args ...string) {
		t.Helper()
		if _, err := h.Run(t.Context(), append([]string{"ip"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	term := store.Terminal(t, "pos")
	box4 := term.Box4
	if device != "" {
		ip(store.Box.Host, "link", "set", "eth0.20", "down")
		ip(store.Box.Host, "link", "set", "eth0.20", "name", device)
		ip(store.Box.Host, "link", "set", device, "up")
	}
	if router != "" && router != box4.String() { // the box is not at .1
		ip(store.Box.Host, "address", "delete", box4.String()+"/24", "dev", device)
		ip(store.Box.Host, "address", "add", router+"/24", "dev", device)
		box4 = netip.MustParseAddr(router)
	}
	store.Box.Write(t, "policy.yaml", block(t, blocks, "version: 1\n"))
	store.Box.Write(t, settingsFile, block(t, blocks, "firewall: "))
	block(t, blocks, "tillgate firewall print\ntillgate firewall apply\n")
	applied(t, store)
	store.Box.Start(t)
	store.Box.Keep(t).WaitFor(t, "rules in force")

	if router != "" {
		conf := write(t, store, "dnsmasq.conf", block(t, blocks, "port=0\n"))
		store.Box.Host.Start(t, "dnsmasq", "--keep-in-foreground", "--conf-file="+conf, "--leasefile-ro", "--user=root", "--pid-file=")
		ip(term.Host, "address", "flush", "dev", "eth0", "scope", "global")
		script := write(t, store, "leased", leased)
		out, err := term.Run(t.Context(), "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "10", "-T", "1", "-s", script)
		if want := "router " + router + " dns " + router + " time " + router; err != nil || !strings.Contains(out, want) {
			t.Fatalf("by DHCP: %v\n%s\nwant %s", err, out, want)
		}
	} else {
		ip(term.Host, "route", "replace", "default", "via", box4.String())
	}

	// What is promised: the box tells who one is, what is documented is served, and all else
	// is refused at once.
	curl := func(args ...string) (string, error) {
		return term.Run(t.Context(), append([]string{"curl", "-4", "-sS", "-m", "10", "--cacert", store.CA.File}, args...)...)
	}
	const documented, other = "api-pos-default-v4.payxpert.com", "api.eu.sunmi.com"
	a4, _ := store.Internet.Addr(t, documented)
	o4, _ := store.Internet.Addr(t, other)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} { // so that the box knows it, as in learn
		resolve(t, term, "udp", box4, question(documented, qtype))
	}
	at := func(host, addr string) []string { return []string{"--resolve", host + ":443:" + addr} }
	page, err := curl("--resolve", "tillgate.internal:80:"+box4.String(), "http://tillgate.internal/")
	if err != nil || !strings.Contains(page, "<th>class<td>pos\n") {
		t.Errorf("who am I: %v %s", err, page)
	}
	if out, err := curl(append(at(documented, a4.String()), "https://"+documented+"/till")...); err != nil || !strings.Contains(out, documented) {
		t.Errorf("what is documented: %v %s", err, out)
	}
	if out, err := curl(append(at(other, o4.String()), "https://"+other+"/till")...); err == nil {
		t.Errorf("what is another class's was served: %s", out)
	}
	for _, to := range []string{a4.String() + ":22", box4.String() + ":22", box4.String() + ":3129", "10.20.9.1:22"} {
		if c, err := term.Dial(t.Context(), "tcp", to); err == nil {
			c.Close()
			t.Errorf("%s answers", to)
		}
	}
}

// TestStoreRouter has the store's router of the one-armed guide let out the box alone.
func TestStoreRouter(t *testing.T) {
	t.Parallel()
	store := storelab.New(t, storelab.Config{})
	rules := block(t, guide(t, "one-armed.md"), "table inet terminals ")
	// The lab's box plays the router here, and a terminal the box of the guide.
	rules = strings.ReplaceAll(rules, "lan20", "eth0.20")
	box, term := store.Terminal(t, "pos"), store.Terminal(t, "pos")
	rules = strings.ReplaceAll(rules, "10.20.0.2", box.Addr4.String())
	for _, argv := range [][]string{{"nft", rules}, {"sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"}} {
		if _, err := store.Box.Run(t.Context(), argv...); err != nil {
			t.Fatal(err)
		}
	}
	google := netip.AddrPortFrom(store.Upstream.Addrs[0], 443).String()
	c, err := box.Dial(t.Context(), "tcp", google)
	if err != nil {
		t.Fatalf("the box does not get out: %v", err)
	}
	c.Close()
	store.Internet.Called(t)
	if _, err := term.Run(t.Context(), "curl", "-sS", "-m", "1", "-k", "https://"+google); err == nil {
		t.Error("a terminal gets out")
	}
	for to := range store.Internet.Called(t) {
		t.Errorf("%v was called", to) // after the box
	}
}
