package console

import (
	"net"
	"net/netip"
	"sync"

	"tillgate/policy"
)

// Bounds of the connections by TCP, beside those of the socket. What is beyond is closed
// at once.
const (
	maxVisitors    = 64 // from elsewhere
	maxVisitorEach = 16 // of those, from one address or network of IPv6 (/64)
	maxLocal       = 32 // from this machine, which all who come by ssh -L are
)

// A door lets connections in: those of the store, or of its admins where these are named,
// and no more than there is room for. The Internet finds no listener here.
type door struct {
	admin []netip.Prefix

	mu     sync.Mutex
	inside map[netip.Prefix]int
	total  int // but those of this machine
}

func newDoor(admin []netip.Prefix) *door {
	return &door{admin: admin, inside: make(map[netip.Prefix]int)}
}

// admits reports whether the console is for who connects from an address.
func (d *door) admits(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	for _, p := range d.admin {
		if p.Contains(a) {
			return true
		}
	}
	return len(d.admin) == 0 && policy.WithinStore(a)
}

// enter takes a place for a connection. It is to be left once.
func (d *door) enter(a netip.Addr) (who netip.Prefix, ok bool) {
	if !d.admits(a) {
		return who, false
	}
	who = network(a)
	local := a.IsLoopback()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch n := d.inside[who]; {
	case local && n >= maxLocal, !local && (n >= maxVisitorEach || d.total >= maxVisitors):
		return who, false
	case !local:
		d.total++
	}
	d.inside[who]++
	return who, true
}

func (d *door) leave(who netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !who.Addr().IsLoopback() {
		d.total--
	}
	if d.inside[who]--; d.inside[who] == 0 {
		delete(d.inside, who)
	}
}

// network is what is taken for one client: an address, or a network of IPv6, of which
// somebody who has it has all addresses. This machine is one with all of its.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	switch {
	case a.IsLoopback():
		a = netip.IPv6Loopback()
		bits = 128
	case a.Is6():
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// A guardedListener accepts whom the door lets in.
type guardedListener struct {
	net.Listener
	door *door
}

func (l guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		who, ok := l.door.enter(addrOf(conn.RemoteAddr()))
		if ok {
			return &visit{Conn: conn, leave: sync.OnceFunc(func() { l.door.leave(who) })}, nil
		}
		conn.Close()
	}
}

// addrOf is an address as policies know it, which know no zones. It is invalid for what is not TCP.
func addrOf(a net.Addr) netip.Addr {
	tcp, _ := a.(*net.TCPAddr)
	if tcp == nil {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// A visit is a connection that has a place.
type visit struct {
	net.Conn
	leave func()
}

func (v *visit) Close() error {
	v.leave()
	return v.Conn.Close()
}
