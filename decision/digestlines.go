package decision

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"

	"tillgate/policy"
)

var errNoDigest = errors.New("reading the digest: it does not begin as one")

// line is a use as it stands on disk.
func (u *Use) line() []byte {
	r := Record{Time: u.First, Until: u.Last, Plane: u.Plane, Verdict: u.Verdict, Reason: u.Reason, Client: u.Client, Class: u.Class,
		Name: u.Name, Port: u.Port, Proto: u.Proto, Service: u.Service, Row: u.Row, Rule: u.Rule, Dest: u.Dest,
		Count: u.Count, Up: u.Up, Down: u.Down}
	return append(r.AppendJSON(nil), '\n')
}

// digestStart is the first line of a digest.
type digestStart struct {
	Version int    `json:"digest"`
	Seal    string `json:"seal,omitempty"`
	Fits    string `json:"fits,omitempty"` // if it is another
}

// lines returns the digest as it stands on disk.
func (d *Digest) lines() []byte {
	start := digestStart{Version: 1, Seal: d.seal}
	if d.fits != d.seal {
		start.Fits = d.fits
	}
	b, _ := json.Marshal(start) // strings and numbers alone
	b = append(b, '\n')
	for _, h := range d.Hours {
		r := Record{Time: h.Start, Event: eventHour, Plane: h.Plane, Verdict: h.Verdict, Count: h.Count, Up: h.Up, Down: h.Down}
		b = append(r.AppendJSON(b), '\n')
	}
	for _, u := range d.Uses {
		b = append(b, u.line()...)
	}
	for _, r := range d.Events {
		b = append(r.AppendJSON(b), '\n')
	}
	if d.Missed > 0 {
		r := Record{Plane: policy.System, Event: eventMissed, Count: d.Missed}
		b = append(r.AppendJSON(b), '\n')
	}
	return b
}

// parseDigest is the inverse of lines.
func parseDigest(b []byte) (d Digest, err error) {
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	var start digestStart
	if err := json.Unmarshal(first, &start); err != nil || start.Version != 1 {
		return d, errNoDigest
	}
	d.seal, d.fits = start.Seal, cmp.Or(start.Fits, start.Seal)
	for l := range bytes.Lines(rest) {
		r, err := ParseRecord(l)
		switch {
		case err != nil:
			return d, err
		case r.Seq != 0:
			d.Events = append(d.Events, r)
		case r.Event == eventHour:
			d.Hours = append(d.Hours, Hour{r.Time, r.Plane, r.Verdict, r.Count, r.Up, r.Down})
		case r.Event == eventMissed:
			d.Missed = r.Count
		default:
			d.Uses = append(d.Uses, Use{First: r.Time, Last: r.Until, Plane: r.Plane, Verdict: r.Verdict, Reason: r.Reason, Class: r.Class,
				Client: r.Client, Name: r.Name, Dest: r.Dest, Port: r.Port, Proto: r.Proto, Service: r.Service, Row: r.Row, Rule: r.Rule,
				Count: r.Count, Up: r.Up, Down: r.Down})
		}
	}
	return d, nil
}
