package decision

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"tillgate/policy"
)

// Usage is how often a rule was used in an hour: one row of a segment's rollup.
type Usage struct {
	Hour     time.Time // UTC
	Plane    policy.Plane
	Verdict  policy.Verdict
	Reason   policy.Reason
	Client   netip.Addr
	Service  string
	Rule     string // file:line; [OtherRule]: rows that a full rollup had no room for
	Count    uint64 // decisions
	Up, Down uint64 // bytes of tunnels that ended
}

// OtherRule stands for all rules, clients, services and reasons that a full
// rollup had no room for. Its hour is the segment's first.
const OtherRule = "other"

// rollup adds up the usages of one segment. On disk a row is a line like a
// record's, without seq: time is the hour.
type rollup struct {
	limit int // bytes of all lines
	bytes int // at most that the lines will have
	first time.Time
	rows  map[Usage]*Usage // by the row without its numbers
}

func newRollup(limit int) *rollup { return &rollup{limit: limit, rows: make(map[Usage]*Usage)} }

func (u *rollup) add(r *Record) {
	key := Usage{Hour: r.Time.Truncate(time.Hour), Plane: r.Plane, Verdict: r.Verdict, Reason: r.Reason,
		Client: r.Client, Service: r.Service, Rule: r.Rule}
	if u.first.IsZero() {
		u.first = key.Hour
	}
	if !r.Plane.Decides() || r.Event != "" && r.Up == 0 && r.Down == 0 {
		return
	}
	row := u.rows[key]
	// A line has at most 350 bytes beside the strings, and an escape six for one.
	if size := 350 + 6*(len(key.Service)+len(key.Rule)+len(key.Client.Zone())); row == nil && u.bytes+size <= u.limit {
		u.bytes += size
		row = &key
		u.rows[key] = row
	}
	if row == nil { // as many as there are planes and verdicts
		key = Usage{Hour: u.first, Plane: r.Plane, Verdict: r.Verdict, Rule: OtherRule}
		if row = u.rows[key]; row == nil {
			row = &key
			u.rows[key] = row
		}
	}
	if r.Event == "" {
		row.Count += r.attempts()
	}
	row.Up += r.Up
	row.Down += r.Down
}

// lines returns the rows as they stand on disk.
func (u *rollup) lines() []byte {
	var lines [][]byte
	for _, row := range u.rows {
		r := Record{Time: row.Hour, Plane: row.Plane, Verdict: row.Verdict, Reason: row.Reason, Client: row.Client,
			Service: row.Service, Rule: row.Rule, Count: row.Count, Up: row.Up, Down: row.Down}
		lines = append(lines, append(r.AppendJSON(nil), '\n'))
	}
	slices.SortFunc(lines, bytes.Compare) // the same rows are the same bytes
	return slices.Concat(lines...)
}

// parseRollup is the inverse of lines.
func parseRollup(b []byte) ([]Usage, error) {
	var rows []Usage
	for l := range bytes.Lines(b) {
		r, err := ParseRecord(l)
		if err != nil {
			return nil, err
		}
		rows = append(rows, Usage{r.Time, r.Plane, r.Verdict, r.Reason, r.Client, r.Service, r.Rule, r.Count, r.Up, r.Down})
	}
	return rows, nil
}
