package policy

import (
	"cmp"
	"net/netip"
	"slices"
)

// clients finds the class of a client. It makes one look-up for each length of
// network that the policy has, and one for the interface.
type clients struct {
	v4, v6     []networks // the longest first
	interfaces map[string]*Class
}

// networks are those of one length, by their first address.
type networks struct {
	bits    int
	classes map[netip.Addr]*Class
}

func newClients(classes []*Class) clients {
	c := clients{interfaces: make(map[string]*Class)}
	for _, class := range classes {
		for _, p := range class.Networks {
			list := &c.v6
			if p.Addr().Is4() {
				list = &c.v4
			}
			i := slices.IndexFunc(*list, func(n networks) bool { return n.bits == p.Bits() })
			if i < 0 {
				i = len(*list)
				*list = append(*list, networks{p.Bits(), make(map[netip.Addr]*Class)})
			}
			(*list)[i].classes[p.Addr()] = class
		}
		for _, name := range class.Interfaces {
			c.interfaces[name] = class
		}
	}
	for _, list := range [][]networks{c.v4, c.v6} {
		slices.SortFunc(list, func(a, b networks) int { return cmp.Compare(b.bits, a.bits) })
	}
	return c
}

func (c *clients) class(addr netip.Addr, iface string) *Class {
	addr = addr.Unmap().WithZone("") // networks have no zone
	list := c.v6
	if addr.Is4() {
		list = c.v4
	}
	for i := range list {
		p, _ := addr.Prefix(list[i].bits) // fits: the list is of the address's family
		if class := list[i].classes[p.Addr()]; class != nil {
			return class
		}
	}
	if iface == "" {
		return nil
	}
	return c.interfaces[iface]
}
