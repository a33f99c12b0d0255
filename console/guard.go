package console

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// contentPolicy lets a page load what the box itself serves, and do nothing inline. Nor may
// text become markup: what the page shows came over the wire. Forms are sent by script
// alone: without it a password would end up in the address.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// guard keeps other people's web pages from using a browser to ask the box. A request must
// be for a host that nobody else can have (DNS rebinding), and what changes anything, or
// is an answer of the API, must not be asked for by a page from elsewhere.
func (w *web) guard(s *site, next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusForbidden, errElsewhere)
	}))
	next = origins.Handler(next)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		api := strings.HasPrefix(r.URL.Path, "/v1/")
		if api || r.URL.Path == "/metrics" {
			h.Set("Cache-Control", "no-store")
		}
		switch from := r.Header.Get("Sec-Fetch-Site"); {
		case !w.knows(s, r):
			refuse(rw, http.StatusMisdirectedRequest, errHost)
			return
		case api && (from == "cross-site" || from == "same-site"):
			refuse(rw, http.StatusForbidden, errElsewhere)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

var (
	errHost      = errors.New("this is not the address of the console: ask for it by the box's own, as tillgate status shows it")
	errElsewhere = errors.New("a page from elsewhere asked for this")
)

// knows reports whether the host that a request names is the box, and can be nobody else.
func (w *web) knows(s *site, r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	addr, err := netip.ParseAddr(host)
	if err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost") {
		return true // also by ssh -L, at any port
	}
	if !s.secure {
		return false
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return err == nil && addr.WithZone("") == addrOf(local) || strings.EqualFold(host, boxName) || w.cert.covers(host)
}

// boxName is the box's own name, which its DNS gives its address.
const boxName = "tillgate.internal"
