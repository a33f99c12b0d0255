package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// probes are the connections that the box makes to itself, by their near end.
type probes struct {
	mu   sync.Mutex
	from map[netip.AddrPort]bool
}

func (s *probes) add(from netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from == nil {
		s.from = make(map[netip.AddrPort]bool)
	}
	s.from[from] = true
}

func (s *probes) remove(from netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.from, from)
}

func (s *probes) has(from netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from[from]
}

// Probe finds out whether a listener takes connections, at an address of the machine's
// own. It is no client's attempt: nothing is counted or recorded of it.
func (p *Proxy) Probe(ctx context.Context, listener netip.AddrPort) error {
	var from netip.AddrPort
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		// Bound here and not by the dialer, so that it is known before the listener sees it.
		if e := c.Control(func(fd uintptr) { from, err = bindProbe(int(fd), listener.Addr()) }); e != nil {
			return e
		}
		p.probes.add(from)
		return err
	}}
	defer func() { p.probes.remove(from) }()
	conn, err := d.DialContext(ctx, "tcp", listener.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	// The kernel connects without the program. That it closes shows that it is there.
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return fmt.Errorf("nobody accepts connections: %w", err)
	}
	return nil
}

// bindProbe binds a socket to an address and any port, and returns both.
func bindProbe(fd int, addr netip.Addr) (netip.AddrPort, error) {
	var sa unix.Sockaddr
	if addr.Is4() {
		sa = &unix.SockaddrInet4{Addr: addr.As4()}
	} else {
		sa6 := &unix.SockaddrInet6{Addr: addr.As16()}
		if i, err := net.InterfaceByName(addr.Zone()); err == nil {
			sa6.ZoneId = uint32(i.Index)
		}
		sa = sa6
	}
	if err := unix.Bind(fd, sa); err != nil {
		return netip.AddrPort{}, fmt.Errorf("bind to %v: %w", addr, err)
	}
	bound, err := unix.Getsockname(fd)
	switch sa := bound.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(addr, uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(addr, uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, err
}
