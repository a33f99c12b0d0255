package decision

import (
	"fmt"
	"iter"
	"net/netip"
	"time"

	"tillgate/policy"
)

// Query selects records. Zero fields select all.
type Query struct {
	Since, Until time.Time        // the record's time, or part of its time to until, is in [Since, Until)
	After        uint64           // seq is greater
	Client       netip.Prefix     // zones are not looked at
	Class        string           // exact
	Name         string           // exact, or *.x for all names below x; lower case
	Planes       []policy.Plane   // any of them
	Verdicts     []policy.Verdict // any of them; then records without a verdict do not match
}

// Denied returns the verdicts of denied attempts, let pass or not.
func Denied() []policy.Verdict { return []policy.Verdict{policy.Deny, policy.WouldDeny} }

// Match reports whether q selects r.
func (q *Query) Match(r *Record) bool { return true }

// Damage is a place of the journal that cannot be read. Reading goes on after it.
type Damage struct {
	Segment string // file name
	Line    int    // from 1; 0: the file as a whole
	What    string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("journal segment %s line %d: %s", d.Segment, d.Line, d.What)
}

// Read yields the records in a journal's folder that match q, oldest first.
// Damage is yielded as a [*Damage] error, after which reading goes on; any
// other error is the last. The box may write to the folder meanwhile.
func Read(dir string, q Query) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {}
}

// Usage is how often a rule was used in an hour: one row of a segment's rollup.
type Usage struct {
	Hour    time.Time // UTC
	Plane   policy.Plane
	Verdict policy.Verdict
	Reason  policy.Reason
	Client  netip.Addr
	Service string
	Rule    string // file:line; "other": rows that a full table had no room for
	Count   uint64 // decisions
	Bytes   uint64 // of tunnels that ended, both ways
}

// Usages yields the rollups of the segments whose records touch [since, until);
// a zero time is no bound. Errors are as for [Read].
func Usages(dir string, since, until time.Time) iter.Seq2[Usage, error] {
	return func(yield func(Usage, error) bool) {}
}
