package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Mode says what happens to an attempt that no rule allows.
type Mode uint8

// The modes. Observe decides and records, but lets pass what is [Reason.Observable].
const (
	Enforce Mode = iota
	Observe
)

func (m Mode) String() string {
	if m == Observe {
		return "observe"
	}
	return "enforce"
}

// A Class is a kind of device, told by the network or the interface that it is in.
type Class struct {
	Name       string
	Networks   []netip.Prefix // masked
	Interfaces []string
	Services   []*Service // that it may use
	Time       bool       // the box's NTP, whatever the services say
	Mode       Mode
	Pos        Pos

	bit uint64 // one bit of 64: see maxClasses
	ntp *Rule  // for udp/123, that lasts longest; nil: none
}

// maxClasses is the number of bits that tell classes apart in a rule.
const maxClasses = 64

// A Service is a group of destinations with one reason: a row of a provider's
// document, or one of the store's own.
type Service struct {
	ID           string // pack/name, or local/name
	Row          int    // of the document; 0: none
	Title        string
	For          []string // kinds of device that the document names
	Requirement  Requirement
	Purpose      []string
	Reason       string    // of a local service: why the store needs it
	Until        time.Time // zero: no end
	Destinations []*Rule
	Pos          Pos

	classes uint64 // the bits of the classes that may use it
}

// Local reports whether the service is the store's own.
func (s *Service) Local() bool { return s.Row == 0 && s.Reason != "" }

// A Rule is one destination of a service: a host or, within the store, a network.
type Rule struct {
	Service     *Service // nil on a deny rule
	Host        string   // x, *.x or s-*.x; empty on a network rule
	Network     netip.Prefix
	Ports       []Port
	Private     bool // the name may lead to a special-purpose address
	SNIOptional bool // a ClientHello without SNI is accepted
	Pos         Pos

	classes uint64 // the bits of the classes that it is for
}

// A Port is a port of a protocol, written tcp/443.
type Port struct {
	Proto  Proto
	Number uint16
}

func (p Port) String() string { return p.Proto.String() + "/" + strconv.Itoa(int(p.Number)) }

// Has reports whether the rule names the port.
func (r *Rule) Has(proto Proto, number uint16) bool {
	for _, p := range r.Ports {
		if p.Proto == proto && p.Number == number {
			return true
		}
	}
	return false
}

// Covers reports whether the rule is for a name, which is canonical.
func (r *Rule) Covers(name string) bool { return r.Host != "" && parseHost(r.Host).matches(name) }

// web reports whether the rule has a TCP port.
func (r *Rule) web() bool {
	return slices.ContainsFunc(r.Ports, func(p Port) bool { return p.Proto == TCP })
}

// Requirement is what the document says of a service.
type Requirement uint8

// The requirements. Conditional depends on the kind of device.
const (
	Required Requirement = iota
	Optional
	Conditional
)

var requirementNames = [...]string{"required", "optional", "conditional"}

func (r Requirement) String() string { return requirementNames[r] }

// Pos is a place in a policy or pack file.
type Pos struct {
	File string // as the user would write it, for instance packs/acme.yaml
	Line int    // from 1; 0: none
}

func (p Pos) String() string { return p.File + ":" + strconv.Itoa(p.Line) }

// A Suggestion is a name that a pack knows to be asked for beside a documented
// one. It is never allowed, only shown beside a denial.
type Suggestion struct {
	Host string // as in a rule
	Near string // the service that it goes with
	Why  string
	Pos  Pos
}
