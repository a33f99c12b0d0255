package policy

import (
	"cmp"
	"math/bits"
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
// more than maxSameHost rules. Each service's classes are known by now.
func newIndex(rules []*Rule) *index {
	x := &index{names: make(map[string]node, len(rules)), ending: make(map[string][]ending)}
	x.rules = slices.Clone(rules)
	slices.SortStableFunc(x.rules, func(a, b *Rule) int {
		pa, pb := parseHost(a.Host), parseHost(b.Host)
		return cmp.Or(
			strings.Compare(pa.name, pb.name),
			compareBool(pa.star, pb.star),
			strings.Compare(pa.prefix, pb.prefix),
		)
	})
	for i, r := range x.rules {
		x.place(uint32(i), parseHost(r.Host), r.Host)
	}
	for _, r := range x.rules {
		if r.Service != nil && r.Service.classes != 0 {
			x.markAbove(r)
		}
	}
	return x
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// place counts a rule in its node.
func (x *index) place(i uint32, p pattern, host string) {
	if p.star && !p.under() {
		parent := x.names[p.name]
		parent.prefixes |= 1 << len(p.prefix)
		x.names[p.name] = parent
		p.name = host // its own node
	}
	n := x.names[p.name]
	if n.exact+n.under == 0 {
		n.first = i
	}
	if p.under() {
		n.under++
	} else {
		n.exact++
	}
	x.names[p.name] = n
}

// markAbove tells all names above the rule's that its classes may reach
// something below them, unless deny rules take all of it.
func (x *index) markAbove(r *Rule) {
	// The text of s-*.x or *.x, looked for as a name, is one that the rule is
	// for and that no rule names exactly: a deny that takes it takes them all.
	if x.find(&Request{Name: r.Host}, 0).deny != nil {
		return
	}
	p := parseHost(r.Host)
	name := p.name
	if !p.star {
		name = parent(name)
	}
	for {
		n := x.names[name]
		if r.Service.Until.IsZero() {
			n.above |= r.Service.classes
		} else {
			n.endsBelow = true
			x.ending[name] = addEnding(x.ending[name], ending{r.Service.classes, r.Service.Until})
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

// of returns a node's rules: those of *.name, or of the name itself.
func (x *index) of(n node, under bool) []*Rule {
	exact := x.rules[n.first:][:n.exact]
	if !under {
		return exact
	}
	return x.rules[int(n.first)+len(exact):][:n.under]
}

// parent returns the name without its first label; that of com is the root.
func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

// A found is what the index has for one name, as seen by one class.
type found struct {
	best    score
	rule    *Rule // with the best score; the most specific of them
	deny    *Rule // the most specific; nil: none
	allows  bool  // some *.parent of the name is allowed
	denies  bool  // some *.parent of the name, or *.name, is denied
	node    node  // of the name itself
	lookups int   // for the test of the promise
}

// A score says how far a rule that names a host goes to allow a request.
type score uint8

const (
	notNamed   score = iota
	notClass         // named, but not for the class
	notPort          // for the class, but not on the port
	notNow           // allowed until a time that has passed
	allowed          // and of several that allow, the one that allows most:
	allowedSNI       // also without SNI
	allowedPrivate
	allowedPrivateSNI
)

// find looks for the rules of the request's name, which is canonical.
func (x *index) find(r *Request, class uint64) found {
	var f found
	n, ok := x.names[r.Name]
	f.lookups = 1
	if ok {
		f.node = n
		f.consider(x.of(n, false), r, class, false)
		for _, rule := range x.of(n, true) {
			f.denies = f.denies || rule.Service == nil
		}
	}
	for name, first := r.Name, true; name != ""; first = false {
		child := name
		name = parent(name)
		if name == "" {
			break // no rule is for all names
		}
		n, ok := x.names[name]
		f.lookups++
		if !ok {
			continue
		}
		if first && n.prefixes != 0 {
			x.findPrefixes(&f, n.prefixes, child[:len(child)-len(name)-1], name, r, class)
		}
		f.consider(x.of(n, true), r, class, true)
	}
	return f
}

// findPrefixes looks for the rules s-*.up of a label, the longest prefix first.
func (x *index) findPrefixes(f *found, prefixes uint64, label, up string, r *Request, class uint64) {
	var buf [maxName + 2]byte
	prefixes &= 1<<(len(label)+1) - 1
	for prefixes != 0 {
		n := bits.Len64(prefixes) - 1
		prefixes &^= 1 << n
		key := append(append(append(buf[:0], label[:n]...), "*."...), up...)
		f.lookups++
		if n, ok := x.names[string(key)]; ok { // the conversion does not allocate
			f.consider(x.of(n, false), r, class, false)
		}
	}
}

// consider weighs rules that are for the request's name.
func (f *found) consider(rules []*Rule, r *Request, class uint64, under bool) {
	for _, rule := range rules {
		if rule.Service == nil {
			if f.deny == nil {
				f.deny = rule
			}
			f.denies = f.denies || under
			continue
		}
		s := rule.score(r, class)
		if s > f.best {
			f.best, f.rule = s, rule
		}
		f.allows = f.allows || under && s >= allowed
	}
}

func (rule *Rule) score(r *Request, class uint64) score {
	switch {
	case rule.Service.classes&class == 0:
		return notClass
	case r.Plane != DNS && !rule.Has(r.Proto, r.Port):
		return notPort
	case rule.Service.ended(r.Now):
		return notNow
	}
	s := allowed
	if rule.SNIOptional {
		s += allowedSNI - allowed
	}
	if rule.Private {
		s += allowedPrivate - allowed
	}
	return s
}

// ended reports whether the service has ended. Without trusted time none has.
func (s *Service) ended(now time.Time) bool {
	return !s.Until.IsZero() && !now.IsZero() && !now.Before(s.Until)
}

// above reports whether the class may reach something below the request's name.
func (x *index) above(f *found, r *Request, class uint64) bool {
	if f.node.above&class != 0 || f.allows && !f.denies {
		return true
	}
	if f.node.endsBelow {
		for _, e := range x.ending[r.Name] {
			if e.classes&class != 0 && (r.Now.IsZero() || r.Now.Before(e.until)) {
				return true
			}
		}
	}
	return false
}
