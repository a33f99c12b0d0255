package policy

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"tillgate/internal/strictyaml"
)

// A pattern is the host of a rule, taken apart.
type pattern struct {
	kind   kind
	prefix string // of s-*.x: what stands before the star
	name   string // x, canonical
}

// kind is what a pattern is for.
type kind uint8

const (
	exact  kind = iota // x
	under              // *.x
	prefix             // s-*.x
)

// parseHost takes apart a host that is in the form of [Rule.Host].
func parseHost(host string) pattern {
	before, name, star := strings.Cut(host, "*.")
	switch {
	case !star:
		return pattern{exact, "", host}
	case before == "":
		return pattern{under, "", name}
	}
	return pattern{prefix, before, name}
}

// matches reports whether the pattern is for a name.
func (p pattern) matches(name string) bool {
	if p.kind == exact {
		return name == p.name
	}
	head, ok := strings.CutSuffix(name, "."+p.name)
	return ok && (p.kind == under || strings.HasPrefix(head, p.prefix) && strings.IndexByte(head, '.') < 0)
}

// hostProfile maps what a person may write to what stands in the DNS: UTS 46
// as browsers use it for look-ups, with underscores, and with hyphens wherever
// [WireName] allows them.
var hostProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.CheckHyphens(false))

// HostPattern returns a host of a file in its canonical form: x, *.x or s-*.x,
// in lower case and in the DNS's letters. The error is a strictyaml.Problem
// without a place.
func HostPattern(text string) (string, error) {
	host, star := text, ""
	if i := strings.LastIndexByte(text, '*'); i >= 0 {
		star = strings.ToLower(text[:i+1])
		rest, ok := strings.CutPrefix(text[i+1:], ".")
		if !ok || !isStarLabel(star) {
			return "", strictyaml.Problem{Message: "a * in the wrong place",
				Hint: "it stands for a subdomain (*.example.com) or for the rest of the first label (s-*.example.com)"}
		}
		host, star = rest, star+"."
	}
	ascii, err := hostProfile.ToASCII(host)
	name, ok := WireName(ascii)
	switch {
	case IsLiteral(host) || ok && IsLiteral(name):
		return "", strictyaml.Problem{Message: "an address where a name must stand",
			Hint: "addresses within the store go into network, as 10.20.5.7/32"}
	case strings.Contains(host, "/"):
		return "", strictyaml.Problem{Message: "not a host name", Hint: "write the host alone, without https:// and path"}
	case strings.Contains(host, ":"):
		return "", strictyaml.Problem{Message: "not a host name", Hint: "write the host alone; its port goes into ports, as tcp/443"}
	case err != nil || !ok || name == "" || len(star)+len(name) > maxName:
		return "", strictyaml.Problem{Message: "not a host name"}
	case star != "" && isSuffix(name):
		return "", strictyaml.Problem{Message: "a * over the public suffix " + name,
			Hint: "it would cover unrelated owners' names: write the domain too"}
	}
	return star + name, nil
}

// isStarLabel reports whether the first label of a host is *, or a label that
// ends in it.
func isStarLabel(label string) bool {
	if label == "*" {
		return true
	}
	// With a letter for the star it must be one label of a host name.
	_, _, ok := checkName(label[:len(label)-1] + "x")
	return ok && strings.IndexByte(label, '.') < 0
}

// isSuffix reports whether names directly below x belong to different owners,
// by the ICANN section of the public suffix list. x.appspot.com, of the other
// section, is a provider's customer, which a policy may well name by wildcard.
func isSuffix(x string) bool {
	suffix, icann := publicsuffix.PublicSuffix(x)
	if suffix == x && icann {
		return true
	}
	// A rule *.x of the list makes every name below x a suffix, but not x.
	below := "0." + x
	suffix, icann = publicsuffix.PublicSuffix(below)
	return suffix == below && icann
}

// parseNetwork parses a network whose host bits are zero.
func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.Is4In6() {
			return p, strictyaml.Problem{Message: "a network without its length",
				Hint: "for this one address write " + netip.PrefixFrom(a, a.BitLen()).String()}
		}
		return p, strictyaml.Problem{Message: "not a network", Hint: "written 10.20.1.0/24 or fd00:20:1::/64"}
	}
	switch {
	case p.Addr().Is4In6():
		return p, strictyaml.Problem{Message: "an IPv4-mapped network", Hint: "write it as IPv4"}
	case p != p.Masked():
		return p, strictyaml.Problem{Message: "a network with host bits set", Hint: strictyaml.DidYouMean(p.Masked().String())}
	}
	return p, nil
}
