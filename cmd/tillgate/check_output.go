package main

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"tillgate/internal/check"
)

// A checkOutput shows a test as it goes on, then the verdict; as JSON all at the end.
type checkOutput struct {
	p       process
	d       display
	asJSON  bool
	all     checkReport
	planned int
	width   int             // of the column of destinations
	counted bool            // the last line says how far the test is
	said    map[string]bool // faults that were told in full
}

// checkReport is a test as JSON.
type checkReport struct {
	By      string         `json:"by"`
	Policy  string         `json:"policy"`
	Class   string         `json:"class,omitempty"`
	Via     netip.Addr     `json:"via,omitzero"`
	Client  netip.Addr     `json:"client,omitzero"` // as whom the box at Via knows this machine
	Known   string         `json:"known,omitempty"` // and its class
	Results []check.Result `json:"results"`
	Verdict check.Verdict  `json:"verdict"`
}

func newCheckOutput(p process, asJSON bool) *checkOutput {
	return &checkOutput{p: p, d: newDisplay(p.stdout, p.getenv), asJSON: asJSON, said: make(map[string]bool)}
}

// begin says who tests, and by which policy.
func (o *checkOutput) begin(by, policy string) { o.all.By, o.all.Policy = by, policy }

// line takes what the test says.
func (o *checkOutput) line(l check.Line) error {
	switch {
	case l.Plan != nil:
		o.plan(*l.Plan)
	case l.Result != nil:
		o.all.Results = append(o.all.Results, *l.Result)
		if !o.asJSON {
			o.clear()
			o.result(*l.Result)
			o.progress()
		}
	case l.Verdict != nil:
		o.all.Verdict = *l.Verdict
	}
	return nil
}

func (o *checkOutput) plan(plan check.Plan) {
	o.all.Class, o.all.Via, o.planned = plan.Class, plan.Via, len(plan.Targets)
	o.all.Client, o.all.Known = plan.Client, plan.Known
	if plan.Policy != "" {
		o.all.By, o.all.Policy = "this box", plan.Policy
	}
	for _, t := range plan.Targets {
		o.width = max(o.width, len(t.String()))
	}
	if o.asJSON {
		return
	}
	if len(plan.Targets) == 0 && plan.Via.IsValid() {
		fmt.Fprintf(o.p.stdout, "asking the box at %s what it lets this machine reach\n", plan.Via)
		return
	}
	what := "all documented destinations"
	if plan.Class != "" {
		what = "the destinations of class " + plan.Class
	}
	if plan.Via.IsValid() {
		what += ", via the box at " + plan.Via.String()
	}
	if plan.Known != "" {
		what += ", which knows this machine as " + plan.Client.String() + ", class " + plan.Known
		if plan.Class != plan.Known {
			what += " (what that may not reach is denied, and recorded)"
		}
	}
	fmt.Fprintln(o.p.stdout, printable(fmt.Sprintf("trying %s; policy %s, of %s", what, o.all.Policy, o.all.By)))
	o.progress()
}

// progress says on a terminal how far the test is, in a line that does not stay.
func (o *checkOutput) progress() {
	if o.d.width > 0 && len(o.all.Results) < o.planned {
		fmt.Fprintf(o.p.stdout, "%d of %d", len(o.all.Results), o.planned)
		o.counted = true
	}
}

func (o *checkOutput) clear() {
	if o.counted {
		fmt.Fprint(o.p.stdout, "\r\x1b[K")
		o.counted = false
	}
}

// The columns of a result before its destination.
const (
	markWidth = 6
	rowWidth  = 3
)

func (o *checkOutput) result(r check.Result) {
	row := "-"
	if r.Row != 0 {
		row = strconv.Itoa(r.Row)
	}
	mark, colour := markOf(r)
	before := o.d.paint(colour, pad(mark, markWidth)) + pad(row, rowWidth) + pad(printable(r.Target.String()), o.width+2)
	o.d.hang(o.p.stdout, before, markWidth+rowWidth+o.width+2, printable(o.words(r)))
}

// markOf is a result in a word.
func markOf(r check.Result) (mark, colour string) {
	switch {
	case r.OK:
		return "ok", green
	case r.Skip != "":
		return "-", faint
	}
	return "FAIL", red
}

// words are what there is to say of a result beside its destination. What stops many is
// told in full of the first.
func (o *checkOutput) words(r check.Result) string {
	switch {
	case r.Skip != "":
		return "not tried: " + r.Skip
	case !r.OK:
		text := r.Fault.Text()
		if full := text + ": " + r.Detail; r.Detail != "" && !o.said[full] {
			o.said[full] = true
			return full
		}
		return text
	}
	words := []string{r.Dest.String(), took(r.ResolveMs + r.ConnectMs + r.AnswerMs)}
	switch {
	case r.OffsetMs != nil:
		words = append(words, fmt.Sprintf("stratum %d, %+.0f ms", r.Stratum, math.Round(*r.OffsetMs)+0))
	case r.Status != 0:
		words = append(words, "HTTP "+strconv.Itoa(r.Status))
	default:
		words = append(words, "signed by "+r.Issuer)
	}
	return strings.Join(words, ", ")
}

func took(ms float64) string { return strconv.FormatFloat(math.Ceil(ms), 'f', 0, 64) + " ms" }

// end writes the verdict, and is the command's error.
func (o *checkOutput) end() error {
	if o.asJSON {
		if err := writeJSON(o.p.stdout, o.all); err != nil {
			return err
		}
	} else {
		o.clear()
		o.verdict()
	}
	if !o.all.Verdict.OK {
		return errSaid
	}
	return nil
}

func (o *checkOutput) verdict() {
	v, w := o.all.Verdict, o.p.stdout
	colour := green
	switch {
	case !v.OK:
		colour = red
	case v.Do != "":
		colour = yellow
	}
	fmt.Fprintf(w, "\n%s\n", o.d.paint(colour, printable(v.Headline)))
	if v.Do != "" {
		o.d.hang(w, "  what to do  ", 14, printable(v.Do))
	}
	for _, a := range v.Advice {
		if a.Do != v.Do {
			o.d.hang(w, "  also        ", 14, printable(a.About()+": "+a.Do))
		}
	}
	for _, kind := range []struct{ requirement, title string }{
		{"required", "required"}, {"conditional", "conditional, on the kind of device"}, {"optional", "optional"}, {"local", "the store's own"},
	} {
		titled := false
		for _, row := range v.Rows {
			if row.Requirement != kind.requirement {
				continue
			}
			if !titled {
				fmt.Fprintf(w, "\n%s\n", o.d.paint(bold, kind.title))
				titled = true
			}
			o.row(row)
		}
	}
	fmt.Fprintln(w)
	var facts [][2]string
	if len(v.Rows) > 0 {
		facts = append(facts, [2]string{"speed", speedWords(v.Speed)})
	}
	for i, text := range v.Troubles {
		facts = append(facts, [2]string{[]string{"the box", ""}[min(i, 1)], printable(text)})
	}
	if v.LeftOut > 0 {
		facts = append(facts, [2]string{"left out", plural(v.LeftOut, "destination") + " beyond what a test has room for"})
	}
	o.d.facts(w, facts...)
}

// row is a row of the document with what failed of it.
func (o *checkOutput) row(row check.Row) {
	mark, colour := "ok", green
	switch {
	case row.Tried == 0:
		mark, colour = "-", faint
	case row.Good < row.Tried:
		mark, colour = "FAIL", red
	}
	number := "-"
	if row.Row != 0 {
		number = strconv.Itoa(row.Row)
	}
	const column = 2 + markWidth + rowWidth
	text := fmt.Sprintf("%s, %s: %d of %d", row.Title, row.Service, row.Good, row.Tried)
	if row.Tried == 0 {
		text = fmt.Sprintf("%s, %s: not tried", row.Title, row.Service)
	}
	o.d.hang(o.p.stdout, "  "+o.d.paint(colour, pad(mark, markWidth))+pad(number, rowWidth), column, printable(text))
	for _, text := range row.Failures {
		o.d.hang(o.p.stdout, strings.Repeat(" ", column), column, printable(text))
	}
}

// speedWords compares downloads with what the document recommends.
func speedWords(s check.Speed) string {
	var words []string
	enough := func(bps uint64) string {
		if bps >= s.Wanted {
			return "enough: the document recommends " + mbits(s.Wanted)
		}
		return "the document recommends " + mbits(s.Wanted)
	}
	switch {
	case s.Error != "":
		words = append(words, printable(s.URL)+" could not be measured: "+printable(s.Error))
	case s.Bps != 0:
		words = append(words, fmt.Sprintf("%s came with %s (%s in %.1f s); %s", printable(s.URL), mbits(s.Bps), size(s.Bytes), s.Ms/1000, enough(s.Bps)))
	}
	switch {
	case s.Seen >= s.Wanted:
		words = append(words, "the fastest download that tunnels have seen came with "+mbits(s.Seen)+"; "+enough(s.Seen))
	case s.Seen > 0:
		words = append(words, "the fastest download that tunnels have seen came with "+mbits(s.Seen)+", which may be all that was wanted; "+enough(s.Seen)+"; --speed URL measures")
	}
	if words == nil {
		return "no download has shown it yet; --speed URL measures it against the " + mbits(s.Wanted) + " of the document"
	}
	return strings.Join(words, ". ")
}

// mbits is a speed as providers of lines write it.
func mbits(bps uint64) string {
	return strconv.FormatFloat(math.Round(float64(bps)/1e5)/10, 'f', -1, 64) + " Mbit/s"
}
