package console

import (
	"time"

	"tillgate/policy"
)

// Policy is what is in force, or what files say.
type Policy struct {
	ID       string        `json:"id"`   // first 12 hex digits of the hash, as in records
	Hash     string        `json:"hash"` // SHA-256 over policy.yaml and every pack in force
	Mode     string        `json:"mode"`
	Packs    []Pack        `json:"packs"`
	Classes  []Class       `json:"classes"`
	Services []Service     `json:"services"`
	Deny     []Destination `json:"deny,omitempty"`
}

// Pack is one provider's document.
type Pack struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Source   string `json:"source"`
	Embedded bool   `json:"embedded"`
}

// Class is a kind of device.
type Class struct {
	Name       string   `json:"name"`
	Networks   []string `json:"networks,omitempty"`
	Interfaces []string `json:"interfaces,omitempty"`
	Services   []string `json:"services"`
	Time       bool     `json:"time,omitempty"`
	Mode       string   `json:"mode"`
	At         string   `json:"at"` // file:line
}

// Service is a group of destinations with one reason.
type Service struct {
	ID           string        `json:"id"`
	Row          int           `json:"row,omitempty"` // of the document
	Title        string        `json:"title,omitempty"`
	For          []string      `json:"for,omitempty"`
	Requirement  string        `json:"requirement,omitempty"`
	Purpose      []string      `json:"purpose,omitempty"`
	Reason       string        `json:"reason,omitempty"` // of a store's own service
	Until        time.Time     `json:"until,omitzero"`
	Destinations []Destination `json:"destinations,omitempty"`
	At           string        `json:"at"`
}

// Destination is a rule: a host, or a network within the store.
type Destination struct {
	Host        string   `json:"host,omitempty"`
	Network     string   `json:"network,omitempty"`
	Ports       []string `json:"ports,omitempty"`
	Private     bool     `json:"private,omitempty"`
	SNIOptional bool     `json:"sni_optional,omitempty"`
	At          string   `json:"at"`
}

// DescribePolicy returns all that a policy says.
func DescribePolicy(set *policy.Set) Policy {
	p := Policy{
		ID:       set.ID(),
		Hash:     set.Hash(),
		Mode:     set.Mode().String(),
		Packs:    []Pack{},
		Classes:  []Class{},
		Services: []Service{},
	}
	for _, k := range set.Packs() {
		p.Packs = append(p.Packs, Pack{k.Name, k.Title, k.Source, k.Embedded})
	}
	for _, c := range set.Classes() {
		p.Classes = append(p.Classes, describeClass(c))
	}
	for _, s := range set.Services() {
		p.Services = append(p.Services, describeService(s))
	}
	for _, r := range set.Rules() {
		if r.Service == nil {
			p.Deny = append(p.Deny, describeRule(r))
		}
	}
	return p
}

func describeClass(c *policy.Class) Class {
	d := Class{
		Name:       c.Name,
		Interfaces: c.Interfaces,
		Services:   []string{},
		Time:       c.Time,
		Mode:       c.Mode.String(),
		At:         c.Pos.String(),
	}
	for _, n := range c.Networks {
		d.Networks = append(d.Networks, n.String())
	}
	for _, s := range c.Services {
		d.Services = append(d.Services, s.ID)
	}
	return d
}

// describeService leaves out the requirement of a store's own service: it is
// the document's word.
func describeService(s *policy.Service) Service {
	d := Service{
		ID:      s.ID,
		Row:     s.Row,
		Title:   s.Title,
		For:     s.For,
		Purpose: s.Purpose,
		Reason:  s.Reason,
		Until:   s.Until,
		At:      s.Pos.String(),
	}
	if !s.Local() {
		d.Requirement = s.Requirement.String()
	}
	for _, r := range s.Destinations {
		d.Destinations = append(d.Destinations, describeRule(r))
	}
	return d
}

func describeRule(r *policy.Rule) Destination {
	d := Destination{Host: r.Host, Private: r.Private, SNIOptional: r.SNIOptional, At: r.Pos.String()}
	if r.Host == "" {
		d.Network = r.Network.String()
	}
	for _, p := range r.Ports {
		d.Ports = append(d.Ports, p.String())
	}
	return d
}
