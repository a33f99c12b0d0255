package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// Story is what happened to the box, oldest first. Of each kind the newest 1000 are told.
type Story struct {
	Changes     []decision.Record `json:"changes"`      // of the policy, good and refused, and of who is observed
	Outages     []Outage          `json:"outages"`      // of the box and its parts
	Gaps        []Gap             `json:"gaps"`         // records that could not be written
	TimeChanges []decision.Record `json:"time_changes"` // of the time and its servers
	Others      []decision.Record `json:"others"`       // starts, deletions, logins and what else the box told of itself
	Missed      uint64            `json:"missed"`       // records of these kinds that are not told
}

// Outage is a time in which the box or a part of it was not well.
type Outage struct {
	Part    string    `json:"part"`  // box: all of it
	State   string    `json:"state"` // warn, bad, or down
	From    time.Time `json:"from"`
	To      time.Time `json:"to,omitzero"` // zero: it goes on
	Seconds float64   `json:"seconds"`     // to the end, or to the report
	Text    string    `json:"text"`
}

// Gap is records that are not in the journal.
type Gap struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Attempts uint64    `json:"attempts"`
	Text     string    `json:"text"`
}

// boxPart is the part that an outage of the whole box is told under.
const boxPart = "box"

// storyteller makes a story of the records of planes policy and system.
type storyteller struct {
	since  time.Time
	out    Story
	seq    uint64            // of the last record that was told
	policy string            // in force when the last of them was written
	open   map[string]Outage // by part
	last   time.Time         // of anything that the box wrote
	stop   *decision.Record  // the box stopped, and has not begun again
}

func (s *storyteller) add(d *decision.Digest) {
	s.out.Missed += d.Missed
	for i := range d.Events {
		r := &d.Events[i]
		if r.Seq <= s.seq { // a batch that a crash had written twice
			continue
		}
		s.seq = r.Seq
		s.event(r)
		s.last = later(s.last, r.Time)
	}
	for i := range d.Uses {
		s.last = later(s.last, d.Uses[i].Last)
	}
}

func (s *storyteller) event(r *decision.Record) {
	told := !r.Time.Before(s.since)
	s.policy = cmp.Or(r.Policy, s.policy)
	switch {
	case r.Plane == policy.Policy:
		if told {
			s.out.Changes = s.tell(s.out.Changes, r)
		}
		return
	case r.Event == decision.EventGap:
		if told {
			s.out.Gaps = append(s.out.Gaps, Gap{From: r.Time, To: later(r.Time, r.Until), Attempts: max(r.Count, 1), Text: r.Detail})
			if len(s.out.Gaps) > maxStory {
				s.out.Gaps, s.out.Missed = s.out.Gaps[1:], s.out.Missed+1
			}
		}
		return
	case r.Event == decision.EventTime:
		if told {
			s.out.TimeChanges = s.tell(s.out.TimeChanges, r)
		}
		return
	case r.Event == decision.EventHealth:
		s.health(r)
		return
	case r.Event == decision.EventStop:
		s.stop = r
		s.closeAll(r.Time)
	case r.Event == decision.EventStart:
		s.start(r)
	}
	if told {
		s.out.Others = s.tell(s.out.Others, r)
	}
}

func (s *storyteller) tell(list []decision.Record, r *decision.Record) []decision.Record {
	if list = append(list, *r); len(list) > maxStory {
		s.out.Missed++
		return list[1:]
	}
	return list
}

// start ends the time in which the box was down. Without a record of its stop, nobody knows
// more than when it wrote last.
func (s *storyteller) start(r *decision.Record) {
	down := Outage{Part: boxPart, State: "down", From: s.last, Text: "it ended without a word: a power cut or a crash"}
	if s.stop != nil {
		down.From, down.Text = s.stop.Time, s.stop.Detail
	}
	s.closeAll(down.From)
	if s.stop = nil; !down.From.IsZero() {
		s.ended(down, r.Time)
	}
}

// health is "upstream: bad: why" and "upstream: ok after 10m0s: how", and of the journal
// "journal: cannot be written; why" and "journal: written again, after 5s". That a part is
// better is told when it has lasted: the record's until says since when.
func (s *storyteller) health(r *decision.Record) {
	part, text, _ := strings.Cut(r.Detail, ": ")
	at := r.Time
	if !r.Until.IsZero() && r.Until.Before(at) {
		at = r.Until
	}
	state, why, _ := strings.Cut(text, ": ")
	was, open := s.open[part]
	switch {
	case strings.HasPrefix(text, "ok") || strings.HasPrefix(text, "written again"):
		if open {
			delete(s.open, part)
			s.ended(was, at)
		}
		return
	case state != "warn" && state != "bad":
		state, why = "bad", text
	}
	if open && was.State == state {
		return
	}
	if open {
		s.ended(was, at)
	}
	if s.open == nil {
		s.open = make(map[string]Outage)
	}
	if len(s.open) < maxStory {
		s.open[part] = Outage{Part: part, State: state, From: at, Text: why}
	}
}

func (s *storyteller) closeAll(at time.Time) {
	for _, o := range sorted(s.open) {
		s.ended(o, at)
	}
	s.open = nil
}

// ended takes an outage that has ended. A clock that was set back makes it no shorter than
// nothing.
func (s *storyteller) ended(o Outage, at time.Time) {
	o.To = later(o.From, at)
	o.Seconds = o.To.Sub(o.From).Seconds()
	if !o.To.Before(s.since) {
		s.out.Outages = append(s.out.Outages, o)
	}
	if len(s.out.Outages) > maxStory {
		s.out.Outages, s.out.Missed = s.out.Outages[1:], s.out.Missed+1
	}
}

// end returns the story up to now. What goes on has no end.
func (s *storyteller) end(now time.Time, running bool) Story {
	if !running && !s.last.IsZero() {
		s.closeAll(s.last)
		down := Outage{Part: boxPart, State: "down", From: s.last, Text: "no box runs"}
		if s.stop != nil {
			down.From, down.Text = s.stop.Time, s.stop.Detail
		}
		s.open = map[string]Outage{boxPart: down}
	}
	for _, o := range sorted(s.open) {
		o.Seconds = max(0, now.Sub(o.From).Seconds())
		s.out.Outages = append(s.out.Outages, o)
	}
	return s.out
}

// sorted returns what is open in the order in which it began.
func sorted(open map[string]Outage) []Outage {
	return slices.SortedFunc(maps.Values(open), func(a, b Outage) int {
		return cmp.Or(a.From.Compare(b.From), strings.Compare(a.Part, b.Part))
	})
}
