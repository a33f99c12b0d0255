package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"tillgate/policy"
)

// boxName is the name that the box's DNS gives it.
const boxName = "tillgate.internal"

// serveOwn answers a request that asks the box itself, and not for an origin: for the
// file by which a browser configures itself, under its own name or by that of WPAD.
func (h *httpConn) serveOwn(w http.ResponseWriter, r *http.Request) {
	host := parseAuthority(r.Host)
	host.port = host.on(h.standardPort())
	a := h.attempt(policy.HTTP, host)
	isFile := r.URL.Path == "/proxy.pac" || r.URL.Path == "/wpad.dat"
	switch {
	case h.p.deps.Policy().Class(a.client, a.iface) == nil:
		h.deny(w, a, policy.UnknownClient, "")
	case !isFile && !h.isBox(host.name):
		h.deny(w, a, policy.Malformed, "a proxy is asked by absolute URL")
	case !isFile:
		plain(w, http.StatusNotFound, "This is a proxy. Browsers configure themselves by /proxy.pac.\n")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		plain(w, http.StatusMethodNotAllowed, "This is a file.\n")
	default:
		w.Header().Set("Cache-Control", "max-age=300")
		write(w, http.StatusOK, "application/x-ns-proxy-autoconfig", pacFile(h.peer.local))
	}
}

// isBox reports whether a host is the box, as the client sees it.
func (h *httpConn) isBox(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == boxName || err == nil && addr.WithZone("") == h.peer.local.Addr()
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

// directHosts are those that browsers do not ask the proxy for, as regular expressions on
// the host: plain names, and addresses within the store or the machine. What the policy
// denies is asked for like the rest, or there would be no record of it. The file has no
// function that looks names up: isInNet and dnsResolve do, and block the browser.
var directHosts = []struct{ pattern, why string }{
	{`^[^.:]+$`, "plain names"},
	{`^(127|10)\.\d+\.\d+\.\d+$`, "loopback, RFC 1918"},
	{`^172\.(1[6-9]|2\d|3[01])\.\d+\.\d+$`, "RFC 1918"},
	{`^192\.168\.\d+\.\d+$`, "RFC 1918"},
	{`^169\.254\.\d+\.\d+$`, "link-local"},
	{`^\[?::1\]?$`, "loopback"},
	{`^\[?f[cd][0-9a-f]{2}:`, "unique local, RFC 4193"},
	{`^\[?fe[89ab][0-9a-f]:`, "link-local"},
}

// pacFile is a proxy auto-configuration file for clients that know the box by this
// address. There is no other way where the box does not answer: a terminal that went
// around it would be none of its business.
func pacFile(box netip.AddrPort) string {
	var b strings.Builder
	b.WriteString("function FindProxyForURL(url, host) {\n\thost = host.toLowerCase();\n")
	for _, d := range directHosts {
		fmt.Fprintf(&b, "\tif (/%s/.test(host)) return \"DIRECT\"; // %s\n", d.pattern, d.why)
	}
	own := []string{boxName, box.Addr().String()}
	if box.Addr().Is6() {
		own = append(own, "["+own[1]+"]") // browsers don't agree whether it has brackets
	}
	for _, own := range own {
		fmt.Fprintf(&b, "\tif (host === %q) return \"DIRECT\"; // the box\n", own)
	}
	fmt.Fprintf(&b, "\treturn \"PROXY %s\";\n}\n", box)
	return b.String()
}
