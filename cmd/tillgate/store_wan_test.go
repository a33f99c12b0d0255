package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tillgate/internal/storelab"
)

// harm notes on the Internet's end of the line what comes to where the besieging terminals
// want to get, from whomever: also what the box would send there for them. It may ask
// dns.google itself.
const harm = `table inet harm {
	set v4 { typeof ip saddr . ip daddr . meta l4proto; size 65535; flags dynamic; }
	set v6 { typeof ip6 saddr . ip6 daddr . meta l4proto; size 65535; flags dynamic; }
	chain in {
		type filter hook prerouting priority raw - 3;
		iifname != "line" accept
		ip saddr 45.60.0.2 ip daddr 8.8.8.8 tcp dport 443 accept
		ip6 saddr 2a02:26f0:45:60::2 ip6 daddr 2001:4860:4860::8888 tcp dport 443 accept
		ip daddr { 45.60.200.9, 8.8.8.8 } add @v4 { ip saddr . ip daddr . meta l4proto }
		ip6 daddr { 2a02:26f0:45:99::9, 2001:4860:4860::8888 } add @v6 { ip6 saddr . ip6 daddr . meta l4proto }
	}
}`

// A siege is a terminal of each class that tries to get out, again and again.
type siege struct {
	store  *storelab.Store
	rounds chan struct{} // is sent on after each, if somebody waits
	came   int           // of what came out, how much was told
}

// besiege begins one, which lasts until the test ends.
func besiege(t *testing.T, store *storelab.Store) *siege {
	t.Helper()
	if _, err := store.Internet.Run(t.Context(), "nft", witness+"\n"+harm); err != nil {
		t.Fatal(err)
	}
	var terms []*storelab.Terminal
	for _, class := range []string{"sunmi", "pos", "pc"} {
		terms = append(terms, store.Terminal(t, class))
	}
	s := &siege{store: store, rounds: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, term := range terms {
				if err := term.Do(func() error { return tryAll(ctx) }); err != nil {
					t.Errorf("%s: %v", term.Name, err)
					return
				}
			}
			select {
			case s.rounds <- struct{}{}:
			default:
			}
		}
	}()
	return s
}

// tryAll sends what a device that wants out would: to another host and to dns.google itself,
// by both families, connections (DNS over TLS too), datagrams (DNS, the time, QUIC), a ping.
func tryAll(ctx context.Context) error {
	d := net.Dialer{Timeout: 20 * time.Millisecond} // what is asked for has left by then
	for _, host := range []string{"45.60.200.9", "8.8.8.8", "2a02:26f0:45:99::9", "2001:4860:4860::8888"} {
		for _, port := range []string{"22", "53", "80", "443", "853", "8443"} {
			if c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, port)); err == nil {
				c.Close()
			}
		}
		for _, port := range []string{"53", "123", "443", "4711"} {
			c, err := net.Dial("udp", net.JoinHostPort(host, port))
			if err != nil {
				return err
			}
			c.Write([]byte("out"))
			c.Close()
		}
		network, ping := "ip4:icmp", "\x08\x00\xf7\xff\x00\x00\x00\x00"
		if strings.Contains(host, ":") {
			network, ping = "ip6:ipv6-icmp", "\x80\x00\x00\x00\x00\x00\x00\x00"
		}
		c, err := net.Dial(network, host)
		if err != nil {
			return err
		}
		c.Write([]byte(ping))
		c.Close()
	}
	return nil
}

// goesOn waits until every terminal has tried all again.
func (s *siege) goesOn(t *testing.T) {
	t.Helper()
	for range 3 { // the first may have begun before
		select {
		case <-s.rounds:
		case <-time.After(30 * time.Second):
			t.Fatal("the terminals do not try any more")
		}
	}
}

// holds has the siege go on, and tells what came out since it was told last.
func (s *siege) holds(t *testing.T, when string) {
	t.Helper()
	s.goesOn(t)
	if came := s.out(t); len(came) > s.came {
		t.Errorf("%s: came out: %q", when, came)
		s.came = len(came)
	}
}

// out is all that has come out.
func (s *siege) out(t *testing.T) []string {
	t.Helper()
	came := append(witnessed(t, s.store, "10.20."), witnessed(t, s.store, "fd10:20:")...)
	for _, set := range []string{"v4", "v6"} {
		list, err := s.store.Internet.Run(t.Context(), "nft", "--json", "--numeric", "list set inet harm "+set)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range elements(t, list) {
			came = append(came, e.key)
		}
	}
	return came
}

// forward says whether the box forwards packets that nobody stops.
func forward(t *testing.T, store *storelab.Store, on int) {
	t.Helper()
	if _, err := store.Box.Run(t.Context(), "sh", "-c", fmt.Sprintf("echo %d >/proc/sys/net/ipv4/ip_forward; echo %[1]d >/proc/sys/net/ipv6/conf/all/forwarding", on)); err != nil {
		t.Fatal(err)
	}
}

// tillPolicy is storePolicy with another name of the class sunmi, and so with other rules.
var tillPolicy = strings.Replace(storePolicy, "  sunmi: {networks: [10.20.1.0/24, ", "  till: {networks: [10.20.1.0/24, ", 1)

// swap puts a policy, and then its rules, in force.
func swap(t *testing.T, store *storelab.Store, keeper *storelab.Process, policy string) {
	t.Helper()
	before := strings.Count(keeper.Output(), "rules in force")
	store.Box.Write(t, "policy.yaml", policy)
	waitFor(t, func() bool { return strings.Count(keeper.Output(), "rules in force") > before })
}

// TestStoreWAN has terminals of every class try to get out of a box that forwards, while
// its parts are killed, start in whatever order, get other policies, and have a wrong clock.
func TestStoreWAN(t *testing.T) {
	t.Parallel()
	store, box, keeper := keptStore(t)
	forward(t, store, 1)
	s := besiege(t, store)
	s.holds(t, "all is well")

	box.Kill()
	s.holds(t, "the box was killed")
	box = store.Box.Start(t)
	s.holds(t, "the box is back")
	keeper.Kill()
	s.holds(t, "the keeper was killed")
	box.Kill()
	s.holds(t, "both were killed")

	// A start of the machine: the keeper is there before the network, and that before the box.
	forward(t, store, 0)
	if _, err := store.Box.Run(t.Context(), "nft", "flush ruleset"); err != nil {
		t.Fatal(err)
	}
	s.holds(t, "a machine without rules that does not forward yet")
	keeper = store.Box.Keep(t)
	keeper.WaitFor(t, "msg=\"rules in force\" from="+store.Box.State)
	forward(t, store, 1)
	s.holds(t, "the keeper is there, the box is not")
	box = store.Box.Start(t)
	s.holds(t, "the box came after the keeper")

	for range 2 {
		swap(t, store, keeper, tillPolicy)
		swap(t, store, keeper, storePolicy)
	}
	s.holds(t, "other policies")

	for _, off := range []time.Duration{-50 * year, 5 * year} {
		box.Kill()
		keeper.Kill()
		store.Box.Env = append(store.Box.Env, labClock+"="+off.String())
		keeper = store.Box.Keep(t)
		keeper.WaitFor(t, "msg=\"rules in force\" from="+store.Box.State)
		box = store.Box.Start(t)
		swap(t, store, keeper, tillPolicy)
		swap(t, store, keeper, storePolicy)
		s.holds(t, "a clock that is off by "+off.String())
	}

	for _, p := range []*storelab.Process{keeper, box} {
		if status := p.Stop(t); status != 0 {
			t.Errorf("status %d at the end", status)
		}
	}
	s.holds(t, "both were stopped")

	// Without rules it would come out, and be seen.
	if _, err := store.Box.Tillgate(t.Context(), "firewall", "remove"); err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"tcp", "udp", "icmp", "ipv6-icmp"} {
		waitFor(t, func() bool {
			s.goesOn(t)
			return slices.ContainsFunc(s.out(t), func(e string) bool { return strings.HasSuffix(e, " "+protocols[proto]) })
		})
	}
}

// protocols are the numbers that nft shows of them.
var protocols = map[string]string{"tcp": "6", "udp": "17", "icmp": "1", "ipv6-icmp": "58"}

// TestStoreWANFlush has somebody flush all rules of nft, again and again, on a box that
// forwards: while a keeper puts them back, and where none is left.
func TestStoreWANFlush(t *testing.T) {
	t.Parallel()
	store, box, keeper := keptStore(t)
	forward(t, store, 1)
	s := besiege(t, store)
	s.holds(t, "forwarding")
	flush := func() {
		t.Helper()
		if _, err := store.Box.Run(t.Context(), "nft", "flush ruleset"); err != nil {
			t.Fatal(err)
		}
	}
	const again = "in force again"
	var open time.Duration
	for range 10 {
		before := strings.Count(keeper.Output(), again)
		began := time.Now()
		flush()
		waitFor(t, func() bool { return strings.Count(keeper.Output(), again) > before })
		open = max(open, time.Since(began))
		s.holds(t, "flushed")
	}
	t.Logf("the table was gone for %v at most", open.Round(time.Millisecond))

	keeper.Kill()
	flush()
	s.holds(t, "flushed, and nobody puts the rules back")
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
	s.holds(t, "nothing runs")
	keeper = store.Box.Keep(t)
	keeper.WaitFor(t, "msg=\"rules in force\" from="+store.Box.State)
	s.holds(t, "the next keeper")
}

// fill uses up the room of a file system.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "full"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(bytes.Repeat([]byte("x"), 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestStoreWANDiskFull has the box and the keeper live on a disk without room.
func TestStoreWANDiskFull(t *testing.T) {
	t.Parallel()
	store := storelab.New(t, storelab.Config{})
	if err := unix.Mount("tmpfs", store.Box.State, "tmpfs", 0, "size=4m,mode=0777"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(store.Box.State, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	store.Box.Write(t, "policy.yaml", storePolicy)
	box, keeper := store.Box.Start(t), store.Box.Keep(t)
	keeper.WaitFor(t, "rules in force")
	waitFor(t, func() bool { _, err := os.Stat(filepath.Join(store.Box.State, rulesFile)); return err == nil })
	forward(t, store, 1)
	s := besiege(t, store)
	fill(t, store.Box.State)
	s.holds(t, "the disk is full")
	swap(t, store, keeper, tillPolicy)
	keeper.WaitFor(t, "the rules are not kept for the next start")
	s.holds(t, "other rules that can't be kept")

	box.Kill()
	keeper.Kill()
	fill(t, store.Box.State)
	s.holds(t, "both were killed")
	keeper = store.Box.Keep(t)
	keeper.WaitFor(t, "msg=\"rules in force\" from="+store.Box.State)
	s.holds(t, "the rules from before the disk was full")
	store.Box.Start(t)
	keeper.WaitFor(t, "msg=\"rules in force\" hash=")
	s.holds(t, "a box that starts on a full disk")
}
