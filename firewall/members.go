package firewall

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"tillgate/policy"
)

// A member is a class, as the table sees it.
type member struct {
	class      *policy.Class
	interfaces []string // of either kind, sorted
	narrowed   []string // those of Config.Interfaces alone
}

// newMembers finds each class's interfaces.
func newMembers(set *policy.Set, cfg Config) ([]member, error) {
	owner := make(map[string]string) // class of each interface
	var members []member
	for _, c := range set.Classes() {
		m := member{class: c}
		m.interfaces = append(m.interfaces, c.Interfaces...)
		for _, name := range cfg.Interfaces[c.Name] {
			if !slices.Contains(m.interfaces, name) {
				m.interfaces = append(m.interfaces, name)
				m.narrowed = append(m.narrowed, name)
			}
		}
		for _, name := range m.interfaces {
			if other := owner[name]; other != "" {
				return nil, fmt.Errorf("the interface %s is of class %s and of class %s; take it from one of them, in policy.yaml or in firewall.interfaces of tillgate.yaml", name, other, c.Name)
			}
			if name == "lo" || len(name) > maxInterface {
				return nil, fmt.Errorf("class %s has the interface %q, by which nothing comes in from a network; ip link lists those of this machine", c.Name, name)
			}
			if !quotable(name) {
				return nil, fmt.Errorf("class %s has the interface %q, a name that nft cannot be given; rename it (ip link set %q name NEW)", c.Name, name, name)
			}
			owner[name] = c.Name
		}
		if len(m.interfaces) == 0 {
			if p, ok := firstWide(c.Networks); ok {
				return nil, fmt.Errorf("class %s has %v, in which your own machines may be as well: name the interface that its devices come in by, with --interface %s=eth0.20, or for good in tillgate.yaml: firewall: {interfaces: {%s: [eth0.20]}}", c.Name, p, c.Name, c.Name)
			}
		}
		slices.Sort(m.interfaces)
		slices.Sort(m.narrowed)
		members = append(members, m)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Interfaces)) {
		if !slices.ContainsFunc(members, func(m member) bool { return m.class.Name == name }) {
			return nil, fmt.Errorf("firewall.interfaces has class %s, which the policy does not have; correct it in tillgate.yaml", name)
		}
	}
	return members, nil
}

// gaps tells of what the class's devices may send without being known, where only the source
// tells whose a packet is.
func (m member) gaps() (gaps []string) {
	if len(m.interfaces) > 0 {
		return nil
	}
	for _, f := range families {
		if !slices.ContainsFunc(m.class.Networks, func(p netip.Prefix) bool { return p.Addr().Is4() == f.is4 }) {
			gaps = append(gaps, fmt.Sprintf("class %s has no interface and no %s network: what its devices send by %s is not judged; give it its interface, interfaces: [...] in policy.yaml (ip -br addr lists them)", m.class.Name, f.title, f.title))
		}
	}
	if len(gaps) == 0 {
		gaps = append(gaps, fmt.Sprintf("class %s has no interface: a device of it that takes an address outside of all classes is not judged; give it its interface, interfaces: [...] in policy.yaml (ip -br addr lists them)", m.class.Name))
	}
	return gaps
}

// quotable reports whether a name means itself between the quotes of nft, which knows no
// escapes but takes a * at the end for any.
func quotable(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"*\`, r) })
}

// blocks are what anybody numbers a network from.
var blocks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("fe80::/10"),
}

// wide reports whether a network is so large that it does not tell whose an address is:
// it has a whole block in it. Then only the interface tells. Each link has link-local
// addresses, so a part of that block does not tell either.
func wide(p netip.Prefix) bool {
	if loopback(p) || p.Addr().IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return p.Bits() <= b.Bits() && p.Contains(b.Addr()) })
}

// firstWide returns the first network that needs an interface. The loopback needs none:
// the table leaves it alone.
func firstWide(networks []netip.Prefix) (netip.Prefix, bool) {
	for _, p := range networks {
		if wide(p) && !loopback(p) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func loopback(p netip.Prefix) bool { return p.Addr().IsLoopback() }
