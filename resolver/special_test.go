package resolver

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"tillgate/policy"
)

// What is told of a name must be what is answered, also where the policy is not asked.
func TestSpecialAsExplained(t *testing.T) {
	const stranger = "10.9.9.9"
	b := newBench(t)
	for _, zone := range []string{boxName, "localhost", "resolver.arpa", "home.arpa", "local", "onion", "alt", "invalid", "test",
		"internal", "arpa", "local.example"} {
		for _, name := range []string{zone, "x." + zone, "y.x." + zone, "-." + zone} {
			for _, client := range []string{till, lab, stranger} {
				if client == stranger && name[0] == '-' {
					continue // wrong in two ways, of which either may be told
				}
				b.query(client, queryFor(name, dns.TypeA))
				got := b.records.last()
				e := b.deps.Policy().Explain(policy.Request{Plane: policy.DNS, Client: netip.MustParseAddr(client), Name: name})
				if got.Verdict != e.Decision.Verdict || got.Reason != e.Decision.Reason {
					t.Errorf("%s for %s: answered %v (%v), explained as %v (%v)", name, client,
						got.Verdict, got.Reason, e.Decision.Verdict, e.Decision.Reason)
				}
				if want := "special-use name, " + e.Special; e.Special != "" && got.Verdict == policy.Deny && got.Detail != want {
					t.Errorf("%s for %s: recorded %q, want %q", name, client, got.Detail, want)
				}
			}
		}
	}
}
