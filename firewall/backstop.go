package firewall

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"tillgate/policy"
)

// The backstop are rules of the routing policy (ip rule), beside the table. Whoever
// flushes nft's rules, even where no keeper is left to put them back, does not reach these:
// a box that forwards then has no way for what an enforced class sends to the Internet.
//
// They only ever take away. While the table stands nothing comes as far as they are that
// they stop. Of packets they know the interface and the addresses, and neither connections
// nor ports; so they let through what may be right: to where the policy's network
// destinations and the admins are, and, by a way that is not the Internet's, to private
// addresses. The kernel asks its table local before all rules, so what is for the box is
// never theirs.
//
// A packet meets them in this order:
//
//	51       what the box itself sends, and its look back at who sends to it, skip them
//	52       to a network destination, or an admin in the store: on to the host's own rules
//	53       to a private address: by the table main, but not by its default route
//	54       in by an enforced class's interface: no way
//	60–188   from a class's network, the longest first: no way, or if it is observed, on
//	199      those that skip go on here
const (
	prefBox     = 51
	prefReach   = 52
	prefPrivate = 53
	prefStop    = 54
	prefFrom    = 60 // and one more for each bit that the network is shorter
	prefEnd     = 199

	// backProtocol marks the rules as tillgate's, as the routing daemons mark theirs.
	backProtocol = 116

	// MaxBackstop bounds the rules of the backstop, of both families. The kernel walks over
	// them for each packet that it forwards.
	MaxBackstop = 512
)

// backAction is what a rule of the backstop does.
type backAction uint8

const (
	backStop    backAction = iota // there is no way, and the sender is told
	backSkip                      // go on at prefEnd
	backPrivate                   // a way that is not larger than a private block
	backEnd                       // prefEnd itself
)

// A backRule is one rule. The zero values of in, from and to stand for any.
type backRule struct {
	is4      bool
	pref     uint32
	in       string
	from, to netip.Prefix
	action   backAction
}

// privateBits is the length of the largest private block. A route that is larger has more
// behind it, as the default route has, or the two halves of it that a VPN lays.
func privateBits(is4 bool) uint32 {
	if is4 {
		return 8
	}
	return 7
}

// String is the rule in the words of the program ip, as a text of rules has it.
func (r backRule) String() string {
	family := map[bool]string{true: "-4", false: "-6"}[r.is4]
	s := fmt.Sprintf("ip %s rule add pref %d", family, r.pref)
	if r.in != "" {
		s += " iif " + r.in
	}
	if r.from.IsValid() {
		s += " from " + r.from.String()
	}
	if r.to.IsValid() {
		s += " to " + r.to.String()
	}
	switch r.action {
	case backStop:
		s += " prohibit"
	case backSkip:
		s += fmt.Sprintf(" goto %d", prefEnd)
	case backPrivate:
		s += fmt.Sprintf(" lookup main suppress_prefixlength %d", privateBits(r.is4)-1)
	case backEnd:
		s += " nop"
	}
	return s + fmt.Sprintf(" protocol %d", backProtocol)
}

// backstop makes the rules of the enforced classes, in the order of their places.
func (t *table) backstop() (rules []backRule) {
	for _, f := range families {
		if stops := t.backStops(f.is4); len(stops) > 0 {
			rules = append(rules, backRule{is4: f.is4, pref: prefBox, in: "lo", action: backSkip})
			for _, n := range t.reached(f.is4) {
				rules = append(rules, backRule{is4: f.is4, pref: prefReach, to: n, action: backSkip})
			}
			for _, p := range storeOnly[f.is4] {
				rules = append(rules, backRule{is4: f.is4, pref: prefPrivate, to: p, action: backPrivate})
			}
			rules = append(rules, stops...)
			rules = append(rules, backRule{is4: f.is4, pref: prefEnd, action: backEnd})
		}
	}
	return rules
}

// backStops are those that stop something, and what of observed classes lies within.
func (t *table) backStops(is4 bool) (rules []backRule) {
	var enforced, observed []netip.Prefix
	for _, m := range t.members {
		networks := &observed
		if m.class.Mode != policy.Observe {
			networks = &enforced
			for _, name := range m.interfaces {
				rules = append(rules, backRule{is4: is4, pref: prefStop, in: name})
			}
		}
		for _, p := range m.class.Networks {
			if p.Addr().Is4() == is4 && !wide(p) {
				*networks = append(*networks, p)
			}
		}
	}
	add := func(p netip.Prefix, do backAction) {
		place := prefFrom + uint32(p.Addr().BitLen()-p.Bits())
		rules = append(rules, backRule{is4: is4, pref: place, from: p, action: do})
	}
	for _, p := range enforced {
		add(p, backStop)
	}
	for _, p := range observed {
		if slices.ContainsFunc(enforced, p.Overlaps) {
			add(p, backSkip)
		}
	}
	slices.SortStableFunc(rules, func(a, b backRule) int { return cmp.Compare(a.pref, b.pref) })
	return rules
}

// reached are the networks that the enforced classes may reach by address, and those of
// admins, whom they may answer: they may be behind the store's router, as the Internet is.
func (t *table) reached(is4 bool) (networks []netip.Prefix) {
	add := func(p netip.Prefix) {
		if p.Addr().Is4() == is4 && !slices.Contains(networks, p) {
			networks = append(networks, p)
		}
	}
	for _, p := range t.cfg.Admin {
		if slices.ContainsFunc(storeOnly[is4], func(s netip.Prefix) bool { return s.Bits() <= p.Bits() && s.Contains(p.Addr()) }) {
			add(p.Masked())
		}
	}
	for _, m := range t.members {
		if m.class.Mode == policy.Observe {
			continue
		}
		for _, s := range m.class.Services {
			if t.ended(s) {
				continue
			}
			for _, r := range s.Destinations {
				if r.Network.IsValid() {
					add(r.Network)
				}
			}
		}
	}
	return networks
}
