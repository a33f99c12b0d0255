package main

import (
	"strings"
	"testing"

	"tillgate/internal/storelab"
)

// TestStoreExplicitGuide stands a box in the store by the words of the guide for a proxy that is
// set by hand.
func TestStoreExplicitGuide(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "dnsmasq", "udhcpc", "curl")
	blocks := guide(t, "explicit.md")
	store, _ := webStore(t)
	router := store.Router(t, "pos")
	if _, err := store.Internet.Run(t.Context(), "nft", witness); err != nil {
		t.Fatal(err)
	}
	// The lab's router is at 10.20.0.254, and the box where the guide has the router.
	here := strings.NewReplacer("10.20.0.2", "10.20.0.1", "lan20", "eth0.20", "interface=eth0", "interface=eth0.20").Replace
	if _, err := router.Run(t.Context(), "nft", "flush ruleset\n"+here(block(t, guide(t, "one-armed.md"), "table inet terminals "))); err != nil {
		t.Fatal(err)
	}
	store.Box.Write(t, "policy.yaml", block(t, blocks, "version: 1\n"))
	store.Box.Start(t)
	conf := write(t, store, "dnsmasq.conf", here(block(t, blocks, "port=0\n")))
	store.Box.Host.Start(t, "dnsmasq", "--keep-in-foreground", "--conf-file="+conf, "--leasefile-ro", "--user=root", "--pid-file=")

	term := store.Terminal(t, "pos")

	script := write(t, store, "leased", "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\necho \"router=$router dns=$dns time=$ntpsrv pac=$wpad\"\n")
	out, err := term.Run(t.Context(), "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "10", "-T", "1", "-O", "wpad", "-s", script)
	if want := "router= dns=10.20.0.1 time=10.20.0.1 pac=http://10.20.0.1:3128/proxy.pac"; err != nil || !strings.Contains(out, want) {
		t.Fatalf("by DHCP: %v\n%s\nwant %s", err, out, want)
	}
	curl := func(args ...string) (string, error) {
		return term.Run(t.Context(), append([]string{"curl", "-4", "-sS", "-m", "30", "--cacert", store.CA.File}, args...)...)
	}
	const documented, other = "api-pos-default-v4.payxpert.com", "api.eu.sunmi.com"
	learn(t, term, documented)
	if out, err := curl("http://10.20.0.1:3128/"); err != nil || !strings.Contains(out, "<th>class<td>pos\n") {
		t.Errorf("who am I: %v %s", err, out)
	}
	if out, err := curl("http://10.20.0.1:3128/proxy.pac"); err != nil || !strings.Contains(out, "PROXY 10.20.0.1:3128") {
		t.Errorf("the automatic configuration: %v %s", err, out)
	}
	proxy := []string{"--proxy", "http://10.20.0.1:3128"}
	if out, err := curl(append(proxy, "https://"+documented+"/till")...); err != nil || out != "served "+documented+" /till" {
		t.Errorf("what is documented: %v %s", err, out)
	}
	if out, err := curl(append(proxy, "https://"+other+"/till")...); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("what is another class's: %v %s", err, out)
	}
	if err := term.Do(func() error { return tryAll(t.Context()) }); err != nil {
		t.Error(err)
	}
	shut(t, store)
	// The router is in the way, and nothing else.
	if _, err := router.Run(t.Context(), "nft", "flush ruleset"); err != nil {
		t.Fatal(err)
	}
	if err := term.Do(func() error { return tryAll(t.Context()) }); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { return len(witnessed(t, store, term.Addr4.String())) > 0 })
}
