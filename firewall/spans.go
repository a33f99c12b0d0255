package firewall

import (
	"net/netip"
	"slices"

	"tillgate/policy"
)

// A span is a row of addresses that are one class's, as [policy.Set.Class] has it. Those
// of a policy do not overlap, which nft's maps demand.
type span struct {
	first, last netip.Addr
	class       *policy.Class
	wide        bool // it tells the class on the class's interfaces only
}

func (s span) String() string {
	if p, err := s.first.Prefix(commonBits(s.first, s.last)); err == nil && p.Addr() == s.first && last(p) == s.last {
		if p.IsSingleIP() {
			return s.first.String()
		}
		return p.String()
	}
	return s.first.String() + "-" + s.last.String()
}

// family is the name of its addresses' in a rule.
func (s span) family() string {
	if s.first.Is4() {
		return "ip"
	}
	return "ip6"
}

// flatten cuts the networks of the classes into spans, in the order of their addresses,
// IPv4 first: of networks within each other the longest counts.
func flatten(classes []*policy.Class) []span {
	type network struct {
		netip.Prefix
		class *policy.Class
	}
	var networks []network
	var cuts []netip.Addr // where something may change
	for _, c := range classes {
		for _, p := range c.Networks {
			networks = append(networks, network{p, c})
			cuts = append(cuts, p.Addr())
			if next := last(p).Next(); next.IsValid() {
				cuts = append(cuts, next)
			}
		}
	}
	slices.SortFunc(networks, func(a, b network) int { return b.Bits() - a.Bits() })
	slices.SortFunc(cuts, netip.Addr.Compare)
	cuts = slices.Compact(cuts)
	var spans []span
	for i, first := range cuts {
		n := slices.IndexFunc(networks, func(n network) bool { return n.Contains(first) })
		if n < 0 {
			continue
		}
		s := span{first, last(networks[n].Prefix), networks[n].class, wide(networks[n].Prefix)}
		if i+1 < len(cuts) && cuts[i+1].BitLen() == first.BitLen() && cuts[i+1].Compare(s.last) <= 0 {
			s.last = cuts[i+1].Prev()
		}
		if k := len(spans) - 1; k >= 0 && spans[k].class == s.class && spans[k].wide == s.wide && spans[k].last.Next() == s.first {
			spans[k].last = s.last
			continue
		}
		spans = append(spans, s)
	}
	return spans
}

// last is the last address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// commonBits is how many bits two addresses of a family begin with alike.
func commonBits(a, b netip.Addr) int {
	x, y := a.AsSlice(), b.AsSlice()
	for i := range len(x) * 8 {
		if (x[i/8]^y[i/8])&(0x80>>(i%8)) != 0 {
			return i
		}
	}
	return len(x) * 8
}
