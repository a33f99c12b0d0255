// Package report tells what the journal says of a long time: how each rule was used, and
// what an auditor wants to know. It is made of the digests of the journal's segments, and
// not of the records, so that a quarter of a year is read while one waits.
package report

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// DefaultSince is how far a report goes back when it is not told: PCI DSS 10.5.1 wants three
// months of logs at hand.
const DefaultSince = 90 * 24 * time.Hour

// Usage is how the rules of a policy were used.
type Usage struct {
	Since  time.Time   `json:"since"`            // asked for
	From   time.Time   `json:"from,omitzero"`    // the first use that is counted, up to a day before: segments are counted whole
	Policy string      `json:"policy"`           // id
	Rules  []RuleUsage `json:"rules"`            // of the policy in force, in its order; then those that are in it no more
	Other  uint64      `json:"other"`            // decisions that the journal does not tell apart by rule
	Damage []string    `json:"damage,omitempty"` // what could not be read
}

// RuleUsage is how one rule was used.
type RuleUsage struct {
	Rule        string    `json:"rule"` // file:line
	Service     string    `json:"service,omitempty"`
	Row         int       `json:"row,omitempty"`
	Requirement string    `json:"requirement,omitempty"` // as the document has it; local: the store's own
	Host        string    `json:"host,omitempty"`
	Network     string    `json:"network,omitempty"`
	Ports       []string  `json:"ports,omitempty"`
	Reason      string    `json:"reason,omitempty"` // why it is there
	Deny        bool      `json:"deny,omitempty"`   // it denies to all
	Gone        bool      `json:"gone,omitempty"`   // it is in the policy no more
	Allowed     uint64    `json:"allowed"`          // decisions
	Denied      uint64    `json:"denied"`           // of these it was the nearest rule
	Up          uint64    `json:"up"`               // bytes of what has ended
	Down        uint64    `json:"down"`
	First       time.Time `json:"first,omitzero"`
	Last        time.Time `json:"last,omitzero"`
}

// Digests is how [decision.Digests] and [decision.Journal.Digests] are read.
type Digests func(since, until time.Time) iter.Seq2[decision.Digest, error]

// CountUsage adds up how the rules of a set were used since a time.
func CountUsage(ctx context.Context, set *policy.Set, read Digests, since time.Time) (Usage, error) {
	c := newUsageCounter(set, since)
	for d, err := range read(since, time.Time{}) {
		var damage *decision.Damage
		switch {
		case ctx.Err() != nil:
			return Usage{}, ctx.Err()
		case errors.As(err, &damage):
			c.damaged(damage)
		case err != nil:
			return Usage{}, err
		}
		for i := range d.Uses {
			c.add(&d.Uses[i])
		}
	}
	return c.usage(), nil
}

// maxDamaged is how many places that cannot be read are told.
const maxDamaged = 100

// usageCounter adds up the uses of rules.
type usageCounter struct {
	out     Usage
	rules   []*policy.Rule
	byPlace map[string][]int // rules by file:line
	gone    map[usedRule]*RuleUsage
	found   map[usedRule]*RuleUsage
}

// usedRule is what is known of a rule that was used: after an edit another one may stand
// where it stood.
type usedRule struct {
	place, service, name string
	dest                 netip.Addr
}

func newUsageCounter(set *policy.Set, since time.Time) *usageCounter {
	c := &usageCounter{rules: set.Rules(), byPlace: make(map[string][]int),
		gone: make(map[usedRule]*RuleUsage), found: make(map[usedRule]*RuleUsage)}
	c.out = Usage{Since: since, Policy: set.ID(), Rules: make([]RuleUsage, len(c.rules))}
	for i, r := range c.rules {
		u := &c.out.Rules[i]
		u.Rule, u.Host = r.Pos.String(), r.Host
		if r.Host == "" {
			u.Network = r.Network.String()
		}
		for _, port := range r.Ports {
			u.Ports = append(u.Ports, port.String())
		}
		u.service(r.Service)
		c.byPlace[u.Rule] = append(c.byPlace[u.Rule], i)
	}
	return c
}

// service fills in what is said of the rule's service; nil: it denies to all.
func (u *RuleUsage) service(s *policy.Service) {
	if s == nil {
		u.Deny, u.Reason = true, "denied to all"
		return
	}
	u.Service, u.Row = s.ID, s.Row
	if s.Local() {
		u.Requirement, u.Reason = "local", s.Reason
		if !s.Until.IsZero() {
			u.Reason += ", until " + moment(s.Until)
		}
		return
	}
	u.Requirement = s.Requirement.String()
	u.Reason = s.Title + ": " + strings.Join(s.Purpose, ", ")
}

func (c *usageCounter) damaged(err error) {
	if len(c.out.Damage) < maxDamaged {
		c.out.Damage = append(c.out.Damage, err.Error())
	}
}

func (c *usageCounter) add(u *decision.Use) {
	if u.Last.Before(c.out.Since) || u.Rule == "" {
		return
	}
	if u.Rule == decision.OtherRule {
		c.out.Other += u.Count
		return
	}
	r := c.find(u)
	if u.Verdict == policy.Allow {
		r.Allowed += u.Count
	} else {
		r.Denied += u.Count
	}
	r.Up += u.Up
	r.Down += u.Down
	if r.First.IsZero() || u.First.Before(r.First) {
		r.First = u.First
	}
	if u.Last.After(r.Last) {
		r.Last = u.Last
	}
	if c.out.From.IsZero() || u.First.Before(c.out.From) {
		c.out.From = u.First
	}
}

// find returns the row of the rule that was used.
func (c *usageCounter) find(u *decision.Use) *RuleUsage {
	key := usedRule{u.Rule, u.Service, u.Name, u.Dest.Addr()}
	if row := c.found[key]; row != nil {
		return row
	}
	row := c.search(u)
	if len(c.found) < maxFound {
		c.found[key] = row
	}
	return row
}

// maxFound and maxGone bound what is remembered while usage is counted: a policy may have
// been edited often.
const (
	maxFound = 16384
	maxGone  = 1024
)

// search finds the rule at its place, or where an edit has moved it to within its service.
func (c *usageCounter) search(u *decision.Use) *RuleUsage {
	for _, i := range c.byPlace[u.Rule] {
		if c.covers(i, u) {
			return &c.out.Rules[i]
		}
	}
	for i := range c.rules {
		if c.covers(i, u) {
			return &c.out.Rules[i]
		}
	}
	id := usedRule{place: u.Rule, service: u.Service}
	row := c.gone[id]
	if row == nil {
		if len(c.gone) >= maxGone { // and one that stands for the rest
			id = usedRule{place: decision.OtherRule}
		}
		if row = c.gone[id]; row == nil {
			row = &RuleUsage{Rule: id.place, Service: id.service, Gone: true, Reason: "in the policy no more"}
			if id.service != "" {
				row.Row = u.Row
			}
			c.gone[id] = row
		}
	}
	return row
}

// covers reports whether a rule may be the one that was used, by all that is known of it.
func (c *usageCounter) covers(i int, u *decision.Use) bool {
	switch r := c.rules[i]; {
	case c.out.Rules[i].Service != u.Service:
		return false
	case u.Name != "" && r.Host != "":
		return r.Covers(u.Name)
	case u.Dest.IsValid() && r.Host == "":
		return r.Network.Contains(u.Dest.Addr())
	default:
		return c.out.Rules[i].Rule == u.Rule
	}
}

func (c *usageCounter) usage() Usage {
	var gone []RuleUsage
	for _, row := range c.gone {
		gone = append(gone, *row)
	}
	slices.SortFunc(gone, func(a, b RuleUsage) int { return strings.Compare(a.Rule+" "+a.Service, b.Rule+" "+b.Service) })
	c.out.Rules = append(c.out.Rules, gone...)
	return c.out
}
