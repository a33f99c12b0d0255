package main

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// floodPorts sends to all ports of a host by both families, and counts what it has sent.
func floodPorts(sent *atomic.Int64, stop *atomic.Bool) error {
	for _, network := range []string{"udp4", "udp6"} {
		host := netip.MustParseAddr("45.60.200.9")
		if network == "udp6" {
			host = netip.MustParseAddr("2a02:26f0:45:99::9")
		}
		c, err := net.ListenUDP(network, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		for i := 0; i < 50_000 && !stop.Load(); i++ {
			_, err := c.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(host, uint16(1024+i)))
			switch {
			case err == nil:
				sent.Add(1)
			case !errors.Is(err, syscall.ENOBUFS):
				return err
			}
		}
	}
	return nil
}

// TestStoreFlood has one terminal send to all ports of a host as fast as it can. Others are
// served as before, what they try is in the log by its name, and the flood is in the log's
// counts.
func TestStoreFlood(t *testing.T) {
	t.Parallel()
	store := storelab.New(t, storelab.Config{Names: []string{"page.lab.example"}})
	store.Box.Write(t, "policy.yaml", storePolicy)
	store.Box.Write(t, settingsFile, "dns: {rate: 0}\njournal: {repeat_window: 1s}\n")
	serveHTTP(t, store, "page.lab.example", 443, http.HandlerFunc(served))
	store.Box.Start(t)
	keeper := store.Box.Keep(t)
	keeper.WaitFor(t, "rules in force")
	flooder, other := store.Terminal(t, "pos"), store.Terminal(t, "pos")
	learn(t, other, "page.lab.example")
	dnsGoogle := netip.MustParseAddrPort("8.8.8.8:853")

	var sent atomic.Int64
	var stop atomic.Bool
	flooded := make(chan error, 1)
	go func() { flooded <- flooder.Do(func() error { return floodPorts(&sent, &stop) }) }()
	t.Cleanup(func() { stop.Store(true) })
	leave := patron(t, store, other, "page.lab.example")
	asked := 0
	tried := false
	for done := false; !done; {
		select {
		case err := <-flooded:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		for name, want := range map[string]int{"page.lab.example": dns.RcodeSuccess, "example.com": dns.RcodeNameError} {
			reply, err := ask(other, "udp", other.Box4, question(name, dns.TypeA))
			if err != nil || reply.Rcode != want {
				t.Fatalf("%s after %d answers: %v, %v", name, asked, reply, err)
			}
			asked++
		}
		if !tried && sent.Load() > 10_000 {
			tried = true
			if got := knock(other, dnsGoogle); got != "refused" {
				t.Errorf("DNS over TLS: %s", got)
			}
		}
	}
	t.Logf("%d visits and %d answers meanwhile", leave(), asked)

	want := []string{"deny firewall " + other.Addr4.String() + " pos tcp 8.8.8.8:853 "}
	until(t, want, func() []string { return blocked(t, store, "--client", other.Addr4.String()) })
	if n := attemptsOf(t, store, other.Addr4); n != 1 {
		t.Errorf("%d attempts of the other, which has made one", n)
	}
	told := func() (n int) {
		for _, r := range journal(t, store, "--plane", "firewall", "--class", "pos") {
			n += max(r.Count, 1)
		}
		return n
	}
	all := int(sent.Load()) + 1
	waitFor(t, func() bool { return told() >= all*9/10 }) // the kernel may drop some on their way
	if n := told(); n > all || all < 90_000 {
		t.Errorf("%d in the log, of %d", n, all)
	}
	t.Logf("%d packets, %d in the log", all, told())
	for _, client := range []netip.Addr{flooder.Addr4, flooder.Addr6} {
		lines := blocked(t, store, "--client", client.String())
		if len(lines) > 200 || !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, " pos udp ") }) {
			t.Errorf("%d kinds of records of %v", len(lines), client)
		}
	}
}
