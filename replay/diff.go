package replay

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// Bounds of what a replay keeps, whatever the journal holds.
const (
	MaxGroups  = 4096 // further ones are counted alone
	MaxClients = 64   // of a group that are told one by one
)

// Change is what becomes of an attempt.
type Change uint8

// The changes. What stops a till comes first.
const (
	Stops  Change = iota // passed, and would be denied
	Passes               // was denied, and would pass
	Noted                // passes either way, but one of the two is would-deny
)

var changes = [...]string{"stops", "passes", "noted"}

func (c Change) String() string { return changes[c] }

// Changes are all of them.
func Changes() []Change { return []Change{Stops, Passes, Noted} }

// changeOf is false where both policies have the same verdict.
func changeOf(was, is policy.Verdict) (Change, bool) {
	switch {
	case was == is:
		return 0, false
	case is == policy.Deny:
		return Stops, true
	case was == policy.Deny:
		return Passes, true
	}
	return Noted, true
}

// A Target is what attempts have alike.
type Target struct {
	Plane policy.Plane
	Class string // by the policy in force, else as recorded
	Name  string // as asked for, or by which the client knows the address
	Dest  netip.Addr
	Port  uint16
	Proto policy.Proto
}

// A Group is attempts of one kind whose verdict changes.
type Group struct {
	Target
	Change  Change
	Was, Is policy.Decision // of the latest
	Traffic
}

// Traffic is how often something was tried, by whom and when.
type Traffic struct {
	Attempts    uint64
	Clients     []netip.Addr // at most [MaxClients]
	MoreClients bool         // there are more
	First, Last time.Time
}

// add counts a record.
func (t *Traffic) add(r *decision.Record) {
	t.Attempts += max(r.Count, 1)
	if t.First.IsZero() || r.Time.Before(t.First) {
		t.First = r.Time
	}
	for _, at := range []time.Time{r.Time, r.Until} {
		if at.After(t.Last) {
			t.Last = at
		}
	}
	switch i, found := slices.BinarySearchFunc(t.Clients, r.Client, netip.Addr.Compare); {
	case found || !r.Client.IsValid():
	case len(t.Clients) == MaxClients:
		t.MoreClients = true
	default:
		t.Clients = slices.Insert(t.Clients, i, r.Client)
	}
}

// A Diff tells which recorded attempts would get another verdict by a new policy than by
// an old one, if they were made again now.
type Diff struct {
	old, new *policy.Set
	now      time.Time
	groups   map[groupKey]*Group

	Attempts uint64    // that were recorded
	Unjudged uint64    // of these, those of which too little is recorded
	Changed  [3]uint64 // of these, by [Change]
	Unlisted [3]uint64 // of the changed, those in no group
	From, To time.Time // the first and the last record
}

type groupKey struct {
	Target
	was, is policy.Verdict
}

// NewDiff compares two policies at now, which is trusted time as in [policy.Request].
func NewDiff(old, new *policy.Set, now time.Time) *Diff {
	return &Diff{old: old, new: new, now: now, groups: make(map[groupKey]*Group)}
}

// Add takes one record. known is the name by which its client knows the destination, where
// the record has none.
func (d *Diff) Add(r *decision.Record, known string) {
	if r.Event != "" || !r.Plane.Decides() {
		return
	}
	n := max(r.Count, 1)
	d.Attempts += n
	if d.From.IsZero() {
		d.From = r.Time
	}
	d.To = r.Time
	s, ok := see(r, known)
	if !ok {
		return
	}
	s.cameIn(d.old, d.new)
	was, sureOld := s.judge(d.old, d.now)
	s.steered = was.Steer
	is, sureNew := s.judge(d.new, d.now)
	if !sureOld || !sureNew {
		d.Unjudged += n
		return
	}
	change, changed := changeOf(was.Verdict, is.Verdict)
	if !changed {
		return
	}
	d.Changed[change] += n
	key := groupKey{s.target(was), was.Verdict, is.Verdict}
	g := d.groups[key]
	if g == nil {
		if len(d.groups) == MaxGroups {
			d.Unlisted[change] += n
			return
		}
		g = &Group{Target: key.Target, Change: change}
		d.groups[key] = g
	}
	g.Was, g.Is = was, is
	g.add(r)
}

// target is what a sight is grouped by.
func (s *sight) target(was policy.Decision) Target {
	t := Target{Plane: s.Plane, Class: s.Class, Name: s.name, Port: s.Port, Proto: s.Proto}
	if was.Class != nil {
		t.Class = was.Class.Name
	}
	if s.Record.Name == "" && s.Plane != policy.DNS {
		t.Dest = s.Dest.Addr().Unmap()
	}
	return t
}

// Groups returns what changes: what stops first, then what was tried most.
func (d *Diff) Groups() []*Group {
	list := make([]*Group, 0, len(d.groups))
	for _, g := range d.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(a.Change, b.Change), cmp.Compare(b.Attempts, a.Attempts), a.Target.compare(b.Target))
	})
	return list
}

func (t Target) compare(u Target) int {
	return cmp.Or(strings.Compare(t.Class, u.Class), strings.Compare(t.Name, u.Name), t.Dest.Compare(u.Dest),
		cmp.Compare(t.Port, u.Port), cmp.Compare(t.Plane, u.Plane), cmp.Compare(t.Proto, u.Proto))
}
