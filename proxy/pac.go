package proxy

import (
	"fmt"
	"net/netip"
	"strings"
)

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
