package decision

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillgate/policy"
)

// Query selects records. Zero fields select all.
type Query struct {
	Since, Until time.Time        // the record's time, or part of its time to until, is in [Since, Until)
	After        uint64           // seq is greater: to read on after a record
	Client       netip.Prefix     // zones are not looked at
	Class        string           // exact
	Name         string           // exact, or *.x for all names below x; lower case; of the firewall, see [Record.DestNames]
	Planes       []policy.Plane   // any of them
	Verdicts     []policy.Verdict // any of them; then records without a verdict do not match

	// Progress, if there is one, is told before each segment that is read how far the
	// reading is. It ends the reading by returning false.
	Progress func(Progress) bool
}

// Progress is how far a reading of the journal is, in bytes of the segments' files that it
// has to read. Segments that are known to hold nothing of the time in question are none.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Denied returns the verdicts of denied attempts, whether let pass or not.
func Denied() []policy.Verdict { return []policy.Verdict{policy.Deny, policy.WouldDeny} }

// Match reports whether q selects r.
func (q *Query) Match(r *Record) bool {
	return (q.After == 0 || r.Seq > q.After) &&
		q.touches(r.Time, r.end()) &&
		(!q.Client.IsValid() || q.Client.Contains(r.Client.WithZone(""))) &&
		(q.Class == "" || q.Class == r.Class) &&
		(q.Name == "" || q.matchNames(r)) &&
		(q.Planes == nil || slices.Contains(q.Planes, r.Plane)) &&
		(q.Verdicts == nil || r.Plane.Decides() && slices.Contains(q.Verdicts, r.Verdict))
}

func (q *Query) matchName(name string) bool {
	if parent, ok := strings.CutPrefix(q.Name, "*"); ok && strings.HasPrefix(parent, ".") {
		return len(name) > len(parent) && strings.HasSuffix(name, parent)
	}
	return name == q.Name
}

// marks returns what stands in every line of a record that q selects: most lines need not
// be parsed to know that they are not looked for.
func (q *Query) marks() (marks [][]byte) {
	if name := strings.TrimPrefix(q.Name, "*"); name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" {
		marks = append(marks, []byte(name)) // no character of it is escaped
	}
	if q.Client.IsSingleIP() {
		marks = append(marks, []byte(`"client":"`+q.Client.Addr().String())) // a zone may follow
	}
	return marks
}

// touches reports whether the time from from to to has part in [Since, Until).
func (q *Query) touches(from, to time.Time) bool {
	return (q.Since.IsZero() || !to.Before(q.Since)) && (q.Until.IsZero() || from.Before(q.Until))
}

// end returns the last moment that r stands for. A clock that was set back
// between the attempts makes it no earlier than the first.
func (r *Record) end() time.Time {
	if r.Until.After(r.Time) {
		return r.Until
	}
	return r.Time
}
