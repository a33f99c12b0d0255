package pktinfo

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sender sends packets from a UDP socket, each from the address that it is to come from.
// It allocates nothing for a packet. It is safe for use by many goroutines.
type Sender struct {
	raw   syscall.RawConn
	write func(fd uintptr) bool

	mu     sync.Mutex
	to4    unix.SockaddrInet4
	to6    unix.SockaddrInet6
	source source
	packet []byte // the one that write sends, and how
	to     unix.Sockaddr
	oob    []byte
	err    error
}

// NewSender returns a sender over conn.
func NewSender(conn *net.UDPConn) (*Sender, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Sender{raw: raw, source: newSource()}
	s.write = func(fd uintptr) bool {
		_, s.err = unix.SendmsgN(int(fd), s.packet, s.oob, s.to, unix.MSG_DONTWAIT)
		return true
	}
	return s, nil
}

// Send sends a packet from an address of the box, or fails at once. Packets to addresses
// that don't answer ARP wait in the kernel, all against the one buffer of the socket:
// whoever forged some hundred a second would hold up a sender that waits for room, and with
// it all other clients. The interface is that of link-local addresses.
func (s *Sender) Send(packet []byte, from netip.Addr, to netip.AddrPort, ifindex int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if addr := to.Addr(); addr.Is4() {
		s.to4.Addr, s.to4.Port = addr.As4(), int(to.Port())
		s.to = &s.to4
	} else {
		s.to6.Addr, s.to6.Port, s.to6.ZoneId = addr.As16(), int(to.Port()), 0
		if addr.IsLinkLocalUnicast() {
			s.to6.ZoneId = uint32(ifindex)
		}
		s.to = &s.to6
	}
	s.packet, s.oob = packet, s.source.of(from, ifindex)
	err := s.raw.Write(s.write)
	s.packet = nil
	return errors.Join(err, s.err)
}
