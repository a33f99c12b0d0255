package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// An index finds the rules for a name by one look-up for each of its labels:
// the name itself, then its parents, whose wildcards are for it. Rules s-*.x
// stand under their own text; x says how many letters such prefixes have, so
// that only those are looked for, at the direct parent alone.
type index struct {
	names  map[string]node
	rules  []*Rule             // sorted, so that those of a node are neighbours
	ending map[string][]ending // for nodes that have endsBelow
}

// A node is what the index knows of one name, or of one s-*.x. It is kept
// small: a policy of a million rules has at least as many.
type node struct {
	above     uint64 // classes that may reach something below the name, without end
	prefixes  uint64 // bit n: there is a rule s-*.name whose prefix has n letters
	first     uint32 // in index.rules: those of the name itself, then those of *.name
	exact     uint8  // how many of the name itself
	under     uint8  // how many of *.name
	endsBelow bool   // something below the name is allowed until some time
}

// maxSameHost bounds the rules that are looked at by one probe: how many
// services may name the same host.
const maxSameHost = 64

// ending is until when classes may reach something below a name.
type ending struct {
	classes uint64
	until   time.Time
}

// newIndex builds the index of rules with hosts, of which no host may stand in
// more than maxSameHost rules. Each service's classes are known by now. The classes
// timed may resolve the timeNames besides.
func newIndex(rules []*Rule, timed uint64) *index {
	x := &index{names: make(map[string]node, len(rules)), ending: make(map[string][]ending)}
	x.rules = slices.Clone(rules)
	slices.SortStableFunc(x.rules, func(a, b *Rule) int {
		pa, pb := parseHost(a.Host), parseHost(b.Host)
		return cmp.Or(
			strings.Compare(pa.name, pb.name),
			cmp.Compare(pa.kind, pb.kind),
			strings.Compare(pa.prefix, pb.prefix),
		)
	})
	for i, r := range x.rules {
		x.place(uint32(i), r.Host)
	}
	for _, r := range x.rules {
		if r.Service != nil {
			x.markAbove(r.Host, ending{r.classes, r.Service.Until})
		}
	}
	if timed != 0 {
		for _, name := range timeNames {
			x.markAbove(name, ending{classes: timed})
		}
	}
	return x
}

// place counts a rule in its node.
func (x *index) place(i uint32, host string) {
	p := parseHost(host)
	if p.kind == prefix {
		parent := x.names[p.name]
		parent.prefixes |= 1 << len(p.prefix)
		x.names[p.name] = parent
		p.name = host // its own node
	}
	n := x.names[p.name]
	if n.exact+n.under == 0 {
		n.first = i
	}
	if p.kind == under {
		n.under++
	} else {
		n.exact++
	}
	x.names[p.name] = n
}

// markAbove tells all names above a host that classes may reach something below
// them, until e ends or for ever, unless deny rules take all of it.
func (x *index) markAbove(host string, e ending) {
	// The text of s-*.x or *.x, looked for as a name, is one that the rule is
	// for and that no rule names exactly: a deny that takes it takes them all.
	if x.find(&Request{Name: host}, 0).deny != nil {
		return
	}
	p := parseHost(host)
	name := p.name
	if p.kind == exact {
		name = parent(name)
	}
	for {
		n := x.names[name]
		if e.until.IsZero() {
			n.above |= e.classes
		} else {
			n.endsBelow = true
			x.ending[name] = addEnding(x.ending[name], e)
		}
		x.names[name] = n
		if name == "" {
			return
		}
		name = parent(name)
	}
}

// addEnding keeps the latest end of each class, so no more than there are classes.
func addEnding(list []ending, e ending) []ending {
	for i := range list {
		if list[i].until.Before(e.until) {
			list[i].classes &^= e.classes
		} else {
			e.classes &^= list[i].classes
		}
	}
	list = slices.DeleteFunc(list, func(e ending) bool { return e.classes == 0 })
	if e.classes != 0 {
		list = append(list, e)
	}
	return list
}

// of returns the rules of a node: those of the name itself, and those of *.name.
func (x *index) of(n node) (exact, under []*Rule) {
	rules := x.rules[n.first:]
	return rules[:n.exact], rules[n.exact:][:n.under]
}

// parent returns the name without its first label; that of com is the root.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}
