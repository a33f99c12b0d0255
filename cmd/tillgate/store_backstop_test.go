package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// repeatAt serves a port of a host until the test ends.
func repeatAt(t *testing.T, h *storelab.Host, address string) {
	t.Helper()
	l, err := h.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			io.Copy(c, c)
			c.Close()
		}
	}()
}

// echoes tries whether a host reaches what repeatAt serves.
func echoes(t *testing.T, from *storelab.Host, to netip.Addr, port uint16) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(to, port).String())
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "hello")
	_, err = io.ReadFull(c, make([]byte, 5))
	return err
}

// backPolicy has networks of the store to be reached: in an enforced class, which is known
// by its networks, and in none.
const backPolicy = `version: 1
classes:
  sunmi: {networks: [10.20.1.0/24, "fd10:20:1::/64"], services: [payxpert/emv, local/scale]}
  pos:   {networks: [10.20.0.0/24], interfaces: [eth0.20], services: [payxpert/emv, local/scale]}
  pc:    {networks: [10.20.9.0/24, "fd10:20:9::/64"], services: [payxpert/central]}
services:
  - id: local/scale
    reason: the scale at the till
    destinations:
      - {network: 10.20.99.0/24, ports: [tcp/9100]}
      - {network: "fd10:20:99::/64", ports: [tcp/9100]}
      - {network: 10.20.9.0/24, ports: [tcp/9100]}
      - {network: "fd10:20:9::/64", ports: [tcp/9100]}
      - {network: 10.20.0.0/24, ports: [tcp/9100]}
`

// routingRules are the box's rules of the routing policy that are tillgate's.
func routingRules(t *testing.T, store *storelab.Store) string {
	t.Helper()
	out, err := store.Box.Run(t.Context(), "sh", "-c", "{ ip -4 rule; ip -6 rule; } | grep 'proto 116' || true")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestStoreBackstop has what the rules let through go its way beside the rules of the
// routing policy, however strictly the box looks back at senders; and these stay.
func TestStoreBackstop(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.Box.Write(t, "policy.yaml", backPolicy)
	gateway(t, store)
	box := store.Box.Start(t)
	keeper := store.Box.Keep(t)
	keeper.WaitFor(t, "rules in force")
	sunmi, pos, pc, guest := store.Terminal(t, "sunmi"), store.Terminal(t, "pos"), store.Terminal(t, "pc"), store.Terminal(t, "guest")
	for _, h := range []*storelab.Terminal{sunmi, pos, pc, guest} {
		repeatAt(t, h.Host, ":9100")
	}
	type try struct {
		from *storelab.Terminal
		to   netip.Addr
	}
	may := []try{
		{sunmi, pc.Addr4}, {sunmi, pc.Addr6}, {sunmi, guest.Addr4}, {sunmi, guest.Addr6}, {sunmi, pos.Addr4},
		{pos, pc.Addr4}, {pos, pc.Addr6}, {pos, guest.Addr4}, {pos, guest.Addr6},
		// What somebody within the store begins is answered.
		{guest, pos.Addr4}, {guest, pos.Addr6}, {guest, sunmi.Addr4}, {guest, sunmi.Addr6},
	}
	mayNot := []try{{sunmi, pos.Addr6}, {pc, sunmi.Addr4}, {pc, pos.Addr6}, {pc, guest.Addr4}}
	for strict := range 3 {
		if _, err := store.Box.Run(t.Context(), "sh", "-c", fmt.Sprintf("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo %d >$f; done", strict)); err != nil {
			t.Fatal(err)
		}
		for _, w := range may {
			if err := echoes(t, w.from.Host, w.to, 9100); err != nil {
				t.Errorf("rp_filter %d: %s to %v: %v", strict, w.from.Name, w.to, err)
			}
		}
		for _, w := range mayNot {
			if err := echoes(t, w.from.Host, w.to, 9100); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("rp_filter %d: %s to %v: %v", strict, w.from.Name, w.to, err)
			}
		}
		resolve(t, pos, "udp", pos.Box4, question("dns.google", dns.TypeA))
		resolve(t, sunmi, "udp", sunmi.Box6, question("dns.google", dns.TypeA))
	}

	// Somebody deletes and adds rules.
	all := routingRules(t, store)
	if strings.Count(all, "prohibit") != 7 {
		t.Errorf("the rules of the routing policy:\n%s", all)
	}
	for _, change := range []string{"-4 rule del pref 54", "-6 rule del pref 199", "-4 rule add pref 40 protocol 116 lookup main", "-4 rule flush protocol 116"} {
		if _, err := store.Box.Run(t.Context(), append([]string{"ip"}, strings.Fields(change)...)...); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return routingRules(t, store) == all })
	}

	// Without the table, and without a keeper: the box is there for all, and goes to the
	// Internet itself; by the way of the rules nobody else does.
	keeper.Kill()
	if _, err := store.Box.Run(t.Context(), "nft", "flush ruleset"); err != nil {
		t.Fatal(err)
	}
	resolve(t, pos, "udp", pos.Box4, question("api-pos-default-v4.payxpert.com", dns.TypeA))
	for to, want := range map[string]error{"45.60.200.9": syscall.EHOSTUNREACH, "192.168.77.7": syscall.EHOSTUNREACH,
		"2a02:26f0:45:99::9": syscall.EACCES, "fd77::7": syscall.EACCES} {
		if err := echoes(t, sunmi.Host, netip.MustParseAddr(to), 443); !errors.Is(err, want) {
			t.Errorf("to %s, by way of the Internet: %v", to, err)
		}
	}
	if err := echoes(t, sunmi.Host, guest.Addr4, 9100); err != nil {
		t.Errorf("to a network of the policy: %v", err)
	}
	if out, err := store.Box.Tillgate(t.Context(), "firewall", "check"); err == nil || !strings.Contains(out, "only the routing policy keeps the classes from the Internet") {
		t.Errorf("check: %v\n%s", err, out)
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
	if out, err := store.Box.Tillgate(t.Context(), "firewall", "remove"); err != nil ||
		!strings.Contains(out, "the rules are removed") || !strings.Contains(out, "puts them back, at once if it runs and else at its start, from "+store.Box.State) {
		t.Errorf("remove: %v\n%s", err, out)
	}
	if left := routingRules(t, store); left != "" {
		t.Errorf("left of the routing policy's:\n%s", left)
	}
}
