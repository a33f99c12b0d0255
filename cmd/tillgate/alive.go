package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"tillgate/console"
	"tillgate/decision"
)

// newProbe returns a name that nobody else can know. The box answers for it
// by itself.
func newProbe() string { return strings.ToLower(rand.Text()) + ".tillgate.internal" }

// unprobed is the journal for the resolver: it leaves out the questions that
// the box asks itself, which are no client's.
type unprobed struct {
	*decision.Journal
	probe string
}

func (u unprobed) Repeat(k decision.Key) bool {
	return strings.TrimSuffix(k.Name, ".") == u.probe || u.Journal.Repeat(k)
}

func (u unprobed) Repeats(r decision.Record, n uint64, first, last time.Duration) {
	if strings.TrimSuffix(r.Name, ".") != u.probe {
		u.Journal.Repeats(r, n, first, last)
	}
}

// alive asks every listener and the API, the DNS as a client would. So what it says
// is true of the whole way of a query but the upstream, which the box can be without;
// of the proxy, that it takes connections. NTP is not for the box itself, the console not for the terminals: of that, as of
// all else, it says that the status comes.
func (a *appliance) alive(ctx context.Context) error {
	local, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("listing the interfaces' addresses: %w", err)
	}
	for _, l := range a.listeners() {
		for _, addr := range l.addrs {
			addr, ok := reachable(addr, local)
			if !ok {
				continue // the machine has no such address any more: no fault of the listener
			}
			if l.name == "ntp" || l.name == "console" {
				continue
			}
			if l.name != "dns" {
				if err := a.call(ctx, addr); err != nil {
					return fmt.Errorf("connecting to listen.%s at %v: %w", l.name, addr, err)
				}
				continue
			}
			for _, network := range []string{"udp", "tcp"} {
				if err := a.ask(ctx, network, addr); err != nil {
					return fmt.Errorf("asking the DNS at %v by %s: %w", addr, network, err)
				}
			}
		}
	}
	_, err = console.NewClient(a.where.socket).Status(ctx)
	return err
}

// flood is how many queries or connections of others in the meantime are sign enough
// that they are answered, when the box's own got lost among them.
const flood = 1000

// ask sends a query and takes any answer. A client over its rate gets none, but
// is counted, at the end of the same way.
func (a *appliance) ask(ctx context.Context, network string, addr netip.AddrPort) error {
	before := a.resolver.Stats()
	m := new(dns.Msg).SetQuestion(a.probe+".", dns.TypeA)
	client := dns.Client{Net: network}
	_, _, err := client.ExchangeContext(ctx, m, addr.String())
	if err == nil {
		return nil
	}
	now := a.resolver.Stats()
	if now.Dropped > before.Dropped || now.Queries > before.Queries+flood {
		return nil
	}
	return err
}

// call connects to the proxy. Among too many others the box's own connection may get
// lost, which are then taken.
func (a *appliance) call(ctx context.Context, addr netip.AddrPort) error {
	before := a.proxy.Stats()
	err := a.proxy.Probe(ctx, addr)
	if err != nil && a.proxy.Stats().Connections > before.Connections+flood {
		return nil
	}
	return err
}

// reachable is where a listener can be asked from the machine itself, if anywhere: one
// for all addresses at the loopback's, or another of the machine's. A family that is
// turned off by sysctl can be bound to, but has no address, not even the loopback's.
func reachable(addr netip.AddrPort, local []net.Addr) (netip.AddrPort, bool) {
	wanted := addr.Addr()
	if wanted.Is4() && wanted.IsLoopback() {
		return addr, true // all of 127.0.0.0/8, which no interface lists
	}
	var found netip.Addr
	for _, l := range local {
		p, err := netip.ParsePrefix(l.String())
		if err != nil {
			continue
		}
		switch a := p.Addr(); {
		case a == wanted.WithZone(""):
			return addr, true
		case !wanted.IsUnspecified(), a.Is4() != wanted.Is4():
		case a.IsLoopback():
			return netip.AddrPortFrom(a, addr.Port()), true
		case !found.IsValid() && !a.IsLinkLocalUnicast(): // whose zone is not told
			found = a
		}
	}
	return netip.AddrPortFrom(found, addr.Port()), found.IsValid()
}
