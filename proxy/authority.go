package proxy

import (
	"net/netip"
	"strconv"
	"strings"

	"tillgate/policy"
)

// maxNoName bounds what is kept, for a record, of a name that is none. It is more than
// a name may have, so what is cut off makes no name of it.
const maxNoName = 300

// An authority is host:port as a CONNECT target, a URL or a Host field has it
// (RFC 3986 §3.2, without userinfo).
type authority struct {
	name  string // canonical; or, if it is not named, as it came: the policy says why it is none
	port  uint16 // 0: none
	named bool   // name is a host name, in its canonical form
	valid bool   // what stands where the port should is one, or nothing does
}

// parseAuthority takes s apart. There is one form of a host that passes, that of
// [policy.WireName]: userinfo, brackets, percent signs and whatever else has led
// other proxies astray stay in the name and make it none.
func parseAuthority(s string) authority {
	a := authority{name: s, valid: true}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexAny(s, "]@") && !isIPv6(s) {
		a.name = s[:i]
		a.port, a.valid = parsePort(s[i+1:])
	}
	if name, ok := policy.WireName(a.name); ok && name != "" {
		a.name, a.named = name, true
	} else {
		a.name = a.name[:min(len(a.name), maxNoName)]
	}
	return a
}

// isIPv6 reports whether s is an address without the brackets that a port would
// need: then its last colon begins no port.
func isIPv6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6()
}

// parsePort takes 1 to 65535, without leading zeros.
func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s[0] == '0' {
		return 0, false
	}
	return uint16(n), true
}

// on is the port, or the standard one where none is written.
func (a authority) on(standard uint16) uint16 {
	if a.port == 0 {
		return standard
	}
	return a.port
}
