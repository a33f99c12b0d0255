// Package pktinfo tells at which of the box's addresses a packet or a connection
// arrived, by which interface, and when: the answer must come from there, and a client's
// class may depend on it.
package pktinfo

import (
	"errors"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Size is the room for the control messages of one packet, with [Stamp] or without.
var Size = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(stampSize)

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

// Stamp makes the kernel tell when a packet came, if it can (Linux 5.1): the same 64-bit
// stamp on every machine, also after 2038.
func Stamp(c syscall.RawConn) {
	c.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
	})
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
	return Read(oob[:length]).Interface
}
