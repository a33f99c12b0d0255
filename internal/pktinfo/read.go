package pktinfo

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Info is what the kernel tells of a packet. What it does not tell is zero.
type Info struct {
	Local     netip.Addr // that the packet came to
	Interface int        // index of the one that it came in by
	Stamp     time.Time  // when it came, by the system's clock
}

// stampSize is that of the kernel's struct __kernel_timespec, on every architecture.
const stampSize = 16

// Read reads the control messages of a packet (ip(7) IP_PKTINFO, RFC 3542 §6.1,
// socket(7) SO_TIMESTAMPNS). What is cut or unknown it passes over.
func Read(oob []byte) (info Info) {
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		if uint64(h.Len) < unix.SizeofCmsghdr || uint64(h.Len) > uint64(len(oob)) {
			break
		}
		length := int(h.Len)
		info.add(h, oob[min(unix.CmsgLen(0), length):length])
		oob = oob[min(unix.CmsgSpace(length-unix.CmsgLen(0)), len(oob)):]
	}
	return info
}

func (i *Info) add(h *unix.Cmsghdr, data []byte) {
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		p := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		// Spec_dst, not Addr: the packet may have come to a broadcast address.
		i.Local, i.Interface = netip.AddrFrom4(p.Spec_dst), int(p.Ifindex)
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		p := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
		i.Local, i.Interface = netip.AddrFrom16(p.Addr), int(p.Ifindex)
	case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS_NEW && len(data) >= stampSize:
		sec, nsec := binary.NativeEndian.Uint64(data), binary.NativeEndian.Uint64(data[8:])
		i.Stamp = time.Unix(int64(sec), int64(nsec))
	}
}
