package check

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"tillgate/policy"
)

const (
	// maxTargets is how many destinations a test has. The document has 32.
	maxTargets = 256
	httpPort   = 80
	ntpPort    = 123
)

// A Plan is what a test goes to.
type Plan struct {
	Class string     `json:"class,omitempty"`
	Via   netip.Addr `json:"via,omitzero"`
	// As whom the box knows this machine, where it was asked: its address, its class, and the
	// policy by which that is so. The destinations are those of Class, which may be another.
	Client  netip.Addr `json:"client,omitzero"`
	Known   string     `json:"known,omitempty"`
	Policy  string     `json:"policy,omitempty"`
	Targets []Target   `json:"targets"`
	LeftOut int        `json:"left_out,omitempty"` // destinations beyond the bound
}

// A Target is a destination, and what the policy says of it.
type Target struct {
	Host        string `json:"host"`
	Port        uint16 `json:"port,omitempty"`
	Proto       string `json:"proto,omitempty"`
	Service     string `json:"service"`
	Row         int    `json:"row,omitempty"` // of the document
	Title       string `json:"title,omitempty"`
	Requirement string `json:"requirement"`      // required, optional, conditional; local: the store's own
	Rule        string `json:"rule"`             // file:line
	Skip        string `json:"skip,omitempty"`   // why it is not tried
	Denied      string `json:"denied,omitempty"` // why the policy denies it to the class all the same

	private bool // the name may lead to a special-purpose address
}

// String is the destination as a person writes it.
func (t Target) String() string {
	if t.Port == 0 {
		return t.Host
	}
	return fmt.Sprintf("%s:%d", t.Host, t.Port)
}

// local is what [Target.Requirement] says of the store's own services.
const local = "local"

// NewPlan returns the destinations of a class, in the order of the policy's rows, or with
// a nil class all that the policy has. Services that have ended at now (the zero time: none
// has) are left out.
func NewPlan(set *policy.Set, class *policy.Class, now time.Time) Plan {
	var p Plan
	services := set.Services()
	if class != nil {
		p.Class, services = class.Name, class.Services
	}
	for _, s := range services {
		if !s.Until.IsZero() && !now.IsZero() && !now.Before(s.Until) {
			continue
		}
		for _, r := range s.Destinations {
			for _, port := range portsOf(r) {
				if len(p.Targets) == maxTargets {
					p.LeftOut++
					continue
				}
				t := newTarget(s, r, port)
				if class != nil && t.Skip == "" {
					t.Denied = denied(set, class, t, port, now)
				}
				p.Targets = append(p.Targets, t)
			}
		}
	}
	return p
}

// portsOf returns a rule's ports; what can't be tried is one thing, whatever its ports.
func portsOf(r *policy.Rule) []policy.Port {
	if whyNot(r) != "" {
		return make([]policy.Port, 1)
	}
	return r.Ports
}

func newTarget(s *policy.Service, r *policy.Rule, port policy.Port) Target {
	t := Target{Host: r.Host, Port: port.Number, Proto: port.Proto.String(), Service: s.ID, Row: s.Row, Title: s.Title,
		Requirement: s.Requirement.String(), Rule: r.Pos.String(), Skip: whyNot(r), private: r.Private}
	if s.Local() {
		t.Requirement, t.Title = local, s.Reason
	}
	if r.Host == "" {
		t.Host = r.Network.String()
	}
	return t
}

// whyNot says why a rule's destination can't be tried.
func whyNot(r *policy.Rule) string {
	switch {
	case r.Host == "":
		return "a network within the store; the firewall lets it through"
	case strings.Contains(r.Host, "*"):
		return "stands for many names; which of them there are the document does not say"
	}
	return ""
}

// denied asks the policy as a client of the class would: a deny rule beats the service. It
// is empty where nothing does.
func denied(set *policy.Set, class *policy.Class, t Target, port policy.Port, now time.Time) (why string) {
	req := policy.Request{Plane: policy.Connect, Name: t.Host, Port: port.Number, Proto: port.Proto, Now: now}
	if port.Proto == policy.UDP {
		req.Plane = policy.DNS // who may have the time is another question than from whom
	}
	if len(class.Interfaces) > 0 {
		req.Interface = class.Interfaces[0]
	}
	if len(class.Networks) > 0 {
		req.Client = class.Networks[0].Addr()
	}
	d := set.Decide(req)
	if d.Class != class || d.Verdict == policy.Allow {
		return "" // of another class, whose network is within this one's
	}
	why = d.Reason.Text()
	if d.Rule != nil {
		why += ", " + d.Rule.Pos.String()
	}
	return why
}
