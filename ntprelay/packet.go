package ntprelay

import (
	"encoding/binary"
	"math"
	"time"
)

// headerSize is that of a packet without extension fields and authenticator, in bytes.
const headerSize = 48

// header is an NTP packet (RFC 5905 §7.3), less what may stand behind it:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|LI | VN  |Mode |    Stratum    |     Poll      |   Precision   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                          Root Delay                           |
//	|                        Root Dispersion                        |
//	|                         Reference ID                          |
//	+                   Reference Timestamp (64)                    +
//	+                     Origin Timestamp (64)                     +
//	+                    Receive Timestamp (64)                     +
//	+                    Transmit Timestamp (64)                    +
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type header struct {
	leap                      uint8
	version                   uint8
	mode                      mode
	stratum                   uint8
	poll, precision           int8
	rootDelay, rootDispersion short
	refID                     uint32
	reference, origin         stamp
	receive, transmit         stamp
}

// mode is what a packet is for (RFC 5905 §7.3, figure 10).
type mode uint8

const (
	reserved mode = iota // the field was not there in version 1
	symmetricActive
	symmetricPassive
	client
	server
)

// unknown is the leap indicator of a clock that is not synchronised.
const unknown = 3

// transmitAt is where the timestamp stands that is written after the rest of a packet.
const transmitAt = 40

// parseHeader reads the first 48 bytes of b, which must be there.
func parseHeader(b []byte) header {
	_ = b[headerSize-1]
	be := binary.BigEndian
	return header{
		leap:           b[0] >> 6,
		version:        b[0] >> 3 & 7,
		mode:           mode(b[0] & 7),
		stratum:        b[1],
		poll:           int8(b[2]),
		precision:      int8(b[3]),
		rootDelay:      short(be.Uint32(b[4:])),
		rootDispersion: short(be.Uint32(b[8:])),
		refID:          be.Uint32(b[12:]),
		reference:      stamp(be.Uint64(b[16:])),
		origin:         stamp(be.Uint64(b[24:])),
		receive:        stamp(be.Uint64(b[32:])),
		transmit:       stamp(be.Uint64(b[transmitAt:])),
	}
}

// put writes the header into the first 48 bytes of b, which must be there.
func (h *header) put(b []byte) {
	_ = b[headerSize-1]
	be := binary.BigEndian
	b[0] = h.leap<<6 | h.version&7<<3 | byte(h.mode&7)
	b[1], b[2], b[3] = h.stratum, byte(h.poll), byte(h.precision)
	be.PutUint32(b[4:], uint32(h.rootDelay))
	be.PutUint32(b[8:], uint32(h.rootDispersion))
	be.PutUint32(b[12:], h.refID)
	be.PutUint64(b[16:], uint64(h.reference))
	be.PutUint64(b[24:], uint64(h.origin))
	be.PutUint64(b[32:], uint64(h.receive))
	h.transmit.put(b)
}

// put writes the transmit timestamp of the packet in b.
func (s stamp) put(b []byte) { binary.BigEndian.PutUint64(b[transmitAt:], uint64(s)) }

// stamp is an NTP timestamp (RFC 5905 §6): seconds and 2^-32 seconds since 1900, modulo
// 2^32 seconds, so since 2036-02-07 06:28:16 UTC for the era after. Zero is no time.
type stamp uint64

// unixEpoch is 1970 in seconds of the era that began in 1900.
const unixEpoch = 2208988800

// stampOf returns t's; of the zero Time it is zero.
func stampOf(t time.Time) stamp {
	if t.IsZero() {
		return 0
	}
	s := stamp(uint32(t.Unix()+unixEpoch))<<32 | stamp(uint64(t.Nanosecond())<<32/1e9)
	return max(s, 1) // the first instant of an era is a time, too
}

// sub is s − t, of stamps less than 68 years apart, whatever the era of each: exact to
// a nanosecond, towards minus infinity.
func (s stamp) sub(t stamp) time.Duration {
	d := int64(s - t)
	return time.Duration(d>>32)*time.Second + time.Duration(uint64(uint32(d))*1e9>>32)
}

// short is an NTP short (RFC 5905 §6): seconds and 2^-16 seconds.
type short uint32

// shortOf returns the least short that is no less than d: what it bounds stays bounded. A
// negative d is zero, what is too long the longest.
func shortOf(d time.Duration) short {
	switch {
	case d <= 0:
		return 0
	case d >= math.MaxUint32*time.Second>>16:
		return math.MaxUint32
	}
	return short((uint64(d)<<16 + 1e9 - 1) / 1e9)
}

func (s short) duration() time.Duration { return time.Duration(uint64(s) * 1e9 >> 16) }
