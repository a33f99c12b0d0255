package policy

import (
	"net/netip"
	"slices"
)

// clients finds the class of a client. It makes one look-up for each length of
// network that the policy has, the longest first, and one for the interface.
type clients struct {
	networks   map[netip.Prefix]*Class
	lengths4   []int // of the IPv4 networks, longest first
	lengths6   []int
	interfaces map[string]*Class
}

func newClients(classes []*Class) clients {
	c := clients{networks: make(map[netip.Prefix]*Class), interfaces: make(map[string]*Class)}
	for _, class := range classes {
		for _, p := range class.Networks {
			c.networks[p] = class
			lengths := &c.lengths6
			if p.Addr().Is4() {
				lengths = &c.lengths4
			}
			if !slices.Contains(*lengths, p.Bits()) {
				*lengths = append(*lengths, p.Bits())
			}
		}
		for _, name := range class.Interfaces {
			c.interfaces[name] = class
		}
	}
	for _, lengths := range [][]int{c.lengths4, c.lengths6} {
		slices.Sort(lengths)
		slices.Reverse(lengths)
	}
	return c
}

func (c *clients) class(addr netip.Addr, iface string) *Class {
	addr = addr.Unmap().WithZone("") // a network has no zone, so an address with one is in none
	lengths := c.lengths6
	if addr.Is4() {
		lengths = c.lengths4
	}
	for _, bits := range lengths {
		p, err := addr.Prefix(bits)
		if err != nil {
			break // no address
		}
		if class := c.networks[p]; class != nil {
			return class
		}
	}
	if iface == "" {
		return nil
	}
	return c.interfaces[iface]
}
