package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"tillgate/internal/storelab"
)

// edgePolicy has a network of the store that one class may reach, and a class by interface
// that is only observed.
const edgePolicy = `version: 1
classes:
  sunmi: {networks: [10.20.1.0/24, "fd10:20:1::/64"], services: [payxpert/emv]}
  pos:   {networks: [10.20.0.0/24], interfaces: [eth0.20], services: [payxpert/emv, local/scale]}
  pc:    {networks: [10.20.9.0/24, "fd10:20:9::/64"], services: [payxpert/central], mode: observe}
services:
  - id: local/scale
    reason: the scale at the till
    destinations:
      - {network: 10.20.99.0/24, ports: [tcp/9100]}
`

// TestStoreFirewallEdges has what a firewall must leave alive live, and nothing beside it.
func TestStoreFirewallEdges(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.Box.Write(t, "policy.yaml", edgePolicy)
	gateway(t, store)
	// The guests have addresses of the Internet, too: the store's provider gave it some.
	if _, err := store.Box.Run(t.Context(), "ip", "address", "add", "2a02:26f0:45:70::1/64", "dev", "eth0.99"); err != nil {
		t.Fatal(err)
	}
	store.Box.Start(t)
	applied(t, store)
	pos, pc, sunmi, guest := store.Terminal(t, "pos"), store.Terminal(t, "pc"), store.Terminal(t, "sunmi"), store.Terminal(t, "guest")
	strange4 := netip.MustParseAddr("45.60.200.9")

	// A network within the store, with its answers; and only that.
	global := netip.MustParseAddr("2a02:26f0:45:70::b")
	if _, err := guest.Run(t.Context(), "ip", "address", "add", global.String()+"/64", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	repeatAt(t, guest.Host, ":9100")
	repeatAt(t, guest.Host, ":9101")
	if err := echoes(t, pos.Host, guest.Addr4, 9100); err != nil {
		t.Errorf("a network of the policy: %v", err)
	}
	for _, no := range []struct {
		from *storelab.Terminal
		to   netip.Addr
		port uint16
	}{{pos, guest.Addr4, 9101}, {pos, guest.Addr6, 9100}, {sunmi, guest.Addr4, 9100}, {pc, guest.Addr4, 9100}, {pc, global, 9100}, {pos, sunmi.Addr4, 9100}} {
		if err := echoes(t, no.from.Host, no.to, no.port); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s to %v port %d: %v", no.from.Name, no.to, no.port, err)
		}
	}
	// What somebody within the store begins is answered.
	repeatAt(t, sunmi.Host, ":7000")
	if err := echoes(t, guest.Host, sunmi.Addr4, 7000); err != nil {
		t.Errorf("to a terminal, from the store: %v", err)
	}
	if err := echoes(t, store.Box.Host, sunmi.Addr6, 7000); err != nil {
		t.Errorf("to a terminal, from the box: %v", err)
	}

	// The box by its link-local address, from a terminal's own.
	out, err := store.Box.Run(t.Context(), "sh", "-c", `ip -6 -o addr show dev eth0.20 scope link | sed 's/.*inet6 \([^/]*\).*/\1/'`)
	if err != nil {
		t.Fatal(err)
	}
	linkLocal := netip.MustParseAddr(strings.TrimSpace(out)).WithZone("eth0")
	if reply, err := ask(pos, "udp", linkLocal, question("example.com", dns.TypeA)); err != nil || reply.Rcode != dns.RcodeNameError {
		t.Errorf("DNS by the link-local address: %v, %v", reply, err)
	}

	// DHCP, of a host without an address.
	server, err := store.Box.ListenPacket(t.Context(), "udp", ":67")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, network := range []string{"pos", "sunmi"} {
		fresh := store.Terminal(t, network)
		if _, err := fresh.Run(t.Context(), "ip", "-4", "address", "flush", "dev", "eth0"); err != nil {
			t.Fatal(err)
		}
		if err := discover(fresh); err != nil {
			t.Fatal(err)
		}
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, from, err := server.ReadFrom(make([]byte, 1500)); err != nil || from.String() != "0.0.0.0:68" {
			t.Errorf("DHCP of %s: from %v, %v", network, from, err)
		}
	}

	// Sources that are not of their interface's class.
	for _, source := range []string{"10.20.9.77", "10.20.0.77", "45.60.7.7"} {
		term := pos
		if source == "10.20.0.77" {
			term = sunmi
		}
		if _, err := term.Run(t.Context(), "ip", "address", "add", source+"/32", "dev", "eth0"); err != nil {
			t.Fatal(err)
		}
		c, err := term.ListenPacket(t.Context(), "udp", source+":0")
		if err != nil {
			t.Fatal(err)
		}
		c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(strange4, 4711)))
		c.Close()
	}
	listed := func(counter string) string {
		out, err := store.Box.Run(t.Context(), "nft", "list counter inet tillgate "+counter)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	waitFor(t, func() bool { return strings.Contains(listed("spoofed-pos"), "packets 3 ") })

	// What is observed may go out to the Internet, but not to the rest of the store.
	sendTo(t, pc, strange4, 4711, 4711)
	sendTo(t, pc, guest.Addr4, 4711, 4711)
	waitFor(t, func() bool { return len(witnessed(t, store, pc.Addr4.String())) > 0 })
	if out := listed("observed-pc"); !strings.Contains(out, "packets 1 ") {
		t.Errorf("observed: %s", out)
	}
	for _, from := range []string{"10.20.0.", "10.20.1.", "10.20.9.77", "45.60.7.7", "fd10:20::", "fd10:20:1:"} {
		if seen := witnessed(t, store, from); len(seen) > 0 {
			t.Errorf("came out: %q", seen)
		}
	}
}

// TestStoreFirewallEmbedded has a box without a policy of its own, whose one class has all
// private networks: by the interface that it is told, it leaves the others alone.
func TestStoreFirewallEmbedded(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	if err := os.Remove(store.Box.Config + "/policy.yaml"); err != nil {
		t.Fatal(err)
	}
	gateway(t, store)
	if out, err := store.Box.Tillgate(t.Context(), "firewall", "apply", "--confirm"); err == nil || !strings.Contains(err.Error(), "--interface terminal=") {
		t.Errorf("without an interface: %v\n%s", err, out)
	}
	if out, err := store.Box.Tillgate(t.Context(), "firewall", "apply", "--confirm", "--interface", "eth0.21"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	terminal, office := store.Terminal(t, "sunmi"), store.Terminal(t, "guest")
	for _, host := range []netip.Addr{netip.MustParseAddr("45.60.200.9"), netip.MustParseAddr("2a02:26f0:45:99::9")} {
		if got := scan(t, terminal, host, 8000, 8100); len(got) > 0 {
			t.Errorf("of %v seem open: %v", host, got)
		}
		sendTo(t, terminal, host, 4711, 4711)
		sendTo(t, office, host, 4711, 4711)
	}
	ssh, err := store.Box.Listen(t.Context(), "tcp", ":22")
	if err != nil {
		t.Fatal(err)
	}
	defer ssh.Close()
	if got := scan(t, office, office.Box4, 22, 22); len(got) != 1 {
		t.Error("SSH is closed to the office")
	}
	if got := scan(t, terminal, terminal.Box4, 22, 22); len(got) != 0 {
		t.Error("SSH is open to a terminal")
	}
	waitFor(t, func() bool {
		return len(witnessed(t, store, office.Addr4.String())) > 0 && len(witnessed(t, store, office.Addr6.String())) > 0
	})
	for _, from := range []string{"10.20.1.", "fd10:20:1:"} {
		if seen := witnessed(t, store, from); len(seen) > 0 {
			t.Errorf("came out: %q", seen)
		}
	}
}

// discover sends what a host without an address asks for one by.
func discover(term *storelab.Terminal) error {
	return term.Do(func() error {
		lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			if ctlErr := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "eth0") }); ctlErr != nil {
				return ctlErr
			}
			return err
		}}
		c, err := lc.ListenPacket(context.Background(), "udp4", ":68")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.WriteTo([]byte("DISCOVER"), &net.UDPAddr{IP: net.IPv4bcast, Port: 67})
		return err
	})
}

// TestStoreFirewallCommands has an admin apply, try, check and remove.
func TestStoreFirewallCommands(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.Box.Env = append(store.Box.Env, labConfirm+"=300ms")
	tillgate := func(args ...string) (string, error) {
		return store.Box.Tillgate(t.Context(), append([]string{"firewall"}, args...)...)
	}
	fails := func(want string, args ...string) {
		t.Helper()
		out, err := tillgate(args...)
		if err == nil || !strings.Contains(out+err.Error(), want) {
			t.Errorf("%v: %v, want %q\n%s", args, err, want, out)
		}
	}
	passes := func(want string, args ...string) {
		t.Helper()
		if out, err := tillgate(args...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v, want %q\n%s", args, err, want, out)
		}
	}
	passes("no rules are loaded", "remove")
	fails("no rules are loaded; tillgate firewall apply", "check")
	// Nobody confirms: what was there is put back, first nothing and then the old rules.
	fails("nobody has confirmed the rules; what was there before is put back", "apply")
	fails("no rules are loaded", "check")
	if left := routingRules(t, store); left != "" {
		t.Errorf("of the routing policy's is left:\n%s", left)
	}
	passes("in force", "apply", "--confirm")
	passes("good: ", "check")
	before := routingRules(t, store)
	store.Box.Write(t, "policy.yaml", edgePolicy)
	fails("is not what policy", "check")
	fails("put back", "apply")
	store.Box.Write(t, "policy.yaml", storePolicy)
	passes("good: ", "check")
	if after := routingRules(t, store); before == "" || after != before {
		t.Errorf("the rules of the routing policy were not put back:\n%s\n%s", before, after)
	}

	// Confirmed by another session.
	store.Box.Env = append(store.Box.Env, labConfirm+"=1m")
	waiting := store.Box.StartTillgate(t, "firewall", "apply")
	waiting.WaitFor(t, "press ENTER")
	passes("in force", "apply", "--confirm")
	waiting.Signal(t, syscall.SIGHUP)
	if status := waiting.Status(); status != statusGood {
		t.Errorf("status %d though another has confirmed", status)
	}
	passes("good: ", "check")
	// A session that is lost.
	store.Box.Write(t, "policy.yaml", edgePolicy)
	lost := store.Box.StartTillgate(t, "firewall", "apply")
	lost.WaitFor(t, "press ENTER")
	lost.Signal(t, syscall.SIGHUP)
	if status := lost.Status(); status != statusFailed || !strings.Contains(lost.Output(), "interrupted; what was there before is put back") {
		t.Errorf("status %d after the session was lost:\n%s", status, lost.Output())
	}
	// ENTER.
	out, err := store.Box.Run(t.Context(), append(append([]string{"env"}, store.Box.Env...), "sh", "-c", "echo | tillgate firewall apply")...)
	if err != nil || !strings.Contains(out, "they are kept\n") {
		t.Errorf("ENTER: %v\n%s", err, out)
	}
	passes("good: ", "check")

	// What others do to the table, and beside it.
	for _, change := range []string{"insert rule inet tillgate judge accept", "delete chain inet tillgate nothing", "add table ip mine; add chain ip mine pre { type nat hook prerouting priority -150; }"} {
		store.Box.Run(t.Context(), "nft", change)
	}
	fails("too much: ", "check")
	if _, err := store.Box.Run(t.Context(), "ip", "-6", "rule", "del", "from", "fd10:20:1::/64"); err != nil {
		t.Fatal(err)
	}
	fails("missing: ip -6 rule add pref 124 from fd10:20:1::/64 prohibit protocol 116", "check")
	fails("beside: chain pre of table ip mine translates addresses before", "check")
	passes("removed", "remove")
	if out, err := store.Box.Run(t.Context(), "nft", "list tables"); err != nil || strings.TrimSpace(out) != "table ip mine" {
		t.Errorf("after remove: %q, %v", out, err)
	}
}
