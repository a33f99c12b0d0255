package proxy

import (
	"context"
	"net/http"
	"net/netip"

	"tillgate/policy"
)

// A flow is nameless when it names no host that the policy could judge. There is one rule
// for all of them, whether they speak TLS, HTTP or neither: in a class that is only observed
// they go where the client itself wanted to, if that is known and passes the guard of
// addresses, and are recorded as would-deny; else they are denied. What breaks a protocol,
// or names one host here and another there, is not nameless: those guards stay on.

// isNameless reports whether an attempt that is denied for this reason named no host.
func isNameless(reason policy.Reason) bool {
	switch reason {
	case policy.NoSNI, policy.NoHello, policy.NotTLS, policy.IPLiteral, policy.BadName:
		return true
	}
	return false
}

// letNameless reports whether an attempt may pass though it is denied for the reason. Then
// it is to be dialled at meant, which is where the client wanted to go.
func (p *Proxy) letNameless(a *attempt, meant netip.Addr, reason policy.Reason) bool {
	p.know(a)
	class := a.decision.Class
	if class == nil || class.Mode != policy.Observe || !meant.IsValid() || !isNameless(reason) {
		return false
	}
	a.decision.Verdict, a.decision.Reason = policy.WouldDeny, reason
	a.original = meant
	return true
}

// nameless ends a flow that names no host, for the reason and with the error that tell
// why, or lets it go where the client wanted to.
func (p *Proxy) nameless(ctx context.Context, f *redirected, reason policy.Reason, why error) {
	p.know(f.attempt)
	gone := reason == policy.NoHello && !isTimeout(why)
	switch {
	case f.decision.Class == nil:
		p.refuse(f, policy.UnknownClient, "")
	case !gone && p.letNameless(f.attempt, f.meant, reason):
		p.join(ctx, f)
	default:
		if f.meant.IsValid() { // all that is known of where it wanted to go
			f.dest = netip.AddrPortFrom(f.meant.Unmap(), f.port)
		}
		p.refuse(f, reason, detailOf(why))
	}
}

// handOver connects a redirected client, of which a request names no host, to where it wanted
// to go, and ends the HTTP: the server gets what the client says as it says it. Clients keep
// a connection for one host, so the requests after this one name none either.
func (h *httpConn) handOver(w http.ResponseWriter, r *http.Request, a *attempt) {
	// net/http takes the gate's refusal to give more for the end of the client.
	ctx := context.WithoutCancel(r.Context())
	server, err := h.p.dial(ctx, a)
	if err != nil {
		h.p.failed(a, err)
		h.tell(w, a.unreached(err))
		return
	}
	if _, _, err := http.NewResponseController(w).Hijack(); err != nil {
		server.Close()
		h.p.failed(a, &dialError{localFault, err})
		panic(http.ErrAbortHandler)
	}
	h.tunnel = &opened{attempt: a, server: server, early: h.gate.refused}
	h.release()
}
