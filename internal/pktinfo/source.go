package pktinfo

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// source is the control message that sends a packet from an address, for each family.
type source struct {
	oob4, oob6 []byte
}

func newSource() source {
	return source{unix.PktInfo4(&unix.Inet4Pktinfo{}), unix.PktInfo6(&unix.Inet6Pktinfo{})}
}

// of returns the message for an address, which is valid until the next call; nil: the
// kernel chooses. The interface is named only where the address means nothing without it:
// else the routes decide.
func (s *source) of(from netip.Addr, ifindex int) []byte {
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
