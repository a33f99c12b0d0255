package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"tillgate/policy"
)

// firstRead is how much of a connection is read to tell what it is: most hellos as a whole.
const firstRead = 2 << 10

// A redirected connection, on its way to become a tunnel.
type redirected struct {
	*attempt
	meant netip.Addr // where the client wanted to go; the zero Addr where that is not known
	early []byte     // what it has said
}

// intercept serves a connection that the firewall has redirected to here: it finds out
// which host is meant, and goes the way of all attempts to that. It returns when the
// connection is closed, or has become a tunnel. When ctx ends, it is not served any more
// unless it has.
func (p *Proxy) intercept(ctx context.Context, c *peer) {
	meant, ok := p.meant(c)
	if !ok {
		p.deny(c.attempt(policy.TLS, "", c.local.Port()), policy.PrivateAddress, "came to the box itself, without being redirected")
		c.reset()
		return
	}
	c.SetReadDeadline(c.began.Add(p.cfg.HelloTimeout))
	f, reason, why := p.listenTo(c, meant)
	if ctx.Err() != nil {
		c.reset() // the box stops, which may be why there is no name
		return
	}
	switch {
	case reason != policy.NoReason:
		p.nameless(ctx, f, reason, why)
	case f.plane == policy.HTTP:
		p.serveHTTPConn(ctx, c, netip.AddrPortFrom(f.meant, f.port), f.early)
	case f.noSNI:
		p.withoutSNI(ctx, f)
	default:
		p.named(ctx, f)
	}
}

// meant returns where the client wanted to go. Only the port of it is believed: it is
// what was asked for; where the name leads, the box finds out itself. The zero address
// and port 0 are not known. It is false for a connection that came to the listener
// itself and should not.
func (p *Proxy) meant(c *peer) (netip.AddrPort, bool) {
	if dst, redirected := p.originalDst(c.TCPConn); redirected {
		return dst, true
	}
	if port := c.local.Port(); port == httpPort || port == tlsPort {
		return netip.AddrPortFrom(netip.Addr{}, port), true
	}
	return netip.AddrPort{}, p.cfg.Direct
}

// listenTo lets the client say what it wants. A reason is why it has not named a host. The
// flow's plane is HTTP when it begins as that, the rest of which is read elsewhere.
func (p *Proxy) listenTo(c *peer, meant netip.AddrPort) (f *redirected, reason policy.Reason, why error) {
	f = &redirected{attempt: c.attempt(policy.TLS, "", meant.Port()), meant: meant.Addr()}
	if f.port == httpPort {
		f.plane = policy.HTTP // until there is a hello
	}
	said := openingUnknown
	for said == openingUnknown {
		n := len(f.early)
		f.early = slices.Grow(f.early, firstRead)
		got, err := c.Read(f.early[n:cap(f.early)])
		f.early = f.early[:n+got]
		if got == 0 {
			return f, policy.NoHello, err
		}
		said = openingOf(f.early)
		if f.port == tlsPort && said != openingTLS {
			return f, policy.NotTLS, errNotTLS // whatever becomes of it
		}
	}
	switch said {
	case openingHTTP:
		f.settle(httpPort)
		f.plane = policy.HTTP
		return f, policy.NoReason, nil
	case openingOther:
		f.settle(tlsPort)
		return f, policy.NotTLS, errNeither
	}
	f.settle(tlsPort)
	f.plane = policy.TLS
	h, raw, err := readHello(c.TCPConn, f.early)
	f.early, f.name, f.noSNI = raw, h.Name, !h.HasSNI
	if e, ok := errors.AsType[*helloError](err); ok {
		return f, e.Reason, e
	}
	return f, policy.NoReason, nil
}

// settle says which port is meant where only what the client says can tell.
func (f *redirected) settle(port uint16) {
	if f.port == 0 {
		f.port = port
	}
}

// named goes on with a flow whose hello has SNI.
func (p *Proxy) named(ctx context.Context, f *redirected) {
	switch {
	case p.decide(f.attempt):
		p.pass(ctx, f)
	case f.decision.Reason == policy.BadName, f.decision.Reason == policy.IPLiteral:
		p.nameless(ctx, f, f.decision.Reason, nil)
	default:
		p.refuse(f, f.decision.Reason, "")
	}
}

// withoutSNI goes on with a flow whose hello has none, as those of old MQTT clients have
// not. Of the names that this client was given the address for, the one that is allowed
// without SNI is meant; if there are two, nobody knows which.
func (p *Proxy) withoutSNI(ctx context.Context, f *redirected) {
	var found []*attempt
	for _, name := range p.deps.NamesOf(f.client, f.meant) {
		a := *f.attempt
		a.name = name
		if p.decide(&a) && a.sniOptional() {
			found = append(found, &a)
		}
	}
	switch len(found) {
	case 0:
		p.nameless(ctx, f, policy.NoSNI, nil)
	case 1:
		f.attempt = found[0]
		p.pass(ctx, f)
	default:
		p.nameless(ctx, f, policy.NoSNI, fmt.Errorf("%d names are allowed at this address, as %s and %s", len(found), found[0].name, found[1].name))
	}
}

// pass goes on with a flow of TLS to a host that may be reached. What is allowed on the port
// of HTTP is HTTP.
func (p *Proxy) pass(ctx context.Context, f *redirected) {
	if f.port == httpPort && f.decision.Verdict == policy.Allow {
		p.refuse(f, policy.Malformed, errTLSOnHTTP.Error())
		return
	}
	p.join(ctx, f)
}

// join connects a flow that may pass to its host, and makes a tunnel of the two.
func (p *Proxy) join(ctx context.Context, f *redirected) {
	server, err := p.dial(ctx, f.attempt)
	if err != nil {
		p.failed(f.attempt, err)
		f.close()
		return
	}
	p.allow(f.attempt)
	p.tunnel(f.attempt, f.early, server)
}

// refuse denies a flow.
func (p *Proxy) refuse(f *redirected, reason policy.Reason, detail string) {
	p.deny(f.attempt, reason, detail)
	f.close()
}

// close ends a flow that has no tunnel: with an alert if the client speaks TLS and what it
// wants is denied, else as if the host itself had not been there.
func (f *redirected) close() {
	if f.decision.Verdict == policy.Deny && f.decision.Reason != policy.LimitReached && len(f.early) > 0 && looksLikeTLS(f.early) {
		refuseTLS(f.peer.TCPConn)
		return
	}
	f.peer.reset()
}

// detailOf puts into words why nothing was said.
func detailOf(why error) string {
	switch {
	case why == nil:
		return ""
	case errors.Is(why, os.ErrDeadlineExceeded):
		return "not in time"
	}
	return why.Error()
}
