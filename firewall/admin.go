package firewall

import (
	"fmt"
	"net/netip"
	"slices"
)

// The box is its admins' to reach, whoever else is kept out: on every TCP port of its own, since
// SSH may be on any, but for that of intercept, which is for what is redirected alone.

// admin writes a rule for the admins' way to the box, by TCP ports that match.
func (t *table) admin(match string) {
	for _, f := range families {
		var list []string
		for _, p := range outermost(t.cfg.Admin) {
			if p.Addr().Is4() == f.is4 {
				list = append(list, p.String())
			}
		}
		if len(list) > 0 {
			t.line("%s saddr { %s } fib daddr type local tcp dport %s accept", f.name, joined(list), match)
		}
	}
}

// anyPort matches every port of the box but intercept's.
func (t *table) anyPort() string { return fmt.Sprintf("!= %d", t.cfg.Intercept) }

// adminPorts are those of the box that are for nobody but admins, where there are any.
func (t *table) adminPorts() string { return "{ " + portList(t.cfg.SSH, t.cfg.Console) + " }" }

// openToAll is a sentence for who has named no admin, or empty.
func openToAll(cfg Config) string {
	if len(cfg.Admin) > 0 {
		return ""
	}
	return fmt.Sprintf("firewall.admin is empty: all that are in no class may reach TCP port %s of the box (SSH, the console), from the Internet too unless another table stops them; name your own machines in tillgate.yaml: firewall: {admin: [192.168.1.10/32]}",
		portList(cfg.SSH, cfg.Console))
}

// outermost are the networks that are not within another of them: those of a set of nft may
// not overlap.
func outermost(networks []netip.Prefix) (outer []netip.Prefix) {
	networks = slices.Clone(networks)
	slices.SortStableFunc(networks, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for _, p := range networks {
		if !slices.ContainsFunc(outer, func(o netip.Prefix) bool { return o.Overlaps(p) }) {
			outer = append(outer, p)
		}
	}
	return outer
}
