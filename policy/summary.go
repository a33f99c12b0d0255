package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxSummary bounds a summary, in lines.
const maxSummary = 40

// summarize says what changed from one set to another, a line for each thing.
func summarize(old, new *Set) []string {
	var lines summary
	if old.mode != new.mode {
		lines.add("mode: %s, was %s", new.mode, old.mode)
	}
	lines.diff("pack", describePacks(old), describePacks(new))
	lines.diff("class", describeClasses(old), describeClasses(new))
	lines.diff("service", describeServices(old), describeServices(new))
	lines.diff("deny", describeDeny(old), describeDeny(new))
	lines.diff("suggestion", describeSuggestions(old), describeSuggestions(new))
	if len(lines) == 0 {
		return []string{"no rule changed: comments, order or spelling"}
	}
	if more := len(lines) - maxSummary; more > 0 {
		lines = append(lines[:maxSummary:maxSummary], fmt.Sprintf("and %d more", more))
	}
	return lines
}

type summary []string

func (s *summary) add(format string, args ...any) {
	*s = append(*s, fmt.Sprintf(format, args...))
}

// A description is what there is to say of each thing of one kind, by name: one
// set of facts each.
type description map[string]map[string]bool

// diff says which things came and went, and which facts of those that stayed.
func (s *summary) diff(kind string, old, new description) {
	both := maps.Clone(old)
	maps.Copy(both, new)
	for _, name := range sortedKeys(both) {
		before, was := old[name]
		after, is := new[name]
		switch {
		case !was:
			s.add("%s added: %s", kind, strings.Join(append([]string{name}, sortedKeys(after)...), ", "))
		case !is:
			s.add("%s removed: %s", kind, name)
		default:
			var facts []string
			for _, f := range sortedKeys(before) {
				if !after[f] {
					facts = append(facts, "no more "+f)
				}
			}
			for _, f := range sortedKeys(after) {
				if !before[f] {
					facts = append(facts, "now "+f)
				}
			}
			if facts != nil {
				s.add("%s %s: %s", kind, name, strings.Join(facts, ", "))
			}
		}
	}
}

func facts(list ...string) map[string]bool {
	m := make(map[string]bool)
	for _, f := range list {
		if f != "" {
			m[f] = true
		}
	}
	return m
}

func describePacks(s *Set) description {
	d := make(description)
	for _, p := range s.packs {
		origin := "from the folder"
		if p.Embedded {
			origin = "the embedded one"
		}
		d[p.Name] = facts(origin, "title "+p.Title, "source "+p.Source)
	}
	return d
}

func describeClasses(s *Set) description {
	d := make(description)
	for _, c := range s.classes {
		list := []string{"mode " + c.Mode.String()}
		for _, n := range c.Networks {
			list = append(list, "network "+n.String())
		}
		for _, i := range c.Interfaces {
			list = append(list, "interface "+i)
		}
		for _, service := range c.Services {
			list = append(list, "service "+service.ID)
		}
		if c.Time {
			list = append(list, "time")
		}
		d[c.Name] = facts(list...)
	}
	return d
}

func describeServices(s *Set) description {
	d := make(description)
	for _, service := range s.services {
		list := []string{"requirement " + service.Requirement.String()}
		if service.Local() {
			list = []string{"reason " + service.Reason}
		} else {
			list = append(list, "title "+service.Title)
		}
		if service.Row != 0 {
			list = append(list, fmt.Sprintf("row %d", service.Row))
		}
		if !service.Until.IsZero() {
			list = append(list, "until "+service.Until.UTC().Format(time.RFC3339))
		}
		for _, f := range service.For {
			list = append(list, "for "+f)
		}
		for _, p := range service.Purpose {
			list = append(list, "purpose "+p)
		}
		for _, r := range service.Destinations {
			list = append(list, r.String())
		}
		d[service.ID] = facts(list...)
	}
	return d
}

func describeDeny(s *Set) description {
	d := make(description)
	for _, r := range s.rules {
		if r.Service == nil {
			d[r.Host] = facts()
		}
	}
	return d
}

func describeSuggestions(s *Set) description {
	d := make(description)
	for _, g := range s.suggestions {
		d[g.Host] = facts("near "+g.Near, "why "+g.Why)
	}
	return d
}

// String is the rule as in a file: host, or network, and what it allows.
func (r *Rule) String() string {
	parts := []string{r.Host}
	if r.Host == "" {
		parts[0] = r.Network.String()
	}
	ports := make([]string, len(r.Ports))
	for i, p := range r.Ports {
		ports[i] = p.String()
	}
	slices.Sort(ports)
	parts = append(parts, ports...)
	if r.Private {
		parts = append(parts, "private")
	}
	if r.SNIOptional {
		parts = append(parts, "sni optional")
	}
	return strings.Join(parts, " ")
}
