package main

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tillgate/internal/strictyaml"
	"tillgate/policy"
)

// settingsFile is what the file is called, in its folder and in messages.
const settingsFile = "tillgate.yaml"

// maxUpstreamTimeout keeps what waits for the upstream within the time in
// which the box stops (see stopWithin), and within that of the clients: their
// stubs ask again after 5 s.
const maxUpstreamTimeout = 3 * time.Second

// parseSettings reads the text of tillgate.yaml. The problems are all that is
// wrong with it.
func parseSettings(data []byte) (settings, strictyaml.Problems) {
	s := defaultSettings()
	doc := strictyaml.Parse(settingsFile, data)
	doc.Read(strictyaml.Map(
		section("listen",
			strictyaml.Optional("dns", listenAddresses(&s.Listen.DNS)),
			strictyaml.Optional("proxy", listenAddresses(&s.Listen.Proxy)),
			strictyaml.Optional("intercept", listenAddresses(&s.Listen.Intercept)),
			strictyaml.Optional("ntp", listenAddresses(&s.Listen.NTP)),
			strictyaml.Optional("console", listenAddresses(&s.Listen.Console)),
		),
		section("upstream",
			strictyaml.Optional("url", strictyaml.Value(&s.Upstream.URL, parseUpstreamURL)),
			strictyaml.Optional("addresses", upstreamAddresses(&s.Upstream.Addresses)),
			strictyaml.Optional("timeout", strictyaml.Duration(&s.Upstream.Timeout, 100*time.Millisecond, maxUpstreamTimeout)),
		),
		section("dns",
			strictyaml.Optional("rate", strictyaml.Int(&s.DNS.Rate, 0, 1_000_000)),
			strictyaml.Optional("burst", strictyaml.Int(&s.DNS.Burst, 1, 1_000_000)),
		),
		section("cache",
			strictyaml.Optional("entries", strictyaml.Int(&s.Cache.Entries, 1, 1_000_000)),
			strictyaml.Optional("stale", strictyaml.Duration(&s.Cache.Stale, 0, 7*day)),
			strictyaml.Optional("warm", strictyaml.Duration(&s.Cache.Warm, 0, 7*day)),
		),
		section("time",
			strictyaml.Optional("servers", strictyaml.Each(&s.Time.Servers, parseTimeServer)),
			strictyaml.Optional("quorum", strictyaml.Int(&s.Time.Quorum, 1, 16)),
			strictyaml.Optional("max_error", strictyaml.Duration(&s.Time.MaxError, time.Millisecond, time.Minute)),
			strictyaml.Optional("rate", strictyaml.Int(&s.Time.Rate, 0, 1_000_000)),
			strictyaml.Optional("burst", strictyaml.Int(&s.Time.Burst, 1, 1_000_000)),
		),
		section("proxy",
			strictyaml.Optional("connect_timeout", strictyaml.Duration(&s.Proxy.ConnectTimeout, 100*time.Millisecond, 5*time.Minute)),
			strictyaml.Optional("hello_timeout", strictyaml.Duration(&s.Proxy.HelloTimeout, 100*time.Millisecond, 5*time.Minute)),
			strictyaml.Optional("idle_timeout", strictyaml.Duration(&s.Proxy.IdleTimeout, time.Second, 30*day)),
			strictyaml.Optional("tunnels", strictyaml.Int(&s.Proxy.Tunnels, 1, 65_536)),
			strictyaml.Optional("tunnels_per_client", strictyaml.Int(&s.Proxy.TunnelsPerClient, 1, 65_536)),
		),
		section("firewall",
			strictyaml.Optional("interfaces", interfacesByClass(s.Firewall.Interfaces)),
			strictyaml.Optional("admin", strictyaml.Each(&s.Firewall.Admin, parseNetwork)),
		),
		section("journal",
			strictyaml.Optional("sync", strictyaml.Duration(&s.Journal.Sync, 100*time.Millisecond, time.Minute)),
			strictyaml.Optional("keep", strictyaml.Duration(&s.Journal.Keep, day, 3650*day)),
			strictyaml.Optional("max_size", strictyaml.Size(&s.Journal.MaxSize, 64<<20, 1<<40)),
			strictyaml.Optional("repeat_window", strictyaml.Duration(&s.Journal.RepeatWindow, time.Second, time.Hour)),
		),
	))
	problems := doc.Problems()
	if len(problems) == 0 {
		problems = s.Listen.overlaps()
	}
	return s, problems
}

// section is a mapping of keys that may all be absent.
func section(name string, keys ...strictyaml.Key) strictyaml.Key {
	return strictyaml.Optional(name, strictyaml.Map(keys...))
}

// listenAddresses reads a list in which no address is part of another, which
// would be in its way.
func listenAddresses(v *[]string) strictyaml.Reader {
	var before []string
	return strictyaml.Each(v, func(text string) (string, error) {
		if _, err := parseListen(text); err != nil {
			return "", err
		}
		for _, b := range before {
			if overlap(text, b) {
				return "", strictyaml.Problem{Message: "an address that overlaps with another in the list",
					Hint: "without an address it is all of them: keep that, or the others"}
			}
		}
		before = append(before, text)
		return text, nil
	})
}

// overlap reports whether two addresses that are good cannot both be listened at.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	all := func(host string) bool { // addresses of both families, as the planes take a wildcard
		addr, err := netip.ParseAddr(host)
		return err != nil || addr.IsUnspecified()
	}
	return portA == portB && portA != "0" && (hostA == hostB || all(hostA) || all(hostB))
}

// overlaps returns what two listeners of one protocol both want, be it by default.
func (l listenSettings) overlaps() (problems strictyaml.Problems) {
	lists := []struct {
		key   string
		addrs []string
	}{{"dns", l.DNS}, {"proxy", l.Proxy}, {"intercept", l.Intercept}, {"console", l.Console}, {"ntp", l.NTP}}
	for i, one := range lists {
		for _, other := range lists[i+1:] {
			if other.key == "ntp" && one.key != "dns" {
				continue // UDP alone
			}
			for _, a := range one.addrs {
				for _, b := range other.addrs {
					if overlap(a, b) {
						problems = append(problems, strictyaml.Problem{File: settingsFile, Text: b,
							Message: "listen." + other.key + " overlaps with listen." + one.key,
							Hint:    "give one of them another port"})
					}
				}
			}
		}
	}
	return problems
}

func parseListen(text string) (string, error) {
	const written = "written :53, 10.20.0.1:53 or [fd00:20::1]:53"
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", strictyaml.Problem{Message: "not an address with a port", Hint: written}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", strictyaml.Problem{Message: "the port must be a number up to 65535", Hint: written}
	}
	if host == "" {
		return text, nil
	}
	if a, err := netip.ParseAddr(host); err != nil || a.Is4In6() || a.IsMulticast() {
		return "", strictyaml.Problem{Message: "not an address of this box", Hint: written}
	}
	return text, nil
}

func parseUpstreamURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return "", strictyaml.Problem{Message: "not the URL of a DoH server", Hint: "written https://dns.google/dns-query"}
	}
	if strings.ContainsAny(text, "{}") {
		return "", strictyaml.Problem{Message: "a URI template", Hint: "remove {?dns}: questions are sent by POST"}
	}
	return text, nil
}

// upstreamAddresses reads a list that has at least one.
func upstreamAddresses(v *[]netip.Addr) strictyaml.Reader {
	return func(n strictyaml.Node) {
		if n.IsList() && n.Len() == 0 {
			n.Problem("", "must list at least one address", "without one no name can be resolved")
			return
		}
		strictyaml.Each(v, func(text string) (netip.Addr, error) {
			a, err := netip.ParseAddr(text)
			if err != nil || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
				return a, strictyaml.Problem{Message: "not an address of a server",
					Hint: "names cannot stand here: nobody could resolve them"}
			}
			return a, nil
		})(n)
	}
}

func parseTimeServer(text string) (string, error) {
	if a, err := netip.ParseAddr(text); err == nil && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() {
		return text, nil
	}
	host, err := policy.HostPattern(text)
	if err != nil || strings.Contains(host, "*") {
		return "", strictyaml.Problem{Message: "not a name or address of a time server"}
	}
	return host, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, strictyaml.Problem{Message: "not a network", Hint: "written 10.20.9.0/24 or fd00:20:9::/64"}
	case p != p.Masked():
		return p, strictyaml.Problem{Message: "a network with host bits set", Hint: strictyaml.DidYouMean(p.Masked().String())}
	}
	return p, nil
}

// interfacesByClass reads the user's own names of classes, each with a list of
// the kernel's names of interfaces. An interface is in one class.
func interfacesByClass(v map[string][]string) strictyaml.Reader {
	classes := make(map[string]string) // of each interface
	return strictyaml.Dict(func(class, list strictyaml.Node) {
		name, _ := class.Text()
		var names []string
		strictyaml.Each(&names, func(text string) (string, error) {
			if other, taken := classes[text]; taken {
				return "", strictyaml.Problem{Message: "an interface that class " + other + " has already"}
			}
			if !isInterfaceName(text) {
				return "", strictyaml.Problem{Message: "not the name of an interface", Hint: "ip link lists them"}
			}
			classes[text] = name
			return text, nil
		})(list)
		v[name] = slices.Clip(names)
	})
}

// isInterfaceName is the kernel's rule (dev_valid_name): at most 15 bytes, no
// slash, colon or white space.
func isInterfaceName(s string) bool {
	return s != "" && len(s) <= 15 && s != "." && s != ".." && !strings.ContainsAny(s, "/: \t\n\v\f\r")
}
