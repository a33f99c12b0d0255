package resolver

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"tillgate/policy"
)

// steer answers the name of a time server with the box's own address, where it serves
// time itself: a terminal whose clock is built to ask pool.ntp.org asks the box, behind
// any firewall, and without waiting for the upstream. The policy says of which names this
// is true for whom; it is never so of one that has a TCP port, a web server's: clients
// of HTTP/2 would take many such names for one server.
//
// There are no other records than the address, and so no CNAME.
func (r *Resolver) steer(q *query) (*dns.Msg, outcome) {
	o := outcome{verdict: q.decision.Verdict, reason: q.decision.Reason}
	switch q.qtype {
	case dns.TypeA, dns.TypeAAAA:
	default:
		o.reason = policy.QtypeSuppressed
		o.detail = steered + "only its address is given"
		return q.empty(), o
	}
	if !reaches(q.decision.Class, q.qtype == dns.TypeA) {
		o.detail = steered + "the client would come by a family that its class has no network of"
		return q.empty(), o
	}
	addr := r.ifaces.Address(q.local, q.ifindex, q.qtype == dns.TypeA)
	if !addr.IsValid() {
		o.detail = steered + "the box has no such address where the client is"
		return q.empty(), o
	}
	m := q.box(addr)
	explain(m, dns.ExtendedErrorCodeForgedAnswer, "this box is the time server")
	o.answers = []netip.Addr{addr}
	o.detail = steered + "the box is the time server"
	return m, o
}

// reaches reports whether a client of the class that comes by IPv4, or IPv6, may still be of
// it: an IPv6 address of the box is of no use to one that would be a stranger there.
func reaches(class *policy.Class, v4 bool) bool {
	return len(class.Interfaces) > 0 ||
		slices.ContainsFunc(class.Networks, func(n netip.Prefix) bool { return n.Addr().Is4() == v4 })
}

// steered begins the detail of a record, so that these answers can be found.
const steered = "steered: "
