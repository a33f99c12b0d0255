package ntprelay

import (
	"encoding/binary"
	"net/netip"
	"time"

	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// maxRequest is the longest request that is read, in bytes: that of a client of NTS, which
// asks with eight cookies, is no longer than this.
const maxRequest = 2048

// request is one packet of one client, and the way back to it.
type request struct {
	header
	fault   fault
	from    netip.AddrPort
	client  netip.Addr    // from's, without a zone
	local   netip.Addr    // that was asked
	ifindex int           // that it came in by; 0: not known
	raw     time.Duration // when it came, as the clock's Raw
	// packet is that of a batch, with which the reply goes; nil: it goes by itself.
	packet *pktinfo.Packet
	// send sends the reply without waiting, as [pktinfo.Sender.Send] does.
	send func(packet []byte, from netip.Addr, to netip.AddrPort, ifindex int) error

	decision policy.Decision
	known    *remembered      // of its client, once its rate was asked
	out      [headerSize]byte // the reply; here, it is not allocated for each
}

// fault is why a packet gets no answer, whoever sent it.
type fault uint8

const (
	sound fault = iota
	badLength
	badVersion
	noRequest
	badExtension
	authenticated
)

var faultTexts = [...]string{
	sound:         "",
	badLength:     "not as long as an NTP packet",
	badVersion:    "of an NTP version that there is none of",
	noRequest:     "not a request for the time",
	badExtension:  "extension fields that are not well-formed",
	authenticated: "asks for a signed answer, and there are no keys here",
}

func (f fault) String() string { return faultTexts[f] }

// ntpPort is that of servers.
const ntpPort = 123

// parse reads a packet, which came from q.from. What it lets through is what chrony answers
// (ntp_core.c, parse_packet and NCR_ProcessRxUnknown): extension fields that nobody here
// knows are passed over, and what has to be signed gets no answer, since its client would
// not take an unsigned one.
func (q *request) parse(packet []byte) { q.fault = q.judge(packet) }

func (q *request) judge(packet []byte) fault {
	if len(packet) < headerSize || len(packet)%4 != 0 {
		return badLength
	}
	q.header = parseHeader(packet)
	if q.version < 1 || q.version > 4 {
		return badVersion
	}
	if q.answerMode(q.from.Port()) == reserved {
		return noRequest
	}
	return judgeRest(packet[headerSize:], q.version)
}

// answerMode is the mode of the answer to a request that came from port, or reserved:
// there is none. In version 1 there was no mode yet; a packet from a server's port may be
// an answer then, and two servers must not answer each other for ever.
func (h *header) answerMode(port uint16) mode {
	switch {
	case h.mode == client, h.mode == reserved && h.version == 1 && port != ntpPort:
		return server
	case h.mode == symmetricActive: // Windows
		return symmetricPassive
	}
	return reserved
}

// Lengths of what may stand behind the header (RFC 7822 §7.5), in bytes.
const (
	minAuthenticator = 4 + 16 // a key's number and an MD5
	maxAuthenticator = 4 + 20 // and a SHA-1, in version 4
	minExtension     = 16
)

// judgeRest judges what stands behind the header: nothing, extension fields, an
// authenticator.
func judgeRest(rest []byte, version uint8) fault {
	if len(rest) == 0 {
		return sound
	}
	if version < 4 || len(rest) == 4 && binary.BigEndian.Uint32(rest) == 0 {
		return authenticated // there were no extension fields; a crypto-NAK (RFC 5905 §9.2)
	}
	for len(rest) > 0 {
		if minAuthenticator <= len(rest) && len(rest) <= maxAuthenticator {
			return authenticated
		}
		if len(rest) < minExtension {
			return badExtension
		}
		kind, length := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if length < minExtension || length%4 != 0 || length > len(rest) {
			return badExtension
		}
		switch kind {
		case 0x0104, 0x0204, 0x0304, 0x0404: // of NTS (RFC 8915 §7.6)
			return authenticated
		}
		rest = rest[length:]
	}
	return sound
}
