package report

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// Source is what a report is made of.
type Source struct {
	Set     *policy.Set
	Origin  string   // where that is from, in words
	Drift   []string // how the files differ from what is in force, in words
	Now     time.Time
	Since   time.Time
	Running string // the box that was asked, in words; empty: the files were read, as none runs
	Time    string // how well the time is known and where from, in words; empty: no box runs
	Digests Digests
	Oldest  time.Time // record that is kept; zero: not known
	// Verify checks the records of the newest segments, as [decision.VerifyNewest] does.
	Verify func(newest int) (decision.Report, error)
}

// Report is what an auditor wants to know of the box.
type Report struct {
	Made    time.Time `json:"made"`
	Running string    `json:"running,omitempty"`
	Usage
	Policy  Policy   `json:"in_force"`
	Denials []Denial `json:"denials"`       // the most frequent first, at most 1000
	Denied  uint64   `json:"denied_others"` // attempts that are not in denials
	Tunnel  Tunnel   `json:"resolver_tunnel"`
	Story
	Journal Journal `json:"journal"`
	Time    string  `json:"time,omitempty"`
}

// Policy is the policy in force.
type Policy struct {
	ID     string   `json:"id"`
	Hash   string   `json:"hash"` // SHA-256
	Origin string   `json:"origin"`
	Mode   string   `json:"mode"`
	Last   string   `json:"last,omitempty"`  // the id in the last record of a change, a start and the like
	Drift  []string `json:"drift,omitempty"` // how the files differ from what is in force

	Classes []Class `json:"classes"`
}

// Class is a kind of device.
type Class struct {
	Name     string   `json:"name"`
	Devices  []string `json:"devices"` // networks and interfaces
	Mode     string   `json:"mode"`
	Services []string `json:"services"`
}

// Denial is what a class of devices was denied.
type Denial struct {
	Class   string         `json:"class,omitempty"` // empty: unknown clients
	Name    string         `json:"name,omitempty"`
	Dest    netip.AddrPort `json:"dest,omitzero"`
	Port    uint16         `json:"port,omitempty"`
	Verdict string         `json:"verdict"`
	Reason  string         `json:"reason"`
	Planes  []string       `json:"planes"`
	Row     int            `json:"row,omitempty"` // of the nearest rule
	Count   uint64         `json:"count"`
	First   time.Time      `json:"first"`
	Last    time.Time      `json:"last"`
}

// Tunnel is what went to the resolver of the provider's document.
type Tunnel struct {
	Name     string         `json:"name"`
	Services []string       `json:"services"` // that allow it
	Clients  []TunnelClient `json:"clients"`  // the most bytes first
	Others   uint64         `json:"others"`   // uses that are not told by client
}

// TunnelClient is who used it.
type TunnelClient struct {
	Client  netip.Addr `json:"client"`
	Class   string     `json:"class,omitempty"`
	Tunnels uint64     `json:"tunnels"`
	Up      uint64     `json:"up"` // bytes
	Down    uint64     `json:"down"`
	First   time.Time  `json:"first"`
	Last    time.Time  `json:"last"`
}

// Bounds of a report. What is beyond is counted.
const (
	maxDenials = 1000  // that are told
	maxCounted = 16384 // that are counted
	maxClients = 4096  // of the tunnel
	maxStory   = 1000  // changes, outages, gaps, of each the newest
	// newest is how many segments a quick report checks record by record.
	newest = 2
)

// Make makes a report.
func Make(ctx context.Context, s Source) (Report, error) {
	m := maker{
		usage:   newUsageCounter(s.Set, s.Since),
		denials: make(map[denied]*Denial),
		clients: make(map[netip.Addr]*TunnelClient),
		story:   storyteller{since: s.Since},
		out:     Report{Made: s.Now, Running: s.Running, Time: s.Time},
	}
	for d, err := range s.Digests(s.Since, time.Time{}) {
		var damage *decision.Damage
		switch {
		case ctx.Err() != nil:
			return m.out, ctx.Err()
		case errors.As(err, &damage):
			m.usage.damaged(damage)
		case err != nil:
			return m.out, err
		}
		m.add(&d)
	}
	out := m.report()
	out.Policy = describe(s.Set)
	out.Policy.Origin, out.Policy.Last, out.Policy.Drift = s.Origin, m.story.policy, s.Drift
	out.Tunnel.Name, out.Tunnel.Services = decision.ResolverName, servicesOf(s.Set, decision.ResolverName)
	out.Journal.Oldest = s.Oldest
	return out, out.Journal.Check(s.Verify, newest)
}

// describe returns what a report says of a policy.
func describe(set *policy.Set) Policy {
	p := Policy{ID: set.ID(), Hash: set.Hash(), Mode: set.Mode().String()}
	for _, c := range set.Classes() {
		d := Class{Name: c.Name, Mode: c.Mode.String()}
		for _, n := range c.Networks {
			d.Devices = append(d.Devices, n.String())
		}
		d.Devices = append(d.Devices, c.Interfaces...)
		for _, s := range c.Services {
			d.Services = append(d.Services, s.ID)
		}
		p.Classes = append(p.Classes, d)
	}
	return p
}

// maker adds up digests.
type maker struct {
	usage   *usageCounter
	denials map[denied]*Denial
	clients map[netip.Addr]*TunnelClient
	story   storyteller
	chain   chain
	out     Report
}

// denied tells denials apart.
type denied struct {
	class, name string
	dest        netip.AddrPort
	port        uint16
	verdict     policy.Verdict
	reason      policy.Reason
}

func (m *maker) add(d *decision.Digest) {
	m.chain.add(d)
	m.story.add(d)
	for i := range d.Uses {
		u := &d.Uses[i]
		if u.Last.Before(m.usage.out.Since) {
			continue
		}
		m.usage.add(u)
		switch {
		case u.Verdict != policy.Allow:
			m.denial(u)
		case u.Client.IsValid():
			m.tunnel(u)
		}
	}
}

func (m *maker) denial(u *decision.Use) {
	key := denied{u.Class, u.Name, u.Dest, u.Port, u.Verdict, u.Reason}
	d := m.denials[key]
	if d == nil {
		if len(m.denials) == maxCounted || u.Rule == decision.OtherRule {
			m.out.Denied += u.Count
			return
		}
		d = &Denial{Class: u.Class, Name: u.Name, Dest: u.Dest, Port: u.Port, Verdict: u.Verdict.String(), Reason: u.Reason.String(),
			Row: u.Row, First: u.First}
		m.denials[key] = d
	}
	d.Count += u.Count
	d.First, d.Last = earlier(d.First, u.First), later(d.Last, u.Last)
	if plane := u.Plane.String(); !slices.Contains(d.Planes, plane) {
		d.Planes = append(d.Planes, plane)
		slices.Sort(d.Planes)
	}
}

func (m *maker) tunnel(u *decision.Use) {
	c := m.clients[u.Client]
	if c == nil {
		if len(m.clients) == maxClients {
			m.out.Tunnel.Others += u.Count
			return
		}
		c = &TunnelClient{Client: u.Client, First: u.First}
		m.clients[u.Client] = c
	}
	c.Class = u.Class
	c.Tunnels += u.Count
	c.Up += u.Up
	c.Down += u.Down
	c.First, c.Last = earlier(c.First, u.First), later(c.Last, u.Last)
}

func (m *maker) report() Report {
	out := m.out
	out.Usage = m.usage.usage()
	out.Story = m.story.end(out.Made, out.Running != "")
	out.Journal = m.chain.out
	for _, c := range m.clients {
		out.Tunnel.Clients = append(out.Tunnel.Clients, *c)
	}
	slices.SortFunc(out.Tunnel.Clients, func(a, b TunnelClient) int {
		return cmp.Or(cmp.Compare(b.Up+b.Down, a.Up+a.Down), a.Client.Compare(b.Client))
	})
	out.Denials = make([]Denial, 0, len(m.denials))
	for _, d := range m.denials {
		out.Denials = append(out.Denials, *d)
	}
	slices.SortFunc(out.Denials, func(a, b Denial) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Class, b.Class), strings.Compare(a.Name, b.Name),
			a.Dest.Compare(b.Dest), cmp.Compare(a.Port, b.Port), strings.Compare(a.Reason, b.Reason))
	})
	for _, d := range out.Denials[min(len(out.Denials), maxDenials):] {
		out.Denied += d.Count
	}
	out.Denials = out.Denials[:min(len(out.Denials), maxDenials)]
	return out
}

// servicesOf returns the services that allow a name.
func servicesOf(set *policy.Set, name string) (ids []string) {
	for _, r := range set.Rules() {
		if r.Service != nil && r.Covers(name) && !slices.Contains(ids, r.Service.ID) {
			ids = append(ids, r.Service.ID)
		}
	}
	return ids
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
