package resolver

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// askPacketInfo makes the kernel tell the address and the interface that a packet came
// to; a box with several addresses must answer from the one that was asked.
func askPacketInfo(network, _ string, c syscall.RawConn) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) {
		switch network {
		case "udp6", "tcp6":
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		default:
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
	return errors.Join(ctlErr, err)
}

// packetInfo reads the destination address and the interface from the first of the
// control messages (ip(7) IP_PKTINFO, RFC 3542 §6.1).
func packetInfo(oob []byte) (local netip.Addr, ifindex int) {
	if len(oob) < unix.SizeofCmsghdr {
		return netip.Addr{}, 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	data := oob[unix.CmsgLen(0):]
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		i := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		// Spec_dst, not Addr: the packet may have come to a broadcast address.
		return netip.AddrFrom4(i.Spec_dst), int(i.Ifindex)
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		i := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
		return netip.AddrFrom16(i.Addr), int(i.Ifindex)
	}
	return netip.Addr{}, 0
}

// sourceInfo is the control message that sends a packet from local. The interface is
// named only where the address means nothing without it: else the routes decide.
func sourceInfo(local netip.Addr, ifindex int) []byte {
	switch {
	case local.Is4():
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
	case local.Is6():
		i := &unix.Inet6Pktinfo{Addr: local.As16()}
		if local.IsLinkLocalUnicast() {
			i.Ifindex = uint32(ifindex)
		}
		return unix.PktInfo6(i)
	}
	return nil
}

// incomingInterface is the index of the interface that a connection's first packet came
// in by, or 0. The kernel keeps it for sockets with packet information on, and tells it
// as a control message (IP_PKTOPTIONS; for IPv6 by its number of RFC 2292).
func incomingInterface(conn *net.TCPConn) int {
	level, option := unix.IPPROTO_IP, unix.IP_PKTOPTIONS
	if conn.LocalAddr().(*net.TCPAddr).IP.To4() == nil {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_2292PKTOPTIONS
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	var oob [256]byte
	length := uint32(len(oob))
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(option),
			uintptr(unsafe.Pointer(&oob[0])), uintptr(unsafe.Pointer(&length)), 0)
	})
	if err != nil || errno != 0 || int(length) > len(oob) {
		return 0
	}
	_, ifindex := packetInfo(oob[:length])
	return ifindex
}
