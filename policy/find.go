package policy

import (
	"math/bits"
	"time"
)

// A found is what the index has for one name, as seen by one class.
type found struct {
	best    score
	rule    *Rule // with the best score; the most specific of them
	deny    *Rule // the most specific; nil: none
	allows  bool  // some *.parent of the name is allowed, so what is below it
	denies  bool  // some *.parent of the name is denied, or *.name
	time    bool  // some rule that allows it has the port of time servers
	web     bool  // some rule that allows it has a TCP port
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
		exact, below := x.of(n)
		f.node = n
		f.consider(exact, r, class, false)
		for _, rule := range below {
			f.denies = f.denies || rule.Service == nil
		}
	}
	up := parent(r.Name)
	for name := up; name != ""; name = parent(name) { // no rule is for all names
		n, ok := x.names[name]
		f.lookups++
		if !ok {
			continue
		}
		if len(name) == len(up) && n.prefixes != 0 {
			x.findPrefixes(&f, n.prefixes, r.Name[:len(r.Name)-len(up)-1], up, r, class)
		}
		_, below := x.of(n)
		f.consider(below, r, class, true)
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
			rules, _ := x.of(n)
			f.consider(rules, r, class, false)
		}
	}
}

// consider weighs rules that are for the request's name; those that are wild
// are for all that is below it, too.
func (f *found) consider(rules []*Rule, r *Request, class uint64, wild bool) {
	for _, rule := range rules {
		if rule.Service == nil {
			if f.deny == nil {
				f.deny = rule
			}
			f.denies = f.denies || wild
			continue
		}
		s := rule.score(r, class)
		if s > f.best {
			f.best, f.rule = s, rule
		}
		if s >= allowed {
			f.allows = f.allows || wild
			f.time = f.time || rule.Has(UDP, ntpPort)
			f.web = f.web || rule.web()
		}
	}
}

func (rule *Rule) score(r *Request, class uint64) score {
	switch {
	case rule.classes&class == 0:
		return notClass
	case r.Plane != DNS && !rule.Has(r.Proto, r.Port):
		return notPort
	case rule.Service.Ended(r.Now):
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

// Ended reports whether the service has ended at now, which is trusted time. Without trusted time none has.
func (s *Service) Ended(now time.Time) bool {
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
