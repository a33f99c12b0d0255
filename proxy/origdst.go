package proxy

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// originalDst returns where a redirected connection was going before the packet
// filter's REDIRECT or DNAT rule. It is false for one that was not redirected:
// connection tracking then knows nothing of it, or names the address that the
// connection came to.
func originalDst(c *net.TCPConn) (dst netip.AddrPort, ok bool) {
	local, isTCP := c.LocalAddr().(*net.TCPAddr)
	raw, err := c.SyscallConn()
	if !isTCP || err != nil {
		return netip.AddrPort{}, false
	}
	// An IPv4 connection to a socket that listens for both is IPv4 to the
	// packet filter.
	here := local.AddrPort()
	here = netip.AddrPortFrom(here.Addr().Unmap().WithZone(""), here.Port())
	get := originalDst6
	if here.Addr().Is4() {
		get = originalDst4
	}
	if cerr := raw.Control(func(fd uintptr) { dst, err = get(int(fd)) }); cerr != nil || err != nil {
		return netip.AddrPort{}, false
	}
	return dst, dst.IsValid() && dst != here
}

// ip6tOriginalDst is IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h.
const ip6tOriginalDst = 80

// The kernel's answers are read through getters of other options, whose types
// have the same size and layout up to what is looked at. That saves a system
// call by hand with an unsafe pointer.

// originalDst4 gets a sockaddr_in: family, port and address, then padding.
//
//	0      2      4             8                16
//	+------+------+-------------+----------------+
//	|family| port |   address   |      zero      |
//	+------+------+-------------+----------------+
func originalDst4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := m.Multiaddr // the first 16 bytes of 20
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// originalDst6 gets a sockaddr_in6, which an ip6_mtuinfo begins with.
func originalDst6(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, ip6tOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	// The port is in network order, in a field that Go takes for the machine's.
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], m.Addr.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), binary.BigEndian.Uint16(port[:])), nil
}
