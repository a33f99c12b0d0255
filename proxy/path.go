package proxy

import (
	"net"
	"net/netip"
	"time"

	"tillgate/policy"
)

// peer is an accepted connection of a client, and what is known of it before it has
// said anything.
type peer struct {
	*net.TCPConn
	client netip.Addr     // unmapped, no zone
	local  netip.AddrPort // that it came to: after a redirection the box's own
	iface  string         // that it came in by; "" where not known
	began  time.Time
}

// attempt is what a client asks for, by whatever way it said so.
type attempt struct {
	plane  policy.Plane // Connect, TLS or HTTP
	client netip.Addr   // unmapped, no zone
	iface  string       // that it came in by; "" where not known
	name   string       // canonical (policy.WireName), or as it came where it is no host name
	port   uint16
	noSNI  bool // the ClientHello had none: allowed only where the rule says so
	began  time.Time

	set      *policy.Set     // that decided
	decision policy.Decision // filled by decide
	detail   string          // filled by dial: what the record of an allow is to say
}

// attempt returns what the peer asks for now; on a kept-alive connection it does so
// more than once.
func (c *peer) attempt(plane policy.Plane, name string, port uint16) *attempt {
	return &attempt{plane: plane, client: c.client, iface: c.iface, name: name, port: port, began: c.began}
}

// decide asks the policy once and reports whether the attempt may go on. It writes no
// record: a denial is to be followed by deny with the decision's reason, the rest by
// one of allow, failed and, when a guard objects, deny.
func (p *Proxy) decide(a *attempt) bool {
	a.set = p.deps.Policy()
	a.decision = a.set.Decide(policy.Request{
		Plane:     a.plane,
		Client:    a.client,
		Interface: a.iface,
		Name:      a.name,
		Port:      a.port,
		Proto:     policy.TCP,
		Now:       p.deps.Trusted(),
	})
	return a.decision.Pass()
}

// private reports whether the attempt may lead to a special-purpose address. An observed
// one may not: that guard stays on.
func (a *attempt) private() bool {
	return a.decision.Verdict == policy.Allow && a.decision.Rule != nil && a.decision.Rule.Private
}

// sniOptional reports whether a ClientHello of this attempt may be without SNI.
func (a *attempt) sniOptional() bool {
	return a.decision.Verdict == policy.Allow && a.decision.Rule != nil && a.decision.Rule.SNIOptional
}
