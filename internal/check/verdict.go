package check

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"tillgate/policy"
)

// A Verdict is what a test says in the end.
type Verdict struct {
	// OK is that no required destination failed; of a class that was asked for, also no
	// conditional one and none of the store's own. Of the time servers three are enough.
	OK       bool     `json:"ok"`
	Headline string   `json:"headline"`           // what is wrong, in a sentence
	Do       string   `json:"do,omitempty"`       // about it
	Rows     []Row    `json:"rows"`               // of the document, then the store's own services
	Advice   []Advice `json:"advice,omitempty"`   // for each fault that was met, what counts and is most frequent first
	Troubles []string `json:"troubles,omitempty"` // parts of the box that are not well, as it says itself
	LeftOut  int      `json:"left_out,omitempty"` // destinations beyond the bound of a test
	Speed    Speed    `json:"speed"`
}

// A Row is a service of the plan.
type Row struct {
	Row         int    `json:"row,omitempty"` // of the document
	Service     string `json:"service"`
	Title       string `json:"title,omitempty"`
	Requirement string `json:"requirement"`
	Tried       int    `json:"tried"`
	Good        int    `json:"good"`
	// Failures are what stopped those that were not good, and which, in words.
	Failures []string `json:"failures,omitempty"`
}

// Advice is what to do about a fault.
type Advice struct {
	Fault Fault    `json:"fault"`
	Text  string   `json:"text"`          // what the fault is called
	For   []string `json:"for,omitempty"` // the destinations that have it
	Do    string   `json:"do"`

	about []Target // For
}

// About is the fault and whom it is of.
func (a Advice) About() string {
	if len(a.For) == 0 {
		return a.Text
	}
	return a.Text + " (" + some(a.For, maxNamed) + ")"
}

// judge makes the verdict of all results.
func (c *Checker) judge(plan Plan, results []Result) Verdict {
	v := Verdict{Rows: []Row{}, LeftOut: plan.LeftOut}
	if c.cfg.Troubles != nil {
		v.Troubles = c.cfg.Troubles()
	}
	// In the order of the plan, whatever came first.
	slices.SortStableFunc(results, func(a, b Result) int { return plan.index(a.Target) - plan.index(b.Target) })
	s := summary{plan: plan}
	for _, r := range results {
		if r.OK && r.Proto == policy.UDP.String() {
			s.clocks++
		}
	}
	failures := make(map[string][]Result) // by service
	for _, r := range results {
		i := slices.IndexFunc(v.Rows, func(row Row) bool { return row.Service == r.Service })
		if i < 0 {
			i = len(v.Rows)
			v.Rows = append(v.Rows, Row{Row: r.Row, Service: r.Service, Title: r.Title, Requirement: r.Requirement})
		}
		if r.Skip != "" {
			continue
		}
		v.Rows[i].Tried++
		s.tried = append(s.tried, r)
		switch {
		case r.OK:
			v.Rows[i].Good++
			continue
		case s.counts(r):
			s.failed = append(s.failed, r)
		default:
			s.others = append(s.others, r)
		}
		failures[r.Service] = append(failures[r.Service], r)
	}
	v.OK = len(s.failed) == 0
	clock := s.clock()
	v.Headline = s.headline(clock)
	for _, like := range slices.Concat(byFault(s.failed), byFault(s.others)) {
		if clock == "" || like[0].Fault != WrongTime && like[0].Fault != WrongDate {
			v.advise(c.way, like)
		}
	}
	switch {
	case clock != "":
		v.Do = "set the clock, or let it be set: udp/123 to the documented time servers; then test again"
	case len(v.Advice) > 0:
		v.Do = v.Advice[0].Do
	}
	if len(s.tried) > 0 && len(s.failed)+len(s.others) == 0 && len(v.Troubles) > 0 {
		v.Headline = fmt.Sprintf("All %d destinations are reached, but the box is not well: %s.", len(s.tried), v.Troubles[0])
		v.Do = "tillgate status says more"
	}
	for i := range v.Rows {
		for _, like := range byFault(failures[v.Rows[i].Service]) {
			text := describe(like)
			if len(like) < v.Rows[i].Tried {
				text += named(like, len(like))
			}
			v.Rows[i].Failures = append(v.Rows[i].Failures, text)
		}
	}
	return v
}

// advise says what to do about destinations that have one fault; what was said of others
// that have it is for these too.
func (v *Verdict) advise(w way, like []Result) {
	fault := like[0].Fault
	i := slices.IndexFunc(v.Advice, func(a Advice) bool { return a.Fault == fault })
	if i < 0 {
		i = len(v.Advice)
		v.Advice = append(v.Advice, Advice{Fault: fault, Text: fault.Text()})
	}
	a := &v.Advice[i]
	for _, r := range like {
		a.about = append(a.about, r.Target)
		a.For = append(a.For, r.Target.String())
	}
	a.Do = w.advice(fault, a.about)
}

// byFault puts failures of one kind together, the most frequent kind first.
func byFault(failures []Result) (kinds [][]Result) {
	for _, r := range failures {
		i := slices.IndexFunc(kinds, func(like []Result) bool { return like[0].Fault == r.Fault })
		if i < 0 {
			i, kinds = len(kinds), append(kinds, nil)
		}
		kinds[i] = append(kinds[i], r)
	}
	slices.SortStableFunc(kinds, func(a, b []Result) int { return len(b) - len(a) })
	return kinds
}

// describe says what stops destinations that have one fault.
func describe(like []Result) string {
	text := like[0].Fault.Text()
	if like[0].Fault != Intercepted {
		return text
	}
	var by []string
	for _, r := range like {
		if !slices.Contains(by, r.Issuer) {
			by = append(by, r.Issuer)
		}
	}
	return text + " by " + some(by, 2)
}

// named names the first n of some destinations.
func named(like []Result, n int) string {
	hosts := make([]string, len(like))
	for i, r := range like {
		hosts[i] = r.Target.String()
	}
	return " (" + some(hosts, n) + ")"
}

func (p Plan) index(t Target) int {
	return slices.IndexFunc(p.Targets, func(o Target) bool {
		return o.Service == t.Service && o.Host == t.Host && o.Port == t.Port && o.Proto == t.Proto
	})
}

// summary is what the headline is made of.
type summary struct {
	plan   Plan
	clocks int // time servers that have the time
	tried  []Result
	failed []Result // that count
	others []Result // that failed, and do not count
}

// enoughClocks is how many time servers the box needs: time.quorum, by default. The
// devices have the time of it, so a pool may have a server that is away.
const enoughClocks = 3

// counts reports whether a failure of this destination is one of the whole: whether the
// devices need it is known only of a class.
func (s *summary) counts(r Result) bool {
	if r.Proto == policy.UDP.String() && s.clocks >= enoughClocks {
		return false
	}
	switch r.Requirement {
	case policy.Required.String():
		return true
	case policy.Optional.String():
		return false
	}
	return s.plan.Class != ""
}

// headline says first what is wrong, for whom has a queue at the till. A clock that is wrong,
// in words, explains all else.
func (s *summary) headline(clock string) string {
	about := s.failed
	if len(about) == 0 {
		about = s.others
	}
	good := len(s.tried) - len(s.failed) - len(s.others)
	switch {
	case len(s.tried) == 0:
		return "There is nothing to be tried."
	case len(about) == 0:
		return fmt.Sprintf("All is well: %d of %d destinations %s reached.", good, good, are(good))
	case clock != "":
		return clock
	}
	return s.scope(good, about) + ": " + s.what(byFault(about)[0]) + "."
}

// scope says how much is wrong.
func (s *summary) scope(good int, about []Result) string {
	counted := 0
	for _, r := range s.tried {
		if s.counts(r) {
			counted++
		}
	}
	kind := "required destinations"
	if s.plan.Class != "" {
		kind = "destinations that class " + s.plan.Class + " needs"
	}
	switch {
	case good == 0:
		return "Nothing is reached"
	case counted == 0:
		return fmt.Sprintf("%d of %d destinations %s not reached", len(about), len(s.tried), are(len(about)))
	case len(s.failed) == 0:
		return fmt.Sprintf("All %d %s are reached, but of the others %d of %d %s not", counted, kind, len(about), len(s.tried)-counted, are(len(about)))
	}
	return fmt.Sprintf("%d of %d %s %s not reached", len(about), counted, kind, are(len(about)))
}

// what says what stops destinations that have one fault, and which.
func (s *summary) what(like []Result) string {
	first := like[0]
	text := describe(like)
	switch first.Fault {
	case TimedOut, Refused, NoTime, TimeRefused, Broken:
		all, same := 0, 0 // that have this port
		for _, r := range s.tried {
			if r.ports() == first.ports() {
				all++
				if r.Fault == first.Fault {
					same++
				}
			}
		}
		if all > 1 && all == same {
			return text + " on " + first.ports() + ", whatever the host: it is blocked"
		}
	case NoDNS, NoProxy, Unresolved, UnknownTime:
		return text + " (" + strings.TrimSuffix(first.Detail, ".") + ")"
	}
	return text + named(like, 2)
}

// ports is the port of a target as policies write it.
func (t Target) ports() string { return fmt.Sprintf("%s/%d", t.Proto, t.Port) }

// clock says that the clock is wrong, if the results say so with one voice: most time
// servers by the same, or most certificates.
func (s *summary) clock() string {
	var offsets []time.Duration
	wrong, dated, seen := 0, 0, 0
	for _, r := range s.tried {
		if r.OffsetMs != nil {
			offsets = append(offsets, time.Duration(*r.OffsetMs*float64(time.Millisecond)))
		}
		switch r.Fault {
		case WrongTime:
			wrong++
		case WrongDate:
			dated++
		}
		if r.Issuer != "" {
			seen++
		}
	}
	if wrong > 1 && wrong > len(offsets)/2 {
		slices.Sort(offsets)
		median := offsets[len(offsets)/2]
		agree := 0
		for _, o := range offsets {
			if math.Abs(float64(o-median)) <= float64(maxOffset) {
				agree++
			}
		}
		if agree > 1 && agree > len(offsets)/2 {
			return fmt.Sprintf("The clock of this test is wrong: by %d of %d time servers the time is %s it.", agree, len(offsets), ahead(median))
		}
	}
	if dated > 1 && dated > seen/2 {
		return fmt.Sprintf("The clock of this test is wrong: by it the certificates of %d of %d hosts are not valid.", dated, seen)
	}
	return ""
}

// some names the first n of several.
func some(names []string, n int) string {
	text := strings.Join(names[:min(n, len(names))], ", ")
	if more := len(names) - n; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
