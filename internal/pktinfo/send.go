package pktinfo

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

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
	oob4   []byte // the source, as control messages
	oob6   []byte
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
	s := &Sender{
		raw:  raw,
		oob4: unix.PktInfo4(&unix.Inet4Pktinfo{}),
		oob6: unix.PktInfo6(&unix.Inet6Pktinfo{}),
	}
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
	s.packet, s.oob = packet, s.source(from, ifindex)
	err := s.raw.Write(s.write)
	s.packet = nil
	return errors.Join(err, s.err)
}

// source is the control message that sends a packet from an address; nil: the kernel
// chooses. The interface is named only where the address means nothing without it: else
// the routes decide.
func (s *Sender) source(from netip.Addr, ifindex int) []byte {
	switch {
	case from.Is4():
		i := (*unix.Inet4Pktinfo)(unsafe.Pointer(&s.oob4[unix.CmsgLen(0)]))
		i.Spec_dst = from.As4()
		return s.oob4
	case from.Is6():
		i := (*unix.Inet6Pktinfo)(unsafe.Pointer(&s.oob6[unix.CmsgLen(0)]))
		i.Addr, i.Ifindex = from.As16(), 0
		if from.IsLinkLocalUnicast() {
			i.Ifindex = uint32(ifindex)
		}
		return s.oob6
	}
	return nil
}
