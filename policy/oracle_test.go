package policy

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naive decides by going through all rules, none of the index's code in it. The
// reasons stand in the order of how far a rule goes to allow.
func naive(s *Set, class *Class, r Request) Reason {
	order := []Reason{NotDocumented, OtherClass, PortNotAllowed, Expired, LocalService, DeniedByPolicy}
	best := 0
	for _, rule := range s.Rules() {
		if naiveMatch(rule.Host, r.Name) {
			best = max(best, slices.Index(order, naiveReason(rule, class, r)))
		}
	}
	return order[best]
}

func naiveReason(rule *Rule, class *Class, r Request) Reason {
	switch {
	case rule.Service == nil:
		return DeniedByPolicy
	case !slices.Contains(class.Services, rule.Service):
		return OtherClass
	case r.Plane != DNS && !slices.Contains(rule.Ports, Port{r.Proto, r.Port}):
		return PortNotAllowed
	case !rule.Service.Until.IsZero() && !r.Now.IsZero() && !rule.Service.Until.After(r.Now):
		return Expired
	}
	return LocalService
}

// naiveSteer: all that the class may have of the name is time.
func naiveSteer(s *Set, class *Class, r Request) bool {
	var ports []Port
	for _, rule := range s.Rules() {
		if naiveMatch(rule.Host, r.Name) && naiveReason(rule, class, r) == LocalService {
			ports = append(ports, rule.Ports...)
		}
	}
	slices.SortFunc(ports, func(a, b Port) int { return int(a.Proto) - int(b.Proto) })
	ports = slices.Compact(ports)
	return r.Plane == DNS && naive(s, class, r) == LocalService && slices.Equal(ports, []Port{{UDP, 123}})
}

// naiveMatch remembers, since there are few hosts and names, and very many pairs.
func naiveMatch(host, name string) bool {
	key := [2]string{host, name}
	matches, ok := naiveMatches[key]
	if !ok {
		matches = hostExpression(host).MatchString(name)
		naiveMatches[key] = matches
	}
	return matches
}

var naiveMatches = make(map[[2]string]bool)

func hostExpression(host string) *regexp.Regexp {
	expr := regexp.QuoteMeta(host)
	if rest, ok := strings.CutPrefix(expr, `\*`); ok {
		expr = `.+` + rest
	} else {
		expr = strings.Replace(expr, `\*`, `[^.]*`, 1)
	}
	return regexp.MustCompile(`^` + expr + `$`)
}

// The labels of rules, and more for names, so that for every rule with a star
// there is a name that no other rule is for.
var (
	ruleLabels = []string{"a", "s-1"}
	nameLabels = []string{"a", "s-1", "s-9", "s9", "s", "z"}
)

// namesBelow lists all names below a name, to a depth. Rules have two labels, and
// a star for a third, so a name of four is as good as any below it.
func namesBelow(name string, depth int) []string {
	if depth == 0 {
		return nil
	}
	var list []string
	for _, l := range nameLabels {
		below := l
		if name != "" {
			below += "." + name
		}
		list = append(append(list, below), namesBelow(below, depth-1)...)
	}
	return list
}

func drawName(t *rapid.T, labels []string, most int) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(labels), 1, most).Draw(t, "name"), ".")
}

func drawHost(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "*.", "*.", "s-*.", "s*."}).Draw(t, "star") + drawName(t, ruleLabels, 2)
}

// drawSet makes a policy of three classes, up to five services and four deny rules.
func drawSet(t *rapid.T, now time.Time) *Set {
	s := &Set{}
	for i := range rapid.IntRange(1, 5).Draw(t, "services") {
		service := &Service{ID: fmt.Sprintf("local/s%d", i), Reason: "drawn"}
		service.Until = rapid.SampledFrom([]time.Time{{}, {}, now, now.Add(1), now.Add(time.Hour)}).Draw(t, "until")
		for range rapid.IntRange(1, 3).Draw(t, "destinations") {
			service.Destinations = append(service.Destinations, &Rule{
				Service: service, Host: drawHost(t),
				Ports: rapid.SampledFrom([][]Port{{{TCP, 80}}, {{TCP, 443}}, {{UDP, 123}}, {{UDP, 123}, {TCP, 443}}}).Draw(t, "ports"),
			})
		}
		s.services = append(s.services, service)
		s.rules = append(s.rules, service.Destinations...)
	}
	for range rapid.IntRange(0, 4).Draw(t, "deny") {
		s.rules = append(s.rules, &Rule{Host: drawHost(t)})
	}
	for i := range 3 {
		c := &Class{Name: fmt.Sprintf("c%d", i), Networks: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), 16)}}
		for _, service := range s.services {
			if rapid.Bool().Draw(t, "uses") {
				c.Services = append(c.Services, service)
			}
		}
		s.classes = append(s.classes, c)
	}
	s.seal()
	return s
}

func TestDecideAgainstNaive(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		s := drawSet(t, now)
		for range 50 {
			r := Request{
				Plane:  rapid.SampledFrom([]Plane{DNS, Connect}).Draw(t, "plane"),
				Client: netip.AddrFrom4([4]byte{10, rapid.SampledFrom([]byte{0, 1, 2}).Draw(t, "client")}),
				Name:   drawName(t, nameLabels, 3),
				Proto:  TCP,
				Port:   rapid.SampledFrom([]uint16{80, 443}).Draw(t, "port"),
				Now:    rapid.SampledFrom([]time.Time{{}, now}).Draw(t, "now"),
			}
			d := s.Decide(r)
			if want := naive(s, d.Class, r); d.Reason != want {
				t.Fatalf("%v: %s, want %s", r, told(d), want)
			}
			if d.Verdict == Allow && naiveReason(d.Rule, d.Class, r) != LocalService || d.Rule != nil && !naiveMatch(d.Rule.Host, r.Name) {
				t.Fatalf("%v: %s by the wrong rule", r, told(d))
			}
			if want := naiveSteer(s, d.Class, r); d.Steer != want {
				t.Fatalf("%v: steer %v, want %v", r, d.Steer, want)
			}
			if r.Plane != DNS || d.Verdict == Allow {
				continue
			}
			// Above: is any of all the names below it allowed?
			want := slices.ContainsFunc(namesBelow(r.Name, 3-strings.Count(r.Name, ".")), func(name string) bool {
				below := r
				below.Name = name
				return naive(s, d.Class, below) == LocalService
			})
			if d.Above != want {
				t.Fatalf("%v: above %v, want %v", r, d.Above, want)
			}
		}
	})
}

// The class of a client against all networks in turn.
func TestClassAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		addr := func() netip.Addr {
			b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 128, 255}), 4, 4).Draw(t, "addr")
			if rapid.Bool().Draw(t, "v6") {
				return netip.AddrFrom16([16]byte{0xfd, b[0], b[1], b[2], 15: b[3]})
			}
			return netip.AddrFrom4([4]byte(b))
		}
		s, taken := &Set{}, make(map[netip.Prefix]bool)
		for i := range 4 {
			c := &Class{Name: fmt.Sprint(i)}
			for range 3 {
				a := addr()
				p, _ := a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
				if !taken[p] {
					taken[p] = true
					c.Networks = append(c.Networks, p)
				}
			}
			s.classes = append(s.classes, c)
		}
		s.seal()
		a, best := addr(), -1
		var want *Class
		for _, c := range s.classes {
			for _, p := range c.Networks {
				if p.Contains(a) && p.Bits() > best {
					best, want = p.Bits(), c
				}
			}
		}
		if got := s.Class(a, ""); got != want {
			t.Fatalf("%s: %v, want %v", a, got, want)
		}
	})
}
