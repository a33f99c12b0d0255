package resolver

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"tillgate/policy"
)

const (
	// serverUDPSize is the largest reply by UDP, and what we say that we take. It
	// fits every link without fragments (DNS flag day 2020).
	serverUDPSize = 1232
	// minUDPSize is what a client takes that says nothing (RFC 1035 §4.2.1), or
	// that says less (RFC 6891 §6.2.3).
	minUDPSize = dns.MinMsgSize
)

// query is one question of one client, and the way back to it.
type query struct {
	req     *dns.Msg
	client  netip.Addr
	local   netip.Addr // that was asked
	ifindex int        // that it came in by; 0: not known
	proto   policy.Proto
	set     *policy.Set
	at      time.Time // when it was read
	asked   []byte    // the name as it came, to be said again; nil: as in req
	prompt  bool      // the reader waits for the reply

	name  string // canonical, or as it came where it is no host name
	qtype uint16

	class    *policy.Class
	bucket   *bucket   // of its client; nil: no limit
	trusted  time.Time // what was decided at
	decision policy.Decision

	// What became of it.
	outcome     outcome
	rcode       string
	hit, denied bool
	keep        time.Duration // in which the same may be said again, unless the policy changes

	// send takes the packed reply, or nil for silence; it is called once.
	send func([]byte)
}

// fault is how a query breaks the protocol.
type fault uint8

const (
	sound   fault = iota
	formErr       // RFC 1035 §4.1.1
	notImpl       // an opcode or class that is not served
	badVers       // RFC 6891 §6.1.3
)

var faultRcodes = [...]int{formErr: dns.RcodeFormatError, notImpl: dns.RcodeNotImplemented, badVers: dns.RcodeBadVers}

const (
	headerSize  = 12  // bytes of a DNS message (RFC 1035 §4.1.1)
	maxWireName = 255 // of a name (§2.3.4)
	optSize     = 11  // of an OPT without options (RFC 6891 §6.1.2)
)

// isQuery reports whether a message is one. Any answer to something else could start a loop.
func isQuery(wire []byte) bool { return len(wire) >= headerSize && wire[2]&0x80 == 0 }

// read parses a query. The name of a sound query becomes lower-case, so that a reply
// does not depend on the case that it was asked in, which [Resolver.respond] puts back.
func (q *query) read(wire []byte) fault {
	m, f := parse(wire)
	if end := nameEnd(wire); f == sound && end > 0 {
		q.asked = wire[headerSize:end]
		m.Question[0].Name = dns.CanonicalName(m.Question[0].Name)
	}
	q.req = m
	return f
}

// wait is called before others may answer the query. Nothing of it is the reader's then.
func (q *query) wait() {
	q.prompt, q.asked = false, bytes.Clone(q.asked)
}

// parse unpacks a query and judges its form. What it returns is what a reply is made
// of, and no more: a query may wait for the upstream, with thousands of others, and a
// client can put much into one.
func parse(wire []byte) (*dns.Msg, fault) {
	if end := nameEnd(wire); end > 0 && bare(wire, end) {
		m := salvage(wire) // all there is
		return m, judge(m)
	}
	return unpack(wire)
}

// nameEnd returns where the name of a query's question ends; 0: nowhere, or elsewhere.
func nameEnd(wire []byte) int {
	for at := headerSize; at < len(wire) && at < headerSize+maxWireName; {
		length := int(wire[at])
		if length > 63 {
			return 0
		}
		at += 1 + length
		if length == 0 {
			return at
		}
	}
	return 0
}

// bare reports whether a query whose name ends at end has one question and, beyond that, nothing
// but an OPT without options: what a reply is made of, and what nearly all have.
func bare(wire []byte, end int) bool {
	const counts, one, withOPT = 4, 1 << 48, 1<<48 | 1
	rest := wire[end:]
	switch binary.BigEndian.Uint64(wire[counts:]) {
	case one:
		return len(rest) == 4
	case withOPT:
		return len(rest) == 4+optSize && rest[4] == 0 &&
			binary.BigEndian.Uint16(rest[5:]) == dns.TypeOPT && binary.BigEndian.Uint16(rest[13:]) == 0
	}
	return false
}

// unpack is parse for any query.
func unpack(wire []byte) (*dns.Msg, fault) {
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return salvage(wire), formErr
	}
	f := judge(m)
	// Unpack takes a message that ends before its counts do for a shorter one.
	for i, n := range [...]int{len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra)} {
		if f == sound && int(binary.BigEndian.Uint16(wire[4+2*i:])) != n {
			f = formErr
		}
	}
	kept := &dns.Msg{MsgHdr: m.MsgHdr}
	kept.Rcode &= 0xf // Unpack adds what the OPT has of one (RFC 6891 §6.1.3), which means nothing in a query
	if len(m.Question) == 1 {
		kept.Question = m.Question
	}
	if o := m.IsEdns0(); o != nil {
		kept.Extra = []dns.RR{&dns.OPT{Hdr: o.Hdr}}
	}
	return kept, f
}

// salvage takes of a message that can't be unpacked what makes a proper FORMERR: the
// header, the question if it is whole, and that there was an OPT record, even if its
// options are broken. A client that sent one expects one back.
func salvage(wire []byte) *dns.Msg {
	m := new(dns.Msg)
	m.Unpack(wire[:headerSize]) // never fails: it is the counts that can't be met
	m.Question = nil
	if binary.BigEndian.Uint16(wire[4:]) != 1 {
		return m
	}
	name, at, err := dns.UnpackDomainName(wire, headerSize)
	if err != nil || at+4 > len(wire) {
		return m
	}
	m.Question = []dns.Question{{Name: name, Qtype: binary.BigEndian.Uint16(wire[at:]), Qclass: binary.BigEndian.Uint16(wire[at+2:])}}
	at += 4
	for at < len(wire) {
		start := at
		_, at, err = dns.UnpackDomainName(wire, at)
		const fixed = 10 // type, class, TTL and length (RFC 1035 §4.1.3)
		if err != nil || at+fixed > len(wire) {
			return m
		}
		if binary.BigEndian.Uint16(wire[at:]) == dns.TypeOPT && wire[start] == 0 {
			o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
			o.Hdr.Class = binary.BigEndian.Uint16(wire[at+2:])
			o.Hdr.Ttl = binary.BigEndian.Uint32(wire[at+4:])
			m.Extra = []dns.RR{o}
			return m
		}
		at += fixed + int(binary.BigEndian.Uint16(wire[at+8:]))
	}
	return m
}

// judge looks at the form of a message that could be unpacked.
func judge(m *dns.Msg) fault {
	switch {
	case m.Opcode != dns.OpcodeQuery:
		return notImpl
	case len(m.Question) != 1, len(m.Answer) != 0, len(m.Ns) != 0, m.Truncated:
		return formErr
	}
	opts := 0
	for _, rr := range m.Extra {
		if o, ok := rr.(*dns.OPT); ok {
			opts++
			if o.Hdr.Name != "." {
				return formErr // RFC 6891 §6.1.2
			}
		}
	}
	if opts > 1 {
		return formErr // RFC 6891 §6.1.1
	}
	if o := m.IsEdns0(); o != nil && o.Version() != 0 {
		return badVers
	}
	if m.Question[0].Qclass != dns.ClassINET {
		return notImpl
	}
	return sound
}

// limit is the largest reply that the query may get, in bytes.
func (q *query) limit() int {
	if q.proto == policy.TCP {
		return dns.MaxMsgSize
	}
	o := q.req.IsEdns0()
	if o == nil {
		return minUDPSize
	}
	return min(max(int(o.UDPSize()), minUDPSize), serverUDPSize)
}
