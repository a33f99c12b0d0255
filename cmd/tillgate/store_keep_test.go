package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// keptStore is a store whose box has its rules in force.
func keptStore(t *testing.T, names ...string) (store *storelab.Store, box, keeper *storelab.Process) {
	t.Helper()
	store = storelab.New(t, storelab.Config{Names: names})
	store.Box.Write(t, "policy.yaml", storePolicy)
	store.Box.Write(t, settingsFile, "journal: {repeat_window: 1s}\n")
	box = store.Box.Start(t)
	keeper = store.Box.Keep(t)
	keeper.WaitFor(t, "rules in force")
	return store, box, keeper
}

// knock tries a TCP port, and tells whether it was refused at once.
func knock(term *storelab.Terminal, to netip.AddrPort) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := term.Dial(ctx, "tcp", to.String())
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case err != nil:
		return err.Error()
	}
	c.Close()
	return "open"
}

// blocked are the records of the firewall that the arguments choose, in a line each, sorted.
func blocked(t *testing.T, store *storelab.Store, args ...string) (lines []string) {
	t.Helper()
	for _, r := range journal(t, store, append([]string{"--plane", "firewall"}, args...)...) {
		lines = append(lines, strings.Join([]string{r.Verdict, r.Reason, r.Client, r.Class, r.Proto, r.Dest, r.Detail}, " "))
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// attemptsOf is how many attempts of a client the firewall's records stand for.
func attemptsOf(t *testing.T, store *storelab.Store, client netip.Addr) (n int) {
	t.Helper()
	for _, r := range journal(t, store, "--plane", "firewall", "--client", client.String()) {
		n += max(r.Count, 1)
	}
	return n
}

// until waits until get returns want.
func until(t *testing.T, want []string, get func() []string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if got = get(); slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("within 30 s there was not (-want +got):\n%s", cmp.Diff(want, got))
}

func hasTable(t *testing.T, store *storelab.Store) bool {
	t.Helper()
	out, err := store.Box.Run(t.Context(), "nft", "list", "tables")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(out, "table inet tillgate")
}

// TestStoreKeep has a terminal try what the rules stop. It shows in the log, with the class
// and the name that the terminal knows the address by.
func TestStoreKeep(t *testing.T) {
	t.Parallel()
	store, _, _ := keptStore(t)
	till := store.Terminal(t, "sunmi")
	resolve(t, till, "udp", till.Box4, question("dns.google", dns.TypeA))
	for _, to := range []string{"8.8.8.8:853", "23.0.0.7:22", "[2001:4860:4860::8888]:853"} {
		if got := knock(till, netip.MustParseAddrPort(to)); got != "refused" {
			t.Errorf("%s: %s", to, got)
		}
	}
	c, err := till.Dial(t.Context(), "udp", "8.8.8.8:443")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tried := 3 // the ping, and a connection to each port of TCP
	for range 7 {
		_, err := c.Write([]byte("QUIC"))
		switch {
		case err == nil:
			tried++
		case !errors.Is(err, syscall.ECONNREFUSED): // that of the one before; nothing was sent
			t.Fatal(err)
		}
	}
	err = till.Do(func() error {
		c, err := net.Dial("ip4:icmp", "8.8.4.4")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}) // a ping
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	want := []string{
		"deny firewall " + till.Addr4.String() + " sunmi icmp 8.8.4.4:0 8.8.4.4 is dns.google",
		"deny firewall " + till.Addr4.String() + " sunmi tcp 23.0.0.7:22 ",
		"deny firewall " + till.Addr4.String() + " sunmi tcp 8.8.8.8:853 8.8.8.8 is dns.google",
		"deny firewall " + till.Addr4.String() + " sunmi udp 8.8.8.8:443 8.8.8.8 is dns.google",
	}
	until(t, want, func() []string { return blocked(t, store, "--client", till.Addr4.String()) })
	waitFor(t, func() bool { return attemptsOf(t, store, till.Addr4) >= tried })
	want6 := []string{"deny firewall " + till.Addr6.String() + " sunmi tcp [2001:4860:4860::8888]:853 "}
	until(t, want6, func() []string { return blocked(t, store, "--client", till.Addr6.String()) })

	out, err := store.Box.Tillgate(t.Context(), "log", "--plane", "firewall", "--class", "sunmi")
	if err != nil || !strings.Contains(out, "8.8.8.8:853") || !strings.Contains(out, "8.8.8.8 is dns.google") {
		t.Errorf("%v\n%s", err, out)
	}
	// Nothing is told twice: what the kernel has counted is what the log says.
	if n := attemptsOf(t, store, till.Addr4); n != tried {
		t.Errorf("%d attempts in the log, not %d:\n%s", n, tried, out)
	}
}

// TestStoreKeepStays takes away what holds the rules, one after the other.
func TestStoreKeepStays(t *testing.T) {
	t.Parallel()
	store, box, keeper := keptStore(t)
	till := store.Terminal(t, "sunmi")
	away := netip.MustParseAddrPort("23.0.0.7:22")
	expect := func(what string) {
		t.Helper()
		if got := knock(till, away); got != "refused" || !hasTable(t, store) {
			t.Errorf("%s: %s", what, got)
		}
	}
	flush := func(args ...string) {
		t.Helper()
		if _, err := store.Box.Run(t.Context(), append([]string{"nft"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	expect("at first")
	for _, how := range []string{"flush ruleset", "delete table inet tillgate", "flush table inet tillgate", "add rule inet tillgate judge counter accept"} {
		const again = "in force again"
		before := strings.Count(keeper.Output(), again)
		flush(strings.Fields(how)...)
		waitFor(t, func() bool { return strings.Count(keeper.Output(), again) > before })
		expect(how)
	}
	box.Kill()
	expect("the box was killed")
	keeper.Kill()
	expect("the keeper was killed")
	knock(till, away)
	// The next one tells what came while there was none, once there is a box.
	keeper = store.Box.Keep(t)
	keeper.WaitFor(t, "msg=\"rules in force\" from="+store.Box.State)
	box = store.Box.Start(t)
	waitFor(t, func() bool {
		n := 0
		for _, r := range journal(t, store, "--plane", "firewall", "--class", "sunmi") {
			if r.Client == "" {
				n += max(r.Count, 1)
			}
		}
		return n >= 2
	})
	waitFor(t, func() bool {
		out, _ := store.Box.Tillgate(t.Context(), "status") // its status is that of all parts
		return strings.Contains(out, "the rules of the policy are in the kernel")
	})
	box.Kill()
	keeper.Kill()

	// As after a start of the machine: the keeper comes first, the box later.
	flush("flush", "ruleset")
	keeper = store.Box.Keep(t)
	keeper.WaitFor(t, "msg=\"rules in force\" from="+store.Box.State)
	expect("the keeper is back")
	knock(till, netip.MustParseAddrPort("23.0.0.8:22"))
	box = store.Box.Start(t)
	waitFor(t, func() bool {
		return slices.ContainsFunc(blocked(t, store), func(l string) bool { return strings.Contains(l, "23.0.0.8:22") })
	})

	// Another policy has other rules.
	store.Box.Write(t, "policy.yaml", strings.Replace(storePolicy, "  sunmi: {networks: [10.20.1.0/24, ", "  till: {networks: [10.20.1.0/24, ", 1))
	waitFor(t, func() bool { // before, the log knows no such class
		_, err := store.Box.Tillgate(t.Context(), "log", "--class", "till")
		return err == nil
	})
	waitFor(t, func() bool {
		knock(till, netip.MustParseAddrPort("23.0.0.9:22"))
		return len(blocked(t, store, "--class", "till")) > 0
	})
	waitFor(t, func() bool { // they are kept for the next start once they are in force
		kept, err := os.ReadFile(filepath.Join(store.Box.State, rulesFile))
		return err == nil && strings.Contains(string(kept), "judge-till")
	})
	if status := keeper.Stop(t); status != 0 {
		t.Errorf("the keeper ended with status %d", status)
	}
	expect("the keeper was stopped")
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}

// TestStoreKeepFlood has one terminal try all ports of many addresses, as fast as it can.
// Another's one attempt is in the log, and all that the first did is in its counts.
func TestStoreKeepFlood(t *testing.T) {
	t.Parallel()
	store, _, _ := keptStore(t)
	flooder, till := store.Terminal(t, "sunmi"), store.Terminal(t, "sunmi")
	sent := 0
	err := flooder.Do(func() error {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{})
		if err != nil {
			return err
		}
		defer c.Close()
		for i := range 50_000 {
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{23, 0, byte(i >> 8), byte(i)}), uint16(1024+i%60_000))
			if _, err := c.WriteToUDPAddrPort([]byte("x"), to); err == nil {
				sent++
			}
			if i == 25_000 {
				if got := knock(till, netip.MustParseAddrPort("8.8.8.8:853")); got != "refused" {
					return fmt.Errorf("another terminal: %s", got)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"deny firewall " + till.Addr4.String() + " sunmi tcp 8.8.8.8:853 "}
	until(t, want, func() []string { return blocked(t, store, "--client", till.Addr4.String()) })
	waitFor(t, func() bool { return attemptsOf(t, store, flooder.Addr4) >= sent*9/10 })
	if n := len(blocked(t, store, "--client", flooder.Addr4.String())); n > 200 {
		t.Errorf("%d records of one flooder", n)
	}
	t.Logf("%d packets sent, %d in the log", sent, attemptsOf(t, store, flooder.Addr4))
}
