package policy

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"tillgate/internal/strictyaml"
)

// Suggest returns a pack's word on a name that is not documented but is known
// to be asked for beside a documented one. It takes a canonical name.
func (s *Set) Suggest(name string) (Suggestion, bool) {
	if g := s.suggestions[name]; g != nil {
		return *g, true
	}
	label, up, _ := strings.Cut(name, ".")
	for n := len(label); n > 0; n-- {
		if g := s.suggestions[label[:n]+"*."+up]; g != nil {
			return *g, true
		}
	}
	for ; up != ""; up = parent(up) {
		if g := s.suggestions["*."+up]; g != nil {
			return *g, true
		}
	}
	return Suggestion{}, false
}

// An Explanation is a decision with what a person wants to know beside it.
type Explanation struct {
	Decision   Decision
	Special    string      // where the box answers by itself: what for, of a name its source (see [SpecialUse])
	Ports      []Port      // on which the class may reach the name
	Others     []*Class    // classes that would be allowed what was asked
	Nearest    []*Rule     // rules of the class with hosts most like the name, at most 5; none when it is allowed
	Suggestion *Suggestion // nil: none
}

// httpPort is that of the box's page.
const httpPort = 80

// maxNearest is how many rules an explanation shows.
const maxNearest = 5

// Explain decides, and looks around. For DNS and HTTP it knows what the box answers
// without asking the policy, too. It takes time in proportion to the rules.
func (s *Set) Explain(r Request) Explanation {
	e := Explanation{Decision: s.Decide(r)}
	if d := &e.Decision; r.Plane == DNS && d.Class != nil && d.Reason != BadName {
		if zone, source, ok := SpecialUse(r.Name); ok {
			*d, e.Special = decideSpecial(d.Class, r.Name, zone), source
			return e
		}
	} else if r.Plane == HTTP && r.Name == boxName && r.Port == httpPort && d.Class != nil {
		*d, e.Special = Decision{Class: d.Class, Verdict: Allow, Reason: LocalService}, "the box's own page"
		return e
	}
	if g, ok := s.Suggest(r.Name); ok {
		e.Suggestion = &g
	}
	for _, c := range s.classes {
		if c != e.Decision.Class && s.allows(c, r) {
			e.Others = append(e.Others, c)
		}
	}
	if e.Decision.Class == nil {
		return e
	}
	e.Ports = s.portsOf(e.Decision.Class, r)
	if e.Decision.Verdict != Allow {
		e.Nearest = s.nearest(e.Decision.Class, r.Name)
	}
	return e
}

// allows reports whether the request would be allowed to a class.
func (s *Set) allows(c *Class, r Request) bool {
	d := Decision{Class: c}
	if r.Plane == NTP {
		s.decideTime(&r, &d)
	} else {
		s.decideName(&r, &d)
	}
	return d.Reason == Documented || d.Reason == LocalService
}

// portsOf returns the ports on which the class may reach the request's name.
func (s *Set) portsOf(c *Class, r Request) []Port {
	var ports []Port
	for _, service := range c.Services {
		for _, rule := range service.Destinations {
			if rule.Host == "" || !parseHost(rule.Host).matches(r.Name) {
				continue
			}
			for _, p := range rule.Ports {
				r.Plane, r.Proto, r.Port = Connect, p.Proto, p.Number
				if !slices.Contains(ports, p) && s.allows(c, r) {
					ports = append(ports, p)
				}
			}
		}
	}
	return ports
}

// nearest returns the class's rules whose hosts are most like a name: by how
// many labels they end in alike, then by how few letters differ.
func (s *Set) nearest(c *Class, name string) []*Rule {
	type near struct {
		rule            *Rule
		labels, letters int
	}
	var list []near
	for _, service := range c.Services {
		for _, rule := range service.Destinations {
			if rule.Host == "" {
				continue
			}
			host := parseHost(rule.Host).name
			limit := max(len(name), len(host))/3 + 1
			n := near{rule, sameLabels(name, host), strictyaml.Distance(name, host, limit)}
			// To be below the same public suffix is no likeness.
			suffix, _ := publicsuffix.PublicSuffix(host)
			if n.labels > strings.Count(suffix, ".")+1 || n.letters < limit {
				list = append(list, n)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b near) int {
		return cmp.Or(cmp.Compare(b.labels, a.labels), cmp.Compare(a.letters, b.letters))
	})
	var rules []*Rule
	for _, n := range list[:min(len(list), maxNearest)] {
		rules = append(rules, n.rule)
	}
	return rules
}

// sameLabels returns how many labels two names end in alike.
func sameLabels(a, b string) int {
	n := 0
	for a != "" && b != "" {
		i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
		if a[i+1:] != b[j+1:] {
			break
		}
		n++
		a, b = a[:max(i, 0)], b[:max(j, 0)]
	}
	return n
}
