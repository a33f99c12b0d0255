package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

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
// connection is closed. When ctx ends, it is not served any more unless it is a tunnel.
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
	case f.plane == policy.HTTP:
		p.serveHTTPConn(ctx, c, netip.AddrPortFrom(f.meant, f.port), f.early)
	case reason != policy.NoReason:
		p.nameless(ctx, f, reason, why)
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
// flow's plane is HTTP when it is that, which is read elsewhere.
func (p *Proxy) listenTo(c *peer, meant netip.AddrPort) (f *redirected, reason policy.Reason, why error) {
	f = &redirected{attempt: c.attempt(policy.TLS, "", meant.Port()), meant: meant.Addr()}
	f.early = make([]byte, firstRead)
	n, err := c.Read(f.early)
	f.early = f.early[:n]
	if n == 0 {
		return f, policy.NoHello, err
	}
	opening := openingOf(f.early[0])
	if f.port == 0 {
		f.port = tlsPort
		if opening == openingHTTP {
			f.port = httpPort
		}
	}
	switch {
	case opening == openingHTTP && f.port != tlsPort:
		f.plane = policy.HTTP
		return f, policy.NoReason, nil
	case opening != openingTLS:
		return f, policy.NotTLS, errNotTLS
	}
	h, raw, err := readHello(c.TCPConn, f.early)
	f.early, f.name, f.noSNI = raw, h.Name, !h.HasSNI
	if e, ok := errors.AsType[*helloError](err); ok {
		return f, e.Reason, e
	}
	if f.port == httpPort {
		return f, policy.Malformed, errTLSOnHTTP
	}
	return f, policy.NoReason, nil
}

var errTLSOnHTTP = errors.New("TLS on the port of HTTP")

// named goes on with a flow whose hello has SNI.
func (p *Proxy) named(ctx context.Context, f *redirected) {
	switch {
	case p.decide(f.attempt):
		p.join(ctx, f)
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
		p.join(ctx, f)
	default:
		p.nameless(ctx, f, policy.NoSNI, fmt.Errorf("%d names are allowed at this address, as %s and %s", len(found), found[0].name, found[1].name))
	}
}

// nameless ends a flow that names no host, for the reason and with the error that tell
// why. But one of an observed class goes where the client wanted to.
func (p *Proxy) nameless(ctx context.Context, f *redirected, reason policy.Reason, why error) {
	p.know(f.attempt)
	class := f.decision.Class
	gone := reason == policy.NoHello && !isTimeout(why)
	switch {
	case class == nil:
		p.refuse(f, policy.UnknownClient, "")
	case class.Mode == policy.Observe && f.meant.IsValid() && !gone:
		f.decision.Verdict, f.decision.Reason = policy.WouldDeny, reason
		f.original = f.meant
		p.join(ctx, f)
	default:
		p.refuse(f, reason, detailOf(why))
	}
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
