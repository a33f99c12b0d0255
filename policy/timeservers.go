package policy

import (
	"slices"
	"time"
)

// TimeServers returns the time servers that the policy names, of whatever service that
// has not ended at now (the zero time: none has): a rule for each host, in the order of
// the files. Of several rules for a host it is one that lets the name lead to a private
// address, if there is one. Hosts with a * are left out, since they are no name to ask,
// and those that a deny rule takes away again.
func (s *Set) TimeServers(now time.Time) []*Rule {
	var rules []*Rule
	at := make(map[string]int) // in rules
	for _, r := range s.times {
		i, known := at[r.Host]
		switch {
		case r.Service.Ended(now):
		case !known:
			at[r.Host] = len(rules)
			rules = append(rules, r)
		case r.Private && !rules[i].Private:
			rules[i] = r
		}
	}
	return rules
}

// HasTimeServers reports whether [Set.TimeServers] returns any. It allocates nothing.
func (s *Set) HasTimeServers(now time.Time) bool {
	return slices.ContainsFunc(s.times, func(r *Rule) bool { return !r.Service.Ended(now) })
}

// timeServers returns the rules for a time server's name that no other takes away.
func (s *Set) timeServers() (rules []*Rule) {
	for _, r := range s.rules {
		if r.Service != nil && r.Host != "" && r.Has(UDP, ntpPort) && parseHost(r.Host).kind == exact &&
			s.index.find(&Request{Plane: DNS, Name: r.Host}, 0).deny == nil {
			rules = append(rules, r)
		}
	}
	return rules
}
