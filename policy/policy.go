// Package policy answers one question for every plane of the box: may this
// client reach this name on this port, and why.
//
// Files are compiled into a [Set], which never changes. [Set.Decide] is pure:
// the same request on the same set gives the same decision, it allocates
// nothing, and its cost depends on the number of labels in the name, not on
// the number of rules. A [Store] keeps the set in force, follows the files,
// and keeps the last good set over a bad edit.
//
// # Names
//
// x is exact. *.x is any subdomain of x at any depth, and not x itself.
// s-*.x is one label that begins with "s-", directly below x.
//
// # Order
//
// What is no host name is denied, then a client in no class. Of the rest, deny
// beats allow; an allow counts only while its service's until has not passed.
//
// # Files
//
// policy.yaml takes the place of the embedded policy as a whole, and a pack in
// packs/ that of the embedded pack of its name. A pack that policy.yaml does not
// list is not in force, but what is wrong with it is told all the same.
package policy

import (
	"net/netip"
	"time"
)

// Plane is the part of the box that asks for a decision or writes a record.
type Plane uint8

// The planes. Policy and System decide nothing: their records carry no verdict.
const (
	DNS Plane = iota
	Connect
	TLS
	HTTP
	NTP
	Firewall
	Policy
	System
)

var planeNames = [...]string{"dns", "connect", "tls", "http", "ntp", "firewall", "policy", "system"}

func (p Plane) String() string { return planeNames[p] }

// Decides reports whether the plane's records carry a verdict.
func (p Plane) Decides() bool { return p < Policy }

// ParsePlane is the inverse of [Plane.String].
func ParsePlane(s string) (Plane, bool) {
	for i, n := range planeNames {
		if n == s {
			return Plane(i), true
		}
	}
	return 0, false
}

// Proto is a transport protocol.
type Proto uint8

// The protocols. The zero value is no protocol, and is absent in records.
const (
	NoProto Proto = iota
	TCP
	UDP
	ICMP
)

var protoNames = [...]string{"", "tcp", "udp", "icmp"}

func (p Proto) String() string { return protoNames[p] }

// ParseProto is the inverse of [Proto.String].
func ParseProto(s string) (Proto, bool) {
	for i, n := range protoNames {
		if n == s {
			return Proto(i), true
		}
	}
	return 0, false
}

// Verdict is what was decided. The zero value denies.
type Verdict uint8

// WouldDeny lets pass what an enforced policy would deny: the class is observed.
const (
	Deny Verdict = iota
	Allow
	WouldDeny
)

var verdictNames = [...]string{"deny", "allow", "would-deny"}

func (v Verdict) String() string { return verdictNames[v] }

// ParseVerdict is the inverse of [Verdict.String].
func ParseVerdict(s string) (Verdict, bool) {
	for i, n := range verdictNames {
		if n == s {
			return Verdict(i), true
		}
	}
	return 0, false
}

// A Request is one attempt of a client, as a plane understood it.
type Request struct {
	Plane     Plane
	Client    netip.Addr // not IPv4-mapped
	Interface string     // that it came in by; empty where not known
	Name      string     // canonical, see [WireName]; empty is the DNS root
	Port      uint16     // not looked at on plane DNS
	Proto     Proto      // not looked at on plane DNS
	Now       time.Time  // trusted time, for until; the zero time ends nothing
}

// A Decision is the verdict on a [Request] with its why.
type Decision struct {
	Verdict Verdict
	Reason  Reason
	Class   *Class // the client's; nil: unknown client
	Rule    *Rule  // that allowed it, or the nearest that did not; may be nil
	Above   bool   // the name is denied, but a name below it is allowed to this class
	Steer   bool   // the name is a time server's: where the box serves time, DNS answers with the box's address
}

// Pass reports whether the attempt may go on: allowed, or only observed.
func (d Decision) Pass() bool { return d.Verdict != Deny }
