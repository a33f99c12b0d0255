package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"tillgate/policy"
)

// boxName is the name that the box's DNS gives it.
const boxName = "tillgate.internal"

const jsonType = "application/json"

// asksBox reports whether a request that could be for any host is for the box itself: at
// the port of HTTP or, of a client that knows of the proxy, at the proxy's own.
func (h *httpConn) asksBox(asked authority) bool {
	switch {
	case h.host != "", !asked.valid, !h.isBox(asked.name): // a tunnel leads to an origin
		return false
	case h.port != 0:
		return h.port == httpPort && asked.port == httpPort
	}
	return asked.port == httpPort || asked.port == h.peer.local.Port()
}

// serveOwn answers a request that asks the box itself, and not for an origin: for the page
// that tells who the client is and what it may reach, or for the file by which a browser
// configures itself, under its own name or by that of WPAD. The file is for those who can
// reach the proxy: a redirected connection did not come to its port.
//
// The page is a decision like any other, and has its record. The file has none: browsers
// ask for it all day.
func (h *httpConn) serveOwn(w http.ResponseWriter, r *http.Request) {
	host := parseAuthority(r.Host)
	host.port = host.on(h.standardPort())
	a := h.attempt(policy.HTTP, host)
	set := h.p.deps.Policy()
	class := set.Class(a.client, a.iface)
	isFile := h.port == 0 && (r.URL.Path == "/proxy.pac" || r.URL.Path == "/wpad.dat")
	switch {
	case class == nil:
		h.deny(w, a, policy.UnknownClient, "")
	case !isFile && !h.isBox(host.name):
		h.deny(w, a, policy.Malformed, "a proxy is asked by absolute URL")
	case !isFile && r.URL.Path != "/":
		plain(w, http.StatusNotFound, "There is nothing here. Who you are is at /, and what browsers configure themselves by at the proxy's /proxy.pac.\n")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		plain(w, http.StatusMethodNotAllowed, "This is only to be read.\n")
	case isFile:
		w.Header().Set("Cache-Control", "max-age=300")
		write(w, http.StatusOK, "application/x-ns-proxy-autoconfig", pacFile(h.peer.local))
	default:
		a.decided, a.dest = true, h.peer.local
		a.decision = policy.Decision{Verdict: policy.Allow, Reason: policy.LocalService, Class: class}
		h.p.note(a, "", "the box's own page")
		for name, value := range whoHeader {
			w.Header().Set(name, value)
		}
		h.tellWho(w, r, set, class, a)
	}
}

// tellWho answers who the client is: to people with a page, to programs that ask for it as JSON.
func (h *httpConn) tellWho(w http.ResponseWriter, r *http.Request, set *policy.Set, class *policy.Class, a *attempt) {
	if r.Header.Get("Accept") == jsonType && h.p.deps.Tell != nil {
		text, err := json.Marshal(h.p.deps.Tell(set, class, a.client))
		if err != nil {
			plain(w, http.StatusInternalServerError, "This can't be told: "+err.Error()+"\n")
			return
		}
		write(w, http.StatusOK, jsonType, string(text))
		return
	}
	write(w, http.StatusOK, "text/html; charset=utf-8", whoPage(set, class, a.client, a.iface, h.p.deps.Trusted()))
}

// isBox reports whether a host is the box, as the client sees it.
func (h *httpConn) isBox(host string) bool {
	return host == boxName || isAddress(host, h.peer.local.Addr())
}

// isAddress reports whether a host, as it is written in a URL, is an address.
func isAddress(host string, addr netip.Addr) bool {
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.WithZone("") == addr
}

func plain(w http.ResponseWriter, status int, text string) {
	write(w, status, "text/plain; charset=utf-8", text)
}

func write(w http.ResponseWriter, status int, contentType, text string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text)
}
