package decision

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"

	"tillgate/policy"
)

// A Digest is what reports are made from: what a segment holds, without its records. It
// stands in the third skippable frame of a compressed segment, as JSON lines:
//
//   - {"digest":1,"seal":...}, the segment's last seal
//   - records with event hour: what a plane allowed, denied and carried in an hour
//   - records without event and seq: the uses
//   - records with a seq: those of planes policy and system, as they are
//   - one with event missed, if more of those were written than a digest holds
type Digest struct {
	Segment uint64
	Hours   []Hour
	Uses    []Use
	Events  []Record // of planes policy and system, oldest first
	Missed  uint64   // further ones of those

	header header // of the segment
	seal   string // the last
	fits   string // see inspection.sealFits
}

// Hour is what a plane decided in an hour.
type Hour struct {
	Start    time.Time // UTC
	Plane    policy.Plane
	Verdict  policy.Verdict
	Count    uint64
	Up, Down uint64 // bytes, see [Use]
}

// Use is how often a rule was used, or a destination was denied to a class.
type Use struct {
	First, Last time.Time
	Plane       policy.Plane
	Verdict     policy.Verdict
	Reason      policy.Reason
	Class       string
	Client      netip.Addr // of what was asked of or sent to [ResolverName] alone
	Name        string     // as asked for; of the firewall the first of [Record.DestNames]; empty where a rule has too many
	Dest        netip.AddrPort
	Port        uint16
	Proto       policy.Proto
	Service     string
	Row         int
	Rule        string // file:line; [OtherRule]: rows that a digest had no room for
	Count       uint64 // decisions
	Up, Down    uint64 // bytes of what has ended; those of requests within a tunnel are counted once
}

// ResolverName is the resolver of the provider's document. What goes through a tunnel
// to it the box does not see, so a digest says which client did so.
const ResolverName = "dns.google"

// Bounds of a digest. What is denied could be anything, so the rules have a room of their own.
const (
	digestHours  = 64        // in which something was decided; what comes after counts to the last
	digestNames  = 2048      // uses of rules by name
	digestRules  = 4096      // uses of rules, those by name among them
	digestCounts = 8192      // denied destinations that are counted
	digestDenied = 256       // of these, the most frequent, that are told
	digestText   = 1 << 20   // bytes of the lines of uses
	digestEvents = 256 << 10 // bytes of the lines of events
	maxDigest    = 2 << 20   // bytes of all lines that are read back
)

// Events of the lines of a digest.
const (
	eventHour   Event = "hour"
	eventMissed Event = "missed"
)

// digester makes a digest of records.
type digester struct {
	hours         map[Hour]*Hour // by the row without its numbers
	allowed       map[Use]*Use
	denied        map[Use]*Use
	other         map[Use]*Use // by plane, verdict, reason and class
	events        []byte
	missed        uint64
	size          int // of the lines of allowed, at most
	lastHour      time.Time
	distinctHours int
}

func newDigester() *digester {
	return &digester{hours: make(map[Hour]*Hour), allowed: make(map[Use]*Use), denied: make(map[Use]*Use), other: make(map[Use]*Use)}
}

func (d *digester) add(r *Record) {
	if !r.Plane.Decides() {
		if line := r.AppendJSON(nil); len(d.events)+len(line) < digestEvents {
			d.events = append(append(d.events, line...), '\n')
		} else {
			d.missed++
		}
		return
	}
	n := Use{Up: r.Up, Down: r.Down}
	if r.Event == "" {
		n.Count = r.attempts()
	}
	if r.Plane == policy.Connect && r.Port == 80 {
		n.Up, n.Down = 0, 0 // the requests within have them, in records of their own
	}
	if n.Count == 0 && n.Up == 0 && n.Down == 0 {
		return
	}
	d.hour(r, &n)

	key := Use{Plane: r.Plane, Verdict: r.Verdict, Reason: r.Reason, Class: r.Class, Name: r.Name,
		Service: r.Service, Row: r.Row, Rule: r.Rule}
	var row *Use
	if r.Verdict == policy.Allow {
		row = d.rule(key, r)
	} else {
		row = d.denial(key, r)
	}
	row.merge(r.Time, r.end(), &n)
}

// rule returns the row of a rule's use, with the name if there is room for that.
func (d *digester) rule(key Use, r *Record) *Use {
	if key.Name == ResolverName && r.Plane != policy.DNS {
		key.Client = r.Client
	}
	for _, room := range []int{digestNames, digestRules} {
		if row := d.allowed[key]; row != nil {
			return row
		}
		if size := key.lineSize(); len(d.allowed) < room && d.size+size <= digestText/2 {
			d.size += size
			row := new(key)
			d.allowed[key] = row
			return row
		}
		key.Name, key.Client = "", netip.Addr{}
	}
	return d.rest(&key)
}

// denial returns the row of a denied destination.
func (d *digester) denial(key Use, r *Record) *Use {
	key.Port, key.Proto = r.Port, r.Proto
	if r.Plane == policy.Firewall {
		key.Dest = r.Dest
		if names := r.DestNames(); len(names) > 0 {
			key.Name = names[0]
		}
	}
	row := d.denied[key]
	switch {
	case row != nil:
	case len(d.denied) < digestCounts:
		row = new(key)
		d.denied[key] = row
	default:
		row = d.rest(&key)
	}
	return row
}

func (d *digester) hour(r *Record, n *Use) {
	key := Hour{Start: r.Time.Truncate(time.Hour), Plane: r.Plane, Verdict: r.Verdict}
	if !key.Start.Equal(d.lastHour) {
		if d.distinctHours < digestHours {
			d.distinctHours++
			d.lastHour = key.Start
		}
		key.Start = d.lastHour
	}
	row := d.hours[key]
	if row == nil {
		row = new(key)
		d.hours[key] = row
	}
	row.Count += n.Count
	row.Up += n.Up
	row.Down += n.Down
}

// rest is the row that stands for what there is no room for. There are as many as planes,
// verdicts, reasons and classes have combinations that occur.
func (d *digester) rest(u *Use) *Use {
	key := Use{Plane: u.Plane, Verdict: u.Verdict, Reason: u.Reason, Class: u.Class, Rule: OtherRule}
	row := d.other[key]
	if row == nil {
		row = new(key)
		d.other[key] = row
	}
	return row
}

// merge adds what happened from first to last.
func (u *Use) merge(first, last time.Time, n *Use) {
	if u.First.IsZero() || first.Before(u.First) {
		u.First = first
	}
	if last.After(u.Last) {
		u.Last = last
	}
	u.Count += n.Count
	u.Up += n.Up
	u.Down += n.Down
}

// lineSize is at least what the row's line has: 450 bytes beside the strings, and an
// escape has six for one.
func (u *Use) lineSize() int {
	return 450 + 6*(len(u.Class)+len(u.Name)+len(u.Service)+len(u.Rule)+len(u.Client.Zone())+len(u.Dest.Addr().Zone()))
}

// rows returns the uses: those of rules, the most frequent denials, and what stands for
// the rest. The same records give the same rows.
func (d *digester) rows() []Use {
	var rows []Use
	for _, row := range d.allowed {
		rows = append(rows, *row)
	}
	denied := make([]*Use, 0, len(d.denied))
	for _, row := range d.denied {
		denied = append(denied, row)
	}
	slices.SortFunc(denied, func(a, b *Use) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), bytes.Compare(a.line(), b.line()))
	})
	full, size := *d, d.size
	full.other = make(map[Use]*Use, len(d.other)) // d goes on after this
	for key, row := range d.other {
		full.other[key] = new(*row)
	}
	for i, row := range denied {
		if size += row.lineSize(); i < digestDenied && size <= digestText {
			rows = append(rows, *row)
		} else {
			full.rest(row).merge(row.First, row.Last, row)
		}
	}
	for _, row := range full.other {
		rows = append(rows, *row)
	}
	slices.SortFunc(rows, func(a, b Use) int { return bytes.Compare(a.line(), b.line()) })
	return rows
}

// digest returns what was added as it is now. parseDigest of its lines returns the same.
func (d *digester) digest() Digest {
	dig := Digest{Uses: d.rows(), Missed: d.missed}
	for _, row := range d.hours {
		dig.Hours = append(dig.Hours, *row)
	}
	slices.SortFunc(dig.Hours, func(a, b Hour) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Plane, b.Plane), cmp.Compare(a.Verdict, b.Verdict))
	})
	for l := range bytes.Lines(d.events) {
		if r, err := ParseRecord(l); err == nil {
			dig.Events = append(dig.Events, r)
		}
	}
	return dig
}
