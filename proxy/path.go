package proxy

import (
	"context"
	"errors"
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

	// Its place in the registry: among the guests until an attempt is allowed, then
	// that attempt's slot. The last goroutine that has the connection uses them.
	guest   *guest
	slot    *slot
	unwatch func() bool

	// carry has the tunnel go on that the connection has become, and calls done at its end.
	// nil: it is none.
	carry func(done func())
}

// reset closes the connection without a word.
func (c *peer) reset() {
	c.SetLinger(0)
	c.Close()
}

// attempt is what a client asks for, by whatever way it said so.
type attempt struct {
	plane  policy.Plane // Connect, TLS or HTTP
	peer   *peer
	client netip.Addr // unmapped, no zone
	iface  string     // that it came in by; "" where not known
	name   string     // canonical (policy.WireName), or as it came where it is no host name
	port   uint16
	noSNI  bool // the ClientHello had none: allowed only where the rule says so
	began  time.Time

	// original is where the client itself wanted to go. Only an observed flow that names
	// no host is dialled there; it is not valid for any other.
	original netip.Addr

	decided  bool
	decision policy.Decision // filled by decide
	dest     netip.AddrPort  // filled by dial
	detail   string          // filled by dial: what the record of an allow is to say
}

// attempt returns what the peer asks for now; on a kept-alive connection it does so
// more than once.
func (c *peer) attempt(plane policy.Plane, name string, port uint16) *attempt {
	return &attempt{plane: plane, peer: c, client: c.client, iface: c.iface, name: name, port: port, began: c.began}
}

// request is what the policy is asked.
func (a *attempt) request() policy.Request {
	return policy.Request{
		Plane:     a.plane,
		Client:    a.client,
		Interface: a.iface,
		Name:      a.name,
		Port:      a.port,
		Proto:     policy.TCP,
	}
}

// decide asks the policy once and reports whether the attempt may go on. It writes no
// record: a denial is to be followed by deny with the decision's reason, the rest by
// one of allow, failed and, when a guard objects, deny.
func (p *Proxy) decide(a *attempt) bool {
	r := a.request()
	r.Now = p.deps.Trusted()
	a.decided, a.decision = true, p.deps.Policy().Decide(r)
	return a.decision.Pass()
}

// private reports whether the attempt may lead to a special-purpose address.
func (a *attempt) private() bool { return mayBePrivate(a.decision) }

// mayBePrivate tells it of a decision. One that is only observed has no rule that allows
// it: that guard stays on.
func mayBePrivate(d policy.Decision) bool {
	return d.Verdict == policy.Allow && d.Rule != nil && d.Rule.Private
}

// sniOptional reports whether a ClientHello of this attempt may be without SNI.
func (a *attempt) sniOptional() bool { return mayLackSNI(a.decision) }

func mayLackSNI(d policy.Decision) bool {
	return d.Verdict == policy.Allow && d.Rule != nil && d.Rule.SNIOptional
}

// judge decides again on what was allowed: the policy is another, or time has gone on.
func (p *Proxy) judge(f flow) policy.Decision {
	f.Now = p.deps.Trusted()
	d := p.deps.Policy().Decide(f.Request)
	if f.Name == "" && d.Class != nil && d.Class.Mode == policy.Observe {
		d.Verdict = policy.WouldDeny
	}
	switch {
	case !d.Pass():
	case f.Dest.IsValid() && !mayBePrivate(d) && policy.CheckAddr(f.Dest.Addr()) != nil:
		d.Verdict, d.Reason = policy.Deny, policy.PrivateAddress
	case f.NoSNI && !mayLackSNI(d):
		d.Verdict, d.Reason = policy.Deny, policy.NoSNI
	}
	return d
}

// admit gives the connection of an allowed attempt a place among the tunnels, which it
// has until it asks for something else or is closed. When it must end because of what the
// policy says later, it is closed; a tunnel sees to that itself.
func (p *Proxy) admit(a *attempt) error {
	c := a.peer
	c.giveUpPlace()
	r := a.request()
	if a.original.IsValid() {
		r.Name = "" // it goes where no name led it
	}
	slot, err := p.registry.admit(r)
	if err != nil {
		return err
	}
	c.slot, c.unwatch = slot, context.AfterFunc(slot.ctx, c.reset)
	return nil
}

// giveUpPlace takes the connection out of the registry.
func (c *peer) giveUpPlace() {
	if c.guest != nil {
		c.guest.release()
		c.guest = nil
	}
	if c.slot != nil {
		if c.unwatch != nil { // else it has become a tunnel
			c.unwatch()
		}
		c.slot.release()
		c.slot = nil
	}
}

// tunnel has the connection become a tunnel: what carries it relays between client and server
// until both are done, closes them, and writes the record of the end. The early bytes are what
// the client sent already.
func (p *Proxy) tunnel(a *attempt, early []byte, server *net.TCPConn) {
	c := a.peer
	if a.noSNI && !a.original.IsValid() {
		c.slot.withoutSNI()
	}
	// Of the attempt nothing is kept while the tunnel lasts: it holds on to its policy,
	// which may long have been replaced.
	rec := a.closing()
	if !c.unwatch() {
		server.Close()
		p.closed(rec, endBefore(c.slot.ctx))
		return
	}
	t := newTunnel(c.TCPConn, server, early, p.cfg.IdleTimeout)
	t.speed.fastest = &p.stats.fastest
	t.rest.parking = p.parking
	slot := c.slot
	c.TCPConn, c.unwatch = nil, nil // so that they don't last as long as the tunnel
	c.carry = func(done func()) {
		t.begin(func(end tunnelEnd) {
			p.closed(rec, end)
			done()
		})
		slot.cutBy(t.cut)
	}
}

// endBefore is the end of a tunnel that was cut before it began.
func endBefore(ctx context.Context) tunnelEnd {
	if cut, ok := errors.AsType[*cutError](context.Cause(ctx)); ok {
		return tunnelEnd{By: cut.By, Why: cut.Why}
	}
	return tunnelEnd{By: byStop}
}
