package console

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// DefaultSince is how far usage and report go back when they are not told.
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
	Rule    string    `json:"rule"` // file:line
	Service string    `json:"service,omitempty"`
	Row     int       `json:"row,omitempty"`
	Host    string    `json:"host,omitempty"`
	Network string    `json:"network,omitempty"`
	Deny    bool      `json:"deny,omitempty"` // it denies to all
	Gone    bool      `json:"gone,omitempty"` // it is in the policy no more
	Allowed uint64    `json:"allowed"`        // decisions
	Denied  uint64    `json:"denied"`         // of these it was the nearest rule
	Up      uint64    `json:"up"`             // bytes of what has ended
	Down    uint64    `json:"down"`
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
}

func (a *API) usage(w http.ResponseWriter, r *http.Request) {
	since, err := parseSince(r, a.cfg.Clock())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	u, err := CountUsage(r.Context(), a.cfg.Policy(), a.cfg.Journal.Digests, since)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, u)
}

// parseSince reads the parameter since: a time in the form of RFC 3339, or how long ago
// that is, as 90d or 1h30m.
func parseSince(r *http.Request, now time.Time) (time.Time, error) {
	v := r.URL.Query()
	text := v.Get("since")
	if err := known(v, "since", "format"); err != nil || text == "" {
		return now.Add(-DefaultSince), err
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	return now, fmt.Errorf("since %q is neither a time in the form of RFC 3339 nor how long ago, as 90d or 1h", text)
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
		u.Rule, u.Host, u.Deny = r.Pos.String(), r.Host, r.Service == nil
		if r.Host == "" {
			u.Network = r.Network.String()
		}
		if r.Service != nil {
			u.Service, u.Row = r.Service.ID, r.Service.Row
		}
		c.byPlace[u.Rule] = append(c.byPlace[u.Rule], i)
	}
	return c
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
			row = &RuleUsage{Rule: id.place, Service: id.service, Gone: true}
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
