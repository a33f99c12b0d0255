package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// A Part is a part of a report, laid out for people: some sentences and a table.
type Part struct {
	ID      string // a file's name
	Title   string
	PCI     string // requirements of PCI DSS v4.0.1 that it gives evidence for
	Bad     bool   // it needs somebody's attention
	Text    []string
	Columns []string
	Rows    [][]string // of as many cells
	Empty   string     // what it means that there are no rows
}

// Parts lays the report out. Times are UTC. Cells may hold what came over the wire, as it is.
func (r *Report) Parts() []Part {
	return []Part{r.policyPart(), r.rulesPart(), r.unusedPart(), r.denialsPart(), r.tunnelPart(),
		r.changesPart(), r.outagesPart(), r.gapsPart(), r.timePart(), r.othersPart(), r.journalPart()}
}

func (r *Report) policyPart() Part {
	p := Part{ID: "policy", Title: "Policy in force", PCI: "1.2.8, 1.3.2", Columns: []string{"Class", "Devices", "Mode", "Services"}}
	p.say("Policy %s of %s, mode %s. SHA-256 of all its files: %s.", r.Policy.ID, r.Policy.Origin, r.Policy.Mode, r.Policy.Hash)
	for _, d := range r.Policy.Drift {
		p.Bad = true
		p.say("Drift: %s.", d)
	}
	switch {
	case r.Running == "":
		p.say("No box runs: this is the policy of the files, not of a box.")
		if r.Policy.Last != "" && r.Policy.Last != r.Policy.ID {
			p.Bad = true
			p.say("Drift: the box that wrote the journal had policy %s in force.", r.Policy.Last)
		}
	case !p.Bad:
		p.say("The files on disk are those in force.")
	}
	p.say("What no rule allows to a class is denied.")
	for _, c := range r.Policy.Classes {
		if c.Mode == policy.Observe.String() {
			p.Bad = true
		}
		p.row(c.Name, strings.Join(c.Devices, ", "), c.Mode, strings.Join(c.Services, ", "))
	}
	return p
}

func (r *Report) rulesPart() Part {
	p := Part{ID: "rules", Title: "Rules and their use", PCI: "1.2.5, 1.2.7", Empty: "No rules.",
		Columns: []string{"Row", "Service", "Requirement", "Destination", "Ports", "At", "Reason", "Allowed", "Denied", "Bytes up", "Bytes down", "Last use"}}
	p.say("Row is that of the provider's document. Allowed and denied are decisions on all planes (name look-ups, connections, requests, time); denied are attempts whose nearest rule this was: of a class or on a port that it is not for, or past its end.")
	if !r.From.IsZero() {
		p.say("Counted from %s on: segments of the journal are counted whole, each of at most a day.", moment(r.From))
	}
	if r.Other > 0 {
		p.say("%d more decisions are not told apart by rule.", r.Other)
	}
	for _, u := range r.Rules {
		p.row(number(uint64(u.Row)), u.Service, u.Requirement, u.Host+u.Network, strings.Join(u.Ports, " "), u.Rule, u.Reason,
			strconv.FormatUint(u.Allowed, 10), strconv.FormatUint(u.Denied, 10), number(u.Up), number(u.Down), moment(u.Last))
	}
	return p
}

func (r *Report) unusedPart() Part {
	p := Part{ID: "unused", Title: "Rules never used", PCI: "1.2.7", Empty: "Every rule was used.",
		Columns: []string{"Row", "Service", "Requirement", "Destination", "Ports", "At", "Reason"}}
	p.say("Rules that allowed nothing in this time. A rule of the document that is never used may be for a device that the store has not; a local one may be due to go.")
	for _, u := range r.Rules {
		if u.Allowed > 0 || u.Gone || u.Deny {
			continue
		}
		p.row(number(uint64(u.Row)), u.Service, u.Requirement, u.Host+u.Network, strings.Join(u.Ports, " "), u.Rule, u.Reason)
	}
	return p
}

func (r *Report) denialsPart() Part {
	p := Part{ID: "denials", Title: "Denials by class and destination", PCI: "1.3.2, 10.2.2", Empty: "Nothing was denied.",
		Columns: []string{"Class", "Destination", "Port", "Verdict", "Reason", "By", "Attempts", "First", "Last"}}
	p.say("would-deny was let through, as its class is observed. Every attempt has a record in the journal with client, time and reason, or is counted in that of another.")
	if r.Denied > 0 {
		p.say("%d more attempts went to other destinations.", r.Denied)
	}
	for _, d := range r.Denials {
		name := d.Name
		if d.Dest.IsValid() {
			name = strings.TrimPrefix(name+" "+d.Dest.Addr().String(), " ")
		}
		class := d.Class
		if class == "" {
			class = "(none)"
		}
		reason, _ := policy.ParseReason(d.Reason)
		p.row(class, name, number(uint64(d.Port)), d.Verdict, reason.Text(), strings.Join(d.Planes, " "),
			strconv.FormatUint(d.Count, 10), moment(d.First), moment(d.Last))
	}
	return p
}

func (r *Report) tunnelPart() Part {
	t := r.Tunnel
	p := Part{ID: "tunnel", Title: "Residual risk: the resolver of the document", PCI: "1.2.5, 1.3.2", Empty: "Nobody used it.",
		Columns: []string{"Client", "Class", "Tunnels", "Bytes up", "Bytes down", "First", "Last"}}
	if len(t.Services) == 0 {
		p.say("The policy in force does not allow %s.", t.Name)
	} else {
		p.say("The document has terminals resolve names by HTTPS at %s (%s). The box sees who does so and how many bytes go through, and not what: a name that is resolved there is no name that is reached, since every connection is judged for itself, but bytes could leave the store in the questions.", t.Name, strings.Join(t.Services, ", "))
	}
	up, down := uint64(0), uint64(0)
	for _, c := range t.Clients {
		up, down = up+c.Up, down+c.Down
		p.row(c.Client.String(), c.Class, strconv.FormatUint(c.Tunnels, 10), strconv.FormatUint(c.Up, 10), strconv.FormatUint(c.Down, 10), moment(c.First), moment(c.Last))
	}
	if len(t.Clients) > 0 {
		p.say("In all %s, %d bytes up and %d bytes down in tunnels that have ended.", count(len(t.Clients), "client"), up, down)
	}
	if t.Others > 0 {
		p.say("%d more tunnels are not told by client.", t.Others)
	}
	return p
}

func (r *Report) changesPart() Part {
	p := Part{ID: "changes", Title: "Changes of the policy", PCI: "1.2.7, 1.2.8", Empty: "The policy was not changed."}
	p.records(r.Changes)
	return p
}

func (r *Report) outagesPart() Part {
	p := Part{ID: "outages", Title: "Outages", PCI: "10.7.2, 10.7.3", Empty: "None.",
		Columns: []string{"Part", "State", "From", "To", "Duration", "What"}}
	p.say("Times in which the box did not run, or a part of it said that it was not well. No terminal gets past a box that does not run, if it stands as the guides say.")
	for _, o := range r.Outages {
		to := moment(o.To)
		if o.To.IsZero() {
			to, p.Bad = "goes on", true
		}
		p.row(o.Part, o.State, moment(o.From), to, span(o.Seconds), o.Text)
	}
	return p
}

func (r *Report) gapsPart() Part {
	p := Part{ID: "gaps", Title: "Gaps in the journal", PCI: "10.7.2, 10.7.3", Empty: "None: no record was lost.",
		Columns: []string{"From", "To", "Attempts lost", "What"}, Bad: len(r.Gaps) > 0}
	for _, g := range r.Gaps {
		p.row(moment(g.From), moment(g.To), strconv.FormatUint(g.Attempts, 10), g.Text)
	}
	return p
}

func (r *Report) timePart() Part {
	p := Part{ID: "time", Title: "Time", PCI: "10.6.1, 10.6.2, 10.6.3", Empty: "No changes were recorded."}
	if r.Time != "" {
		p.say("Now: %s.", r.Time)
	}
	p.say("Changes of the time, and of whom it comes from:")
	p.records(r.TimeChanges)
	return p
}

func (r *Report) othersPart() Part {
	p := Part{ID: "events", Title: "What else the box told of itself", PCI: "10.2.2", Empty: "Nothing."}
	if r.Missed > 0 {
		p.say("%d more records of these kinds are in the journal.", r.Missed)
	}
	p.records(r.Others)
	return p
}

// journalPart has what was found as rows: a table alone is evidence, too.
func (r *Report) journalPart() Part {
	j := r.Journal
	broken := slices.Concat(j.Unlinked, j.Broken, r.Damage)
	p := Part{ID: "journal", Title: "The journal", PCI: "10.3.2, 10.3.3, 10.3.4, 10.5.1", Bad: len(broken) > 0, Columns: []string{"What", "Found"}}
	for _, text := range broken {
		p.row("Broken", text)
	}
	if len(broken) == 0 {
		p.row("Broken", "nothing that was looked at")
	}
	if !j.Oldest.IsZero() {
		days := int(r.Made.Sub(j.Oldest).Hours() / 24)
		p.row("Kept", fmt.Sprintf("records since %s, for %s (10.5.1: 12 months, 3 of them at hand)", moment(j.Oldest), count(days, "day")))
	}
	p.row("Segments", fmt.Sprintf("%d, of which the report is made; each names the last seal of the one before, %d of %d rightly", j.Segments, j.Links, max(j.Segments-1, 0)))
	which := "of the newest "
	if j.Full {
		which = "of the whole journal, "
	}
	p.row("Seals", fmt.Sprintf("those %s%s were checked record by record: %s (%d to %d), %s", which, count(j.Checked.Segments, "segment"),
		count(j.Checked.Records, "record"), j.Checked.FirstSeq, j.Checked.LastSeq, count(j.Checked.Seals, "seal")))
	if !j.Full && j.Segments > j.Checked.Segments {
		p.row("Not checked", "the records of the other segments, nor that the sums this report is made of fit them: tillgate report --verify does that")
	}
	if j.Checked.LastSeal != "" {
		p.row("Last seal", j.Checked.LastSeal+" (noted elsewhere, it proves later that the end was not cut off)")
	}
	for _, n := range j.Checked.Notices {
		p.row("Note", n)
	}
	return p
}

// say adds a sentence.
func (p *Part) say(format string, args ...any) { p.Text = append(p.Text, fmt.Sprintf(format, args...)) }

func (p *Part) row(cells ...string) { p.Rows = append(p.Rows, cells) }

// records adds a row for each record that decides nothing.
func (p *Part) records(list []decision.Record) {
	p.Columns = []string{"Time", "Event", "By", "What"}
	for _, r := range list {
		what := r.Detail
		if r.Class != "" {
			what = "class " + r.Class + ": " + what
		}
		p.row(moment(r.Time), string(r.Event), r.By, what)
	}
}

// moment is a time for people, to the second.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func span(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}

// number leaves zero out.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// count is a number of things.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}
