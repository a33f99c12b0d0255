// Package replay judges recorded attempts by another policy than the one that they met:
// to foretell what an edit would change, and to propose what denied attempts would need.
//
// It is pure: records go in one by one, what it keeps of them is bounded, and what had no
// room is counted.
package replay

import (
	"net/netip"
	"slices"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// settled are the reasons of denials that no policy changes.
var settled = []policy.Reason{policy.RateLimited, policy.LimitReached, policy.Malformed, policy.Spoofed,
	policy.TimeUntrusted, policy.SNIMismatch, policy.HostMismatch}

// A sight is a recorded attempt, as far as a policy can judge it.
type sight struct {
	*decision.Record
	name  string // as asked for, else that by which the client knows the destination
	iface string // that it came in by, as far as its class tells

	steered bool // it was answered with the box's own address
}

// see returns what there is to judge of a record: nothing of one that is no decision, or
// that no policy changes. known is the name by which the client knows the destination,
// where the record has none.
func see(r *decision.Record, known string) (s sight, ok bool) {
	if r.Event != "" || !r.Plane.Decides() || slices.Contains(settled, r.Reason) {
		return s, false
	}
	s = sight{Record: r, name: r.Name}
	if s.name == "" {
		s.name = known
	}
	if _, _, own := policy.SpecialUse(s.name); own {
		return s, false // the box answers by itself
	}
	return s, true
}

// cameIn sets the interface where the client's address does not tell its class. Records
// don't have it, but their class does.
func (s *sight) cameIn(sets ...*policy.Set) {
	for _, set := range sets {
		for _, c := range set.Classes() {
			if c.Name == s.Class && len(c.Interfaces) > 0 && s.iface == "" {
				s.iface = c.Interfaces[0]
			}
		}
	}
}

// judge returns what the policy decides on an attempt that is made at now, by all that is
// recorded of it. It is false where that is not enough.
func (s *sight) judge(set *policy.Set, now time.Time) (d policy.Decision, ok bool) {
	if !s.Client.IsValid() {
		return d, false // various clients
	}
	r := policy.Request{Plane: s.Plane, Client: s.Client.Unmap(), Interface: s.iface, Name: s.name, Port: s.Port, Proto: s.Proto, Now: now}
	switch {
	case s.Plane == policy.Firewall:
		return s.judgePacket(set, r)
	case s.Plane == policy.NTP:
		return set.Decide(r), true
	case s.Plane == policy.DNS:
		if s.Qtype == "" {
			return d, false // various names
		}
		return s.guard(set.Decide(r)), true
	case s.isNameless():
		return s.judgeNameless(set, r), true
	case s.name == "":
		return d, false
	}
	return s.guard(set.Decide(r)), true
}

// guard is what becomes of a decision by the address that the name led to.
func (s *sight) guard(d policy.Decision) policy.Decision {
	if !d.Pass() || d.Steer || d.Verdict == policy.Allow && d.Rule != nil && d.Rule.Private {
		return d
	}
	led := s.Answers
	switch {
	case s.steered:
		led = nil
	case s.Dest.IsValid():
		led = []netip.Addr{s.Dest.Addr()}
	}
	public := slices.ContainsFunc(led, func(a netip.Addr) bool { return policy.CheckAddr(a) == nil })
	if s.Reason == policy.PrivateAddress || len(led) > 0 && !public {
		d.Verdict, d.Reason = policy.Deny, policy.PrivateAddress
	}
	return d
}

// isNameless reports whether a connection named no host that could be judged.
func (s *sight) isNameless() bool {
	switch s.Reason {
	case policy.NoSNI, policy.NoHello, policy.NotTLS, policy.IPLiteral, policy.BadName:
		return true
	}
	return false
}

// judgeNameless knows what package proxy does with such connections: without SNI some
// rules allow them, and an observed class reaches the address that it wanted.
func (s *sight) judgeNameless(set *policy.Set, r policy.Request) policy.Decision {
	if s.Reason == policy.NoSNI && s.name != "" {
		if d := set.Decide(r); d.Verdict == policy.Allow && d.Rule != nil && d.Rule.SNIOptional {
			return s.guard(d)
		}
	}
	d := policy.Decision{Reason: s.Reason, Class: set.Class(r.Client, r.Interface)}
	gone := s.Reason == policy.NoHello && s.Verdict == policy.Deny
	switch {
	case d.Class == nil:
		d.Reason = policy.UnknownClient
	case d.Class.Mode == policy.Observe && !gone && s.Dest.IsValid() && policy.CheckAddr(s.Dest.Addr()) == nil:
		d.Verdict = policy.WouldDeny
	}
	return d
}

// judgePacket knows what the packet filter does: networks are its own to let through, and
// the ports of names are redirected, so that the name decides.
func (s *sight) judgePacket(set *policy.Set, r policy.Request) (d policy.Decision, ok bool) {
	d = policy.Decision{Reason: policy.FirewallReject, Class: set.Class(r.Client, r.Interface)}
	if d.Class == nil || !s.Dest.IsValid() {
		return d, false // no class's packets are not judged, nor are various ones
	}
	captured := false
	for _, service := range d.Class.Services {
		for _, rule := range service.Destinations {
			if !rule.Has(s.Proto, s.Port) {
				continue
			}
			if rule.Host != "" {
				captured = captured || s.Proto == policy.TCP
				continue
			}
			if rule.Network.Contains(s.Dest.Addr().Unmap()) && !service.Ended(r.Now) {
				d.Verdict, d.Reason, d.Rule = policy.Allow, policy.Documented, rule
				if service.Local() {
					d.Reason = policy.LocalService
				}
				return d, true
			}
		}
	}
	if captured {
		r.Plane = policy.TLS
		return s.guard(set.Decide(r)), s.name != ""
	}
	if d.Class.Mode == policy.Observe && policy.CheckAddr(s.Dest.Addr()) == nil {
		d.Verdict = policy.WouldDeny
	}
	return d, true
}
