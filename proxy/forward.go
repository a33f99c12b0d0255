package proxy

import (
	"net/http"
	"strconv"

	"tillgate/policy"
)

// forward passes on one request by HTTP, if the policy lets it: every request is asked for
// itself, whatever the connection has been allowed before.
func (h *httpConn) forward(w http.ResponseWriter, r *http.Request) {
	var asked authority
	if r.Method == http.MethodConnect {
		asked = parseAuthority(r.RequestURI)
	} else if r.URL.IsAbs() {
		asked = parseAuthority(r.URL.Host)
		asked.port = asked.on(httpPort)
	} else {
		asked = parseAuthority(r.Host)
		asked.port = asked.on(h.standardPort())
	}
	if h.asksBox(asked) {
		h.serveOwn(w, r)
		return
	}
	a := h.attempt(policy.HTTP, asked)
	if reason, detail := h.check(r, a, asked); reason != policy.NoReason {
		h.deny(w, a, reason, detail)
		return
	}
	h.exchange(w, r, a)
}

// check returns why a request is denied.
func (h *httpConn) check(r *http.Request, a *attempt, asked authority) (policy.Reason, string) {
	switch {
	case r.Method == http.MethodConnect:
		return policy.Malformed, connectToNoProxy
	case !asked.valid:
		return policy.Malformed, "not host:port"
	case h.host != "" && asked.name != h.host:
		return policy.HostMismatch, "the tunnel is to " + h.host
	case h.port != 0 && asked.port != h.port:
		return policy.HostMismatch, h.otherPort()
	case !h.p.decide(a):
		return a.decision.Reason, ""
	case a.port == tlsPort:
		return policy.NotTLS, "HTTP"
	case r.Header["Upgrade"] != nil:
		return policy.Malformed, "Upgrade is not forwarded"
	}
	return policy.NoReason, ""
}

const connectToNoProxy = "a CONNECT to no proxy"

// otherPort is the detail of a request for another port than the connection's.
func (h *httpConn) otherPort() string {
	return "the connection was to port " + strconv.Itoa(int(h.port))
}

// tlsPort is the port on which nothing goes in the clear.
const tlsPort = 443
