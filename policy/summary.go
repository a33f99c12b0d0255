package policy

import (
	"fmt"
	"slices"
	"strings"
)

// maxSummary bounds a summary, in lines.
const maxSummary = 40

// summarize says what changed from one set to another, a line for each thing.
func summarize(old, new *Set) []string {
	var d differences
	d.add(KindMode, describeMode(old), describeMode(new))
	d.add(KindPack, describePacks(old), describePacks(new))
	d.add(KindClass, describeClasses(old), describeClasses(new))
	d.add(KindService, describeWhole(old), describeWhole(new))
	d.add(KindDeny, describeDeny(old), describeDeny(new))
	d.add(KindSuggestion, describeSuggestions(old), describeSuggestions(new))
	if len(d) == 0 {
		return []string{"no rule changed: comments, order or spelling"}
	}
	lines := make([]string, min(len(d), maxSummary))
	for i := range lines {
		lines[i] = d[i].line(old, new)
	}
	if more := len(d) - maxSummary; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// line is a difference for a record.
func (d Difference) line(old, new *Set) string {
	switch {
	case d.Kind == KindMode:
		return fmt.Sprintf("mode: %s, was %s", new.mode, old.mode)
	case d.Added():
		return fmt.Sprintf("%s added: %s", d.Kind, strings.Join(append([]string{d.Name}, d.Now...), ", "))
	case d.Removed():
		return fmt.Sprintf("%s removed: %s", d.Kind, d.Name)
	}
	var facts []string
	for _, f := range d.NoMore {
		facts = append(facts, "no more "+f)
	}
	for _, f := range d.Now {
		facts = append(facts, "now "+f)
	}
	return fmt.Sprintf("%s %s: %s", d.Kind, d.Name, strings.Join(facts, ", "))
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
