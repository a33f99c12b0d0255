package console

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"tillgate/policy"
)

// Question is an attempt that somebody wants to know about.
type Question struct {
	Client    netip.Addr
	Interface string // that it came in by; empty: not known
	Name      string // as a person writes it
	Port      uint16 // 0: whether the name resolves
	Proto     policy.Proto
	Plane     policy.Plane
}

// Explanation is a decision with what a person wants to know beside it.
type Explanation struct {
	Client     netip.Addr   `json:"client"`
	Interface  string       `json:"interface,omitempty"`
	Class      string       `json:"class,omitempty"`
	Mode       string       `json:"mode,omitempty"` // of the class
	Plane      string       `json:"plane"`
	Name       string       `json:"name"`
	Port       uint16       `json:"port,omitempty"`
	Proto      string       `json:"proto,omitempty"`
	Verdict    string       `json:"verdict"`
	Reason     string       `json:"reason"`
	Text       string       `json:"text"`              // the reason in words
	Above      bool         `json:"above,omitempty"`   // a name below is allowed: DNS says NODATA, not NXDOMAIN
	Rule       *Match       `json:"rule,omitempty"`    // that allows it, or the nearest that does not
	Ports      []string     `json:"ports,omitempty"`   // on which the class may reach the name
	Others     []string     `json:"classes,omitempty"` // that would be allowed
	Nearest    []Match      `json:"nearest,omitempty"`
	Suggestion *Suggestion  `json:"suggestion,omitempty"`
	Policy     string       `json:"policy"`
	Interfaces []ClassIface `json:"interfaces,omitempty"` // of classes, where the client's own class is not known
}

// Match is a destination with the service that it belongs to.
type Match struct {
	Destination
	Service     string    `json:"service,omitempty"` // none: a deny rule
	Row         int       `json:"row,omitempty"`
	Title       string    `json:"title,omitempty"`
	Requirement string    `json:"requirement,omitempty"`
	Why         string    `json:"why,omitempty"` // the store's own reason
	Until       time.Time `json:"until,omitzero"`
}

// Suggestion is a pack's word on a name that it does not document.
type Suggestion struct {
	Host string `json:"host"`
	Near string `json:"near"`
	Why  string `json:"why"`
	At   string `json:"at"`
}

// ClassIface is a class that clients belong to by the interface they come in by.
type ClassIface struct {
	Class      string   `json:"class"`
	Interfaces []string `json:"interfaces"`
}

// Explain answers a question by a policy. now is trusted time, as in
// [policy.Request].
func Explain(set *policy.Set, q Question, now time.Time) Explanation {
	name := q.Name
	if wire, ok := policy.WireName(name); ok {
		name = wire
	} else if host, err := policy.HostPattern(name); err == nil {
		name = host // written in the letters of its language
	}
	r := policy.Request{
		Plane:     q.Plane,
		Client:    q.Client.Unmap().WithZone(""),
		Interface: q.Interface,
		Name:      name,
		Port:      q.Port,
		Proto:     q.Proto,
		Now:       now,
	}
	found := set.Explain(r)
	if q.Plane == policy.NTP && found.Decision.Pass() && !policy.IsLiteral(name) {
		// Whatever address is asked for the time, the box answers; but a name leads to no
		// address where DNS denies it.
		ask := r
		ask.Plane = policy.DNS
		if byName := set.Explain(ask); !byName.Decision.Pass() {
			found = byName
		}
	}
	d := found.Decision
	e := Explanation{
		Client:    q.Client,
		Interface: q.Interface,
		Plane:     q.Plane.String(),
		Name:      name,
		Port:      q.Port,
		Proto:     q.Proto.String(),
		Verdict:   d.Verdict.String(),
		Reason:    d.Reason.String(),
		Text:      d.Reason.Text(),
		Above:     d.Above,
		Rule:      describeMatch(d.Rule),
		Policy:    set.ID(),
	}
	switch {
	case found.Special != "" && r.Plane == policy.HTTP:
		e.Text = "answered by the box itself: " + found.Special
	case found.Special != "":
		e.Text = "answered by the box itself: special-use name, " + found.Special
	case r.Plane == policy.NTP && d.Pass():
		e.Text += "; whatever server is asked, the box answers where it serves time"
	}
	if d.Steer && d.Pass() {
		e.Text += "; where the box serves time, it answers with its own address"
	}
	if d.Class != nil {
		e.Class, e.Mode = d.Class.Name, d.Class.Mode.String()
	} else if q.Interface == "" {
		e.Interfaces = interfacesOf(set)
	}
	for _, p := range found.Ports {
		e.Ports = append(e.Ports, p.String())
	}
	for _, c := range found.Others {
		e.Others = append(e.Others, c.Name)
	}
	for _, r := range found.Nearest {
		e.Nearest = append(e.Nearest, *describeMatch(r))
	}
	if s := found.Suggestion; s != nil {
		e.Suggestion = &Suggestion{s.Host, s.Near, s.Why, s.Pos.String()}
	}
	return e
}

func interfacesOf(set *policy.Set) []ClassIface {
	var list []ClassIface
	for _, c := range set.Classes() {
		if len(c.Interfaces) > 0 {
			list = append(list, ClassIface{c.Name, c.Interfaces})
		}
	}
	return list
}

func describeMatch(r *policy.Rule) *Match {
	if r == nil {
		return nil
	}
	m := &Match{Destination: describeRule(r)}
	if s := r.Service; s != nil {
		m.Service, m.Row, m.Title, m.Why, m.Until = s.ID, s.Row, s.Title, s.Reason, s.Until
		if !s.Local() {
			m.Requirement = s.Requirement.String()
		}
	}
	return m
}

// Values returns the question as parameters of GET /v1/explain.
func (q Question) Values() url.Values {
	v := url.Values{"client": {q.Client.String()}, "name": {q.Name}, "plane": {q.Plane.String()}}
	if q.Interface != "" {
		v.Set("interface", q.Interface)
	}
	if q.Port != 0 {
		v.Set("port", strconv.Itoa(int(q.Port)))
	}
	if q.Proto != policy.NoProto {
		v.Set("proto", q.Proto.String())
	}
	return v
}

// ParseQuestion is the inverse of [Question.Values]. Without a plane, a question
// without a port is about DNS and one with a port about a connection to it.
func ParseQuestion(v url.Values) (Question, error) {
	q := Question{Name: v.Get("name"), Interface: v.Get("interface")}
	if err := known(v, "client", "interface", "name", "port", "proto", "plane"); err != nil {
		return q, err
	}
	var err error
	if q.Client, err = netip.ParseAddr(v.Get("client")); err != nil {
		return q, fmt.Errorf("client %q is not an address", v.Get("client"))
	}
	if port := v.Get("port"); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return q, fmt.Errorf("port %q is not a number from 1 to 65535", port)
		}
		q.Port, q.Proto, q.Plane = uint16(n), policy.TCP, policy.Connect
	}
	if proto := v.Get("proto"); proto != "" {
		var ok bool
		if q.Proto, ok = policy.ParseProto(proto); !ok {
			return q, fmt.Errorf("proto %q is not tcp, udp or icmp", proto)
		}
	}
	if plane := v.Get("plane"); plane != "" {
		var ok bool
		if q.Plane, ok = policy.ParsePlane(plane); !ok || !q.Plane.Decides() {
			return q, fmt.Errorf("plane %q is not one that decides: dns, connect, tls, http, ntp or firewall", plane)
		}
	}
	return q, nil
}

// known refuses parameters that nobody reads: a filter with a slip of the pen
// would show everything.
func known(v url.Values, names ...string) error {
	for name := range v {
		ok := false
		for _, n := range names {
			ok = ok || n == name
		}
		if !ok {
			return fmt.Errorf("unknown parameter %q", name)
		}
	}
	return nil
}
