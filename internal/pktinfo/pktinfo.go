// Package pktinfo tells at which of the box's addresses a packet or a connection
// arrived, and by which interface: the answer must come from there, and a client's class
// may depend on it.
package pktinfo

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Size is the room for control messages that [Read] needs.
var Size = unix.CmsgSpace(unix.SizeofInet6Pktinfo)

// Ask makes the kernel tell the address and the interface that a packet came to. It is a
// Control of [net.ListenConfig], for one family: network ends in 4 or 6.
func Ask(network, _ string, c syscall.RawConn) error {
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

// Read reads the destination address and the interface from the first of the control
// messages (ip(7) IP_PKTINFO, RFC 3542 §6.1).
func Read(oob []byte) (local netip.Addr, ifindex int) {
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

// Source is the control message that sends a packet from local. The interface is named
// only where the address means nothing without it: else the routes decide.
func Source(local netip.Addr, ifindex int) []byte {
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

// Incoming is the index of the interface that a connection's first packet came in by, or
// 0. The kernel keeps it for sockets with packet information on, and tells it as a
// control message (IP_PKTOPTIONS; for IPv6 by its number of RFC 2292).
func Incoming(conn *net.TCPConn) int {
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
	_, ifindex := Read(oob[:length])
	return ifindex
}
