package policy

import (
	"net/netip"
	"strconv"
	"strings"

	"tillgate/internal/strictyaml"
)

// maxPorts bounds the ports of one destination, which every request to it goes
// through.
const maxPorts = 32

// readDestinations reads the destinations of a service, at least one.
func readDestinations(s *Service) strictyaml.Reader {
	return func(n strictyaml.Node) {
		seen := make(map[string]bool)
		items := 0
		strictyaml.List(func(item strictyaml.Node) {
			items++
			r := &Rule{Service: s, Pos: position(item)}
			if readDestination(r, seen)(item); r.Host != "" || r.Network.IsValid() {
				s.Destinations = append(s.Destinations, r)
			}
		})(n)
		if items == 0 && n.IsList() {
			n.Problem("", "must not be empty", "")
		}
	}
}

// readDestination reads one destination; seen holds those of the service.
func readDestination(r *Rule, seen map[string]bool) strictyaml.Reader {
	return func(n strictyaml.Node) {
		var host, network, hostOnly bool
		strictyaml.Map(
			strictyaml.Optional("host", note(&host, func(v strictyaml.Node) {
				strictyaml.Value(&r.Host, parseRuleHost)(v)
				unique(v, seen, r.Host, allPorts)
			})),
			strictyaml.Optional("network", note(&network, func(v strictyaml.Node) {
				strictyaml.Value(&r.Network, parseStoreNetwork)(v)
				if r.Network.IsValid() {
					unique(v, seen, r.Network.String(), allPorts)
				}
			})),
			strictyaml.Required("ports", readPorts(&r.Ports)),
			strictyaml.Optional("private", note(&hostOnly, strictyaml.Bool(&r.Private))),
			strictyaml.Optional("sni", note(&hostOnly,
				strictyaml.OneOf(&r.SNIOptional, []string{"required", "optional"}, []bool{false, true}))),
		)(n)
		switch {
		case !n.IsMap():
		case host && network:
			n.Problem("", "both host and network", "write two destinations")
		case !host && !network:
			n.Problem("", "neither host nor network", "")
		case network && hostOnly:
			n.Problem("", "private and sni are for a host", "remove them")
		}
	}
}

// parseRuleHost parses the host of a rule that allows: one whose name can be looked up.
func parseRuleHost(text string) (string, error) {
	host, err := HostPattern(text)
	if err != nil {
		return "", err
	}
	if zone, source, ok := SpecialUse(parseHost(host).name); ok {
		return "", strictyaml.Problem{Message: "a name that the box answers by itself",
			Hint: zone + " is kept for a special use (" + source + "): write another name of the host, or its address as network"}
	}
	return host, nil
}

const allPorts = "one entry holds all its ports"

// note remembers that a key is there.
func note(there *bool, read strictyaml.Reader) strictyaml.Reader {
	return func(n strictyaml.Node) {
		*there = true
		read(n)
	}
}

// unique reports a value that was there before. An empty one was no value.
func unique(n strictyaml.Node, seen map[string]bool, value, hint string) {
	if value == "" {
		return
	}
	if seen[value] {
		n.Problem(value, "duplicate", hint)
	}
	seen[value] = true
}

func parseStoreNetwork(text string) (netip.Prefix, error) {
	p, err := parseNetwork(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if !withinStore(p) {
		return netip.Prefix{}, strictyaml.Problem{Message: "a network that is not within the store",
			Hint: "only private addresses are reached by address: write the host's name"}
	}
	return p, nil
}

func readPorts(ports *[]Port) strictyaml.Reader {
	return func(n strictyaml.Node) {
		var list []Port
		strictyaml.Each(&list, parsePort)(n)
		switch {
		case n.IsList() && n.Len() == 0:
			n.Problem("", "must not be empty", "written [tcp/443]")
		case len(list) > maxPorts:
			n.Problem("", "more than "+strconv.Itoa(maxPorts)+" ports", "")
		}
		*ports = list
	}
}

// parsePort parses tcp/443.
func parsePort(text string) (Port, error) {
	proto, number, ok := strings.Cut(text, "/")
	if !ok {
		hint := "written tcp/443 or udp/123"
		if _, err := portNumber(text); err == nil {
			hint = strictyaml.DidYouMean("tcp/" + text)
		}
		return Port{}, strictyaml.Problem{Message: "a port without its protocol", Hint: hint}
	}
	p, known := ParseProto(proto)
	if !known || p != TCP && p != UDP {
		hint := strictyaml.DidYouMean(strictyaml.Near(proto, []string{"tcp", "udp"}))
		if q, turned := ParseProto(number); turned && (q == TCP || q == UDP) {
			hint = strictyaml.DidYouMean(number + "/" + proto)
		}
		return Port{}, strictyaml.Problem{Message: "the protocol must be tcp or udp", Hint: hint}
	}
	port, err := portNumber(number)
	switch {
	case err != nil:
		return Port{}, err
	case p == UDP && port != ntpPort:
		return Port{}, strictyaml.Problem{Message: "UDP is let through on port 123 only", Hint: ""}
	}
	return Port{p, port}, nil
}

func portNumber(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, strictyaml.Problem{Message: "a port is a number from 1 to 65535"}
	}
	return uint16(n), nil
}

func position(n strictyaml.Node) Pos { return Pos{n.File(), n.Line()} }

// parseWord checks the name of a pack, a class or a service within its pack.
func parseWord(text string) (string, error) {
	const maxWord = 40
	ok := len(text) <= maxWord && text != ""
	for i := range len(text) {
		c := text[i]
		ok = ok && ('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' && 0 < i && i < len(text)-1)
	}
	if !ok {
		return "", strictyaml.Problem{Message: "must be of lower-case letters, digits and inner hyphens, at most " +
			strconv.Itoa(maxWord)}
	}
	return text, nil
}
