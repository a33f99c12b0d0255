package resolver

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"tillgate/policy"
)

// boxName is the box's own, under the top-level name that is reserved for private
// use (ICANN board resolution 2024.07.29.06).
const boxName = "tillgate.internal"

// special answers q if its name is a special-use one or below one, whatever the policy
// says. What is answered here and in what way, policy.Set.Explain must know too.
func (r *Resolver) special(q *query) (*dns.Msg, outcome, bool) {
	zone, source, ok := policy.SpecialUse(q.name)
	if !ok {
		return nil, outcome{}, false
	}
	answer := r.emptyZone
	switch zone {
	case boxName:
		answer = r.ownAddress
	case "localhost":
		answer = r.loopback
	case "resolver.arpa":
		answer = r.nothing // no designated resolvers: clients would upgrade past us
	}
	m, o := answer(q, zone == q.name)
	if o.verdict == policy.Deny {
		q.denied = true
		o.detail = "special-use name, " + source
	}
	return m, o, true
}

// emptyZone is a zone with nothing in it: NODATA at its top, NXDOMAIN below.
func (r *Resolver) emptyZone(q *query, apex bool) (*dns.Msg, outcome) {
	d := policy.Decision{Reason: policy.NotDocumented, Above: apex}
	return q.denial(d), outcome{reason: d.Reason}
}

// nothing has no records at any name.
func (r *Resolver) nothing(q *query, _ bool) (*dns.Msg, outcome) {
	return r.emptyZone(q, true)
}

// loopback answers for localhost (RFC 6761 §6.3).
func (r *Resolver) loopback(q *query, _ bool) (*dns.Msg, outcome) {
	switch q.qtype {
	case dns.TypeA:
		return q.own(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	case dns.TypeAAAA:
		return q.own(netip.IPv6Loopback())
	}
	return q.own(netip.Addr{})
}

// ownAddress answers for the box: with the address that was asked, or for the other
// family with one of the same interface. A family that the client's class has no network of
// is left out: the client would be told that it is a stranger.
func (r *Resolver) ownAddress(q *query, apex bool) (*dns.Msg, outcome) {
	if !apex {
		return r.emptyZone(q, false)
	}
	if v4 := q.qtype == dns.TypeA; (v4 || q.qtype == dns.TypeAAAA) && reaches(q.class, v4) {
		return q.own(r.ifaces.Address(q.local, q.ifindex, v4))
	}
	return q.own(netip.Addr{})
}

// own is the answer of a name of the box itself: addr, or NODATA if it has none.
func (q *query) own(addr netip.Addr) (*dns.Msg, outcome) {
	o := outcome{verdict: policy.Allow, reason: policy.LocalService}
	if !addr.IsValid() {
		return q.empty(), o
	}
	o.answers = []netip.Addr{addr}
	return q.box(addr), o
}

// box answers q with one of the box's own addresses.
func (q *query) box(addr netip.Addr) *dns.Msg {
	m := q.reply(dns.RcodeSuccess)
	m.Answer = []dns.RR{addressRecord(q.req.Question[0].Name, addr, localTTL)}
	return m
}

// addressRecord is an A or AAAA record.
func addressRecord(owner string, addr netip.Addr, ttl uint32) dns.RR {
	h := dns.RR_Header{Name: owner, Class: dns.ClassINET, Ttl: ttl}
	if addr.Is4() {
		h.Rrtype = dns.TypeA
		return &dns.A{Hdr: h, A: net.IP(addr.AsSlice())}
	}
	h.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: h, AAAA: net.IP(addr.AsSlice())}
}
