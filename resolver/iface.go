package resolver

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// interfaces knows the names of the machine's interfaces by index. The names are
// read again when an index is new, and every ifaceRefresh: an index may be given
// again to another interface. The zero value is ready.
type interfaces struct {
	mu    sync.RWMutex
	names map[int]string
	read  time.Time
}

const ifaceRefresh = 30 * time.Second

// name returns the interface's name, or "" for index 0 or one that is gone.
func (t *interfaces) name(index int) string {
	if index == 0 {
		return ""
	}
	t.mu.RLock()
	name, ok := t.names[index]
	age := time.Since(t.read)
	t.mu.RUnlock()
	// A second between reads bounds what packets of a vanished interface cost.
	if age < time.Second || ok && age < ifaceRefresh {
		return name
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = time.Now()
	if all, err := net.Interfaces(); err == nil {
		t.names = make(map[int]string, len(all))
		for _, i := range all {
			t.names[i.Index] = i.Name
		}
	}
	return t.names[index]
}

// address returns the box's own address of a family for a client that asked at
// local: local itself, or another one of the interface, never a link-local one
// (without a zone a client can't use it). It is the zero Addr if there is none.
func (t *interfaces) address(local netip.Addr, index int, v4 bool) netip.Addr {
	if local.Is4() == v4 && !local.IsLinkLocalUnicast() {
		return local
	}
	iface, err := net.InterfaceByIndex(index)
	if err != nil {
		return netip.Addr{}
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() == v4 && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}
