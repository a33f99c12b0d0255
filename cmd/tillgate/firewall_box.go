package main

import (
	"context"
	"sync"

	"tillgate/console"
	"tillgate/decision"
	"tillgate/firewall"
)

// A bell is rung for all that wait for it.
type bell struct {
	mu   sync.Mutex
	rung chan struct{} // closed by the next ring
}

func newBell() *bell { return &bell{rung: make(chan struct{})} }

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.rung)
	b.rung = make(chan struct{})
}

// firewallRules are the rules of the policy in force, see [console.Firewall]. They are made
// anew for each who asks: a service may have ended by now, or the Internet's provider given
// the store other addresses.
func (a *appliance) firewallRules(ctx context.Context, have string) (console.FirewallRules, error) {
	for {
		changed := a.policyBell.next() // before the policy is read
		cfg, err := rulesConfig(a.settings, a.clock.Trusted())
		var r firewall.Ruleset
		if err == nil {
			r, err = firewall.Rules(a.policy.set(), cfg)
		}
		if err != nil {
			a.keeper.told("", err)
			return console.FirewallRules{}, err
		}
		rules := console.FirewallRules{Hash: firewall.HashText(r.Text()), Text: string(r.Text()), Gaps: append(r.Gaps, bridgePorts(classDevices, r.Interfaces)...)}
		a.keeper.told(rules.Hash, nil)
		rules.Networks, _ = clientNetworks(r) // an interface that is not there has no connections
		if rules.Hash != have {
			return rules, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return rules, nil
		}
	}
}

// firewallRecord takes what the packet filter stopped, with the names that the client knows
// the destination by.
func (a *appliance) firewallRecord(r decision.Record) {
	if r.Dest.IsValid() {
		r.SetDestNames(a.resolver.NamesOf(r.Client, r.Dest.Addr()))
	}
	if r.Count > 1 {
		r.Until = a.clock.Now()
	}
	a.journal.Record(r)
}
