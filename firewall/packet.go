package firewall

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// An attempt is what repeats are told by: what the head of a packet says. A packet that
// was cut off, or is a later fragment, has no port.
type attempt struct {
	src, dst netip.Addr
	number   uint8  // IANA's, of the protocol above IP
	port     uint16 // where it was to go, of TCP and UDP
}

var errPacket = errors.New("not the head of an IP packet")

const (
	headerIPv4 = 20 // bytes, without options
	headerIPv6 = 40

	// maxExtensions bounds how many of a packet's IPv6 extension headers are gone through.
	maxExtensions = 8
)

// IANA's protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoICMPv6   = 58
	protoOptions  = 60
)

// parsePacket reads the head of a packet. A terminal made it: no length in it is believed.
func parsePacket(b []byte) (attempt, error) {
	if len(b) == 0 {
		return attempt{}, errPacket
	}
	switch b[0] >> 4 {
	case 4:
		return parseIPv4(b)
	case 6:
		return parseIPv6(b)
	}
	return attempt{}, errPacket
}

// parseIPv4 reads RFC 791 section 3.1:
//
//	 0 |version|  IHL  |      TOS      |          total length         |
//	 4 |        identification         |flags|     fragment offset     |
//	 8 |      TTL      |   protocol    |            checksum           |
//	12 |                             source                            |
//	16 |                          destination                          |
func parseIPv4(b []byte) (attempt, error) {
	if len(b) < headerIPv4 {
		return attempt{}, errPacket
	}
	a := attempt{src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20]))}
	head := int(b[0]&0xf) * 4
	if head < headerIPv4 {
		return attempt{}, errPacket
	}
	later := binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	a.transport(b[9], b[min(head, len(b)):], later)
	return a, nil
}

// parseIPv6 reads RFC 8200 section 3, and the extension headers of section 4:
//
//	 0 |version| traffic class |          flow label                   |
//	 4 |        payload length         |  next header  |   hop limit   |
//	 8 |                            source, 16 bytes                   |
//	24 |                         destination, 16 bytes                 |
func parseIPv6(b []byte) (attempt, error) {
	if len(b) < headerIPv6 {
		return attempt{}, errPacket
	}
	a := attempt{src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40]))}
	next, later := b[6], false
	b = b[headerIPv6:]
	for range maxExtensions {
		size := 0
		switch {
		case len(b) < 8 || later:
		case next == protoHopByHop, next == protoRouting, next == protoOptions:
			size = 8 + 8*int(b[1])
		case next == protoFragment:
			size, later = 8, binary.BigEndian.Uint16(b[2:])&0xfff8 != 0
		case next == protoAH:
			size = 8 + 4*int(b[1]) // RFC 4302 section 2.2
		}
		if size == 0 {
			break
		}
		next, b = b[0], b[min(size, len(b)):]
	}
	a.transport(next, b, later)
	return a, nil
}

// transport notes the protocol, and the port where b still has it. Both TCP and UDP begin
// with the source port and then that of the destination.
func (a *attempt) transport(number uint8, b []byte, later bool) {
	a.number = number
	if (number == protoTCP || number == protoUDP) && !later && len(b) >= 4 {
		a.port = binary.BigEndian.Uint16(b[2:])
	}
}
