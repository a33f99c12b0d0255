package ntprelay

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tillgate/policy"
)

// maxNames is how many names are asked for their addresses; those after are not.
const maxNames = maxServers

// A name is one of a time server, or its address.
type name struct {
	host    string
	private bool // it may lead to a special-purpose address
	literal bool // it is an address

	due    time.Time // when it is looked up again
	looked time.Time // when it was last, with success
	asking bool
	since  time.Time // of the first of the look-ups that failed in a row; zero: the last did not
	err    error     // of the last look-up, or of its addresses
	none   bool      // the last answer was that there is no address to ask
}

// readNames brings the names up to the configuration and the policy in force. What is
// no longer named is asked no more. Called with mu held.
func (p *poller) readNames(now time.Time) {
	p.set, p.read = p.deps.Policy(), now
	var names []*name
	for _, n := range p.wanted(p.set) {
		if i := slices.IndexFunc(p.names, func(old *name) bool { return old.host == n.host && old.private == n.private }); i >= 0 {
			n = p.names[i]
		} else {
			n.due = now
		}
		names = append(names, n)
	}
	p.names = names
	for _, s := range p.peers {
		if !slices.Contains(names, s.name) {
			p.drop(s)
		}
	}
	p.countServers()
}

// wanted returns the names of the configuration, else of the policy, and notes those that
// are left out.
func (p *poller) wanted(set *policy.Set) (names []*name) {
	for _, host := range p.cfg.Servers {
		_, err := netip.ParseAddr(host)
		if !slices.ContainsFunc(names, func(n *name) bool { return n.host == host }) {
			names = append(names, &name{host: host, private: err == nil, literal: err == nil})
		}
	}
	if len(p.cfg.Servers) == 0 {
		for _, r := range set.TimeServers(p.deps.Clock.Trusted()) {
			names = append(names, &name{host: r.Host, private: r.Private})
		}
	}
	p.leftOut = nil
	leaveOut := func(n *name, why string) {
		if len(p.leftOut) < maxNames { // the others are as many as somebody wrote
			p.leftOut = append(p.leftOut, Server{Name: n.host, State: LeftOut, Why: why})
		}
	}
	if slices.ContainsFunc(names, func(n *name) bool { return !smears(n.host) }) {
		names = slices.DeleteFunc(names, func(n *name) bool {
			if smears(n.host) {
				leaveOut(n, "it smears leap seconds, and the others do not")
			}
			return smears(n.host)
		})
	}
	for len(names) > maxNames {
		leaveOut(names[len(names)-1], fmt.Sprintf("only the first %d names are asked", maxNames))
		names = names[:len(names)-1]
	}
	return names
}

// smears reports whether a name is one of Google's, whose servers spread a leap second
// over a day: they must not be mixed with others (developers.google.com/time).
func smears(host string) bool {
	switch host {
	case "time.google.com", "time1.google.com", "time2.google.com", "time3.google.com", "time4.google.com", "time.android.com":
		return true
	}
	return false
}
