package decision

import (
	"slices"
	"strings"

	"tillgate/policy"
)

// maxDestNames is how many names of a destination a record of the firewall tells.
const maxDestNames = 8

// The packet filter sees no names. Those that the client was given the address for are what it
// may have meant, and not what it said, and they may be several: so they are no [Record.Name],
// but part of the detail, "8.8.8.8 is dns.google", by which [Query] finds them.

// SetDestNames puts the names, at most eight of them, before the detail of a record of the
// firewall that has a destination.
func (r *Record) SetDestNames(names []string) {
	if len(names) == 0 {
		return
	}
	is := r.isDest() + strings.Join(names[:min(len(names), maxDestNames)], ", ")
	if r.Detail != "" {
		is += "; " + r.Detail
	}
	r.Detail = is
}

// DestNames are those that [Record.SetDestNames] has put into the detail.
func (r *Record) DestNames() []string {
	if r.Plane != policy.Firewall || !r.Dest.IsValid() {
		return nil
	}
	list, ok := strings.CutPrefix(r.Detail, r.isDest())
	if !ok {
		return nil
	}
	list, _, _ = strings.Cut(list, "; ")
	return strings.Split(list, ", ")
}

func (r *Record) isDest() string { return r.Dest.Addr().String() + " is " }

// matchNames reports whether q's name is that of the record, or one of its destination.
func (q *Query) matchNames(r *Record) bool {
	return q.matchName(r.Name) || slices.ContainsFunc(r.DestNames(), q.matchName)
}
