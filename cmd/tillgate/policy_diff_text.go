package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"tillgate/replay"
)

// maxDiffShown is how many groups of each change are shown to people; JSON has all.
const maxDiffShown = 50

// changeTitles are over what changes so.
var changeTitles = map[string][2]string{ // with its colour
	replay.Stops.String():  {"would stop", red},
	replay.Passes.String(): {"would pass", green},
	replay.Noted.String():  {"would pass as before, but be recorded otherwise", yellow},
}

func writeDiff(p process, d policyDiff) {
	s := newDisplay(p.stdout, p.getenv)
	fmt.Fprintf(p.stdout, "%s of %s, instead of %s of %s\n", s.paint(bold, d.New.ID), d.New.Of, s.paint(bold, d.Old.ID), d.Old.Of)
	if len(d.Differences) == 0 {
		fmt.Fprintln(p.stdout, "no rule differs")
	}
	if d.Replay != nil {
		fmt.Fprintln(p.stdout, d.Replay.summary())
	}
	if len(d.Differences) > 0 {
		fmt.Fprintln(p.stdout)
	}
	for _, e := range d.Differences {
		s.writeDifference(p, e)
	}
	if d.Replay == nil {
		fmt.Fprintf(p.stderr, "tillgate: nothing was tried on recorded attempts: %v\n", d.noJournal)
		return
	}
	s.writeReplay(p, d.Replay)
}

func (s display) writeDifference(p process, e difference) {
	sign, colour := "~", yellow
	var words []string
	switch e.Change {
	case "added":
		sign, colour, words = "+", green, e.Now
	case "removed":
		sign, colour, words = "-", red, e.NoMore
	default:
		for _, f := range e.NoMore {
			words = append(words, "no more "+f)
		}
		for _, f := range e.Now {
			words = append(words, "now "+f)
		}
	}
	at := e.At
	if at == "" {
		at = "was " + e.Was
	}
	what := strings.Join(strings.Fields(e.Kind+" "+e.Service+" "+e.Name), " ")
	if e.Kind == e.Name { // the mode
		what = e.Kind
	}
	if len(words) > 0 { // a deny rule says no more than its host
		what += ": " + strings.Join(words, ", ")
	}
	s.hang(p.stdout, s.paint(colour, sign)+" ", 2, printable(what+" ("+at+")"))
}

// summary is what becomes of the recorded attempts, in a line.
func (r *replayed) summary() string {
	if r.Attempts == 0 {
		return "no attempt is recorded in this time"
	}
	text := fmt.Sprintf("tried on %s, %s to %s:", plural(r.Attempts, "attempt"), minute(r.From), minute(r.To))
	same := r.Attempts - r.Unjudged
	for _, c := range r.Changed {
		same -= c.Attempts
		if c.Change != replay.Noted.String() || c.Attempts > 0 {
			text += fmt.Sprintf(" %d %s,", c.Attempts, changeTitles[c.Change][0])
		}
	}
	text += fmt.Sprintf(" %d as before", same)
	if r.Unjudged > 0 {
		text += fmt.Sprintf(", of %d too little is recorded to tell", r.Unjudged)
	}
	return text
}

func (s display) writeReplay(p process, r *replayed) {
	for _, c := range r.Changed {
		if c.Attempts == 0 {
			continue
		}
		title := changeTitles[c.Change]
		fmt.Fprintf(p.stdout, "\n%s: %s\n", s.paint(title[1], title[0]), plural(c.Attempts, "attempt"))
		shown, left := 0, c.Unlisted
		for _, g := range r.Groups {
			if g.Change != c.Change {
				continue
			}
			if shown++; shown > maxDiffShown {
				left += g.Attempts
				continue
			}
			s.writeChanged(p, g)
		}
		if left > 0 {
			fmt.Fprintf(p.stdout, "  and %s at other destinations\n", plural(left, "attempt"))
		}
	}
}

func (s display) writeChanged(p process, g changed) {
	class := g.Is.Class
	if class == "" {
		class = "no class"
	}
	if g.Class != class {
		class = g.Class + ", then " + class
	}
	text := fmt.Sprintf("%s: %s, was %s", g.Is.Verdict, g.Is.why(), g.Was.Verdict)
	if g.Is.Verdict != "deny" && g.Was.Verdict == "deny" {
		text = fmt.Sprintf("%s: %s, was %s (%s)", g.Is.Verdict, g.Is.why(), g.Was.Verdict, g.Was.Reason)
	}
	fmt.Fprintf(p.stdout, "  %s  %s\n", s.paint(bold, g.sought.words()), printable(class))
	s.hang(p.stdout, "    ", 4, text)
	s.hang(p.stdout, "    ", 4, g.tried.words())
}

// why is the reason with the rule.
func (j judged) why() string {
	text := j.text
	if j.Service != "" {
		text += ", " + printable(j.Service)
	}
	if j.Rule != "" {
		text += ", " + printable(j.Rule)
	}
	return text
}

// words is what was wanted, and by which plane.
func (t sought) words() string {
	name := printable(t.Name)
	switch {
	case t.Dest != "" && name != "":
		name = t.Dest + " (" + name + ")"
	case t.Dest != "":
		name = t.Dest
	case name == "" && t.Plane == "dns":
		name = "."
	}
	if t.Port != 0 && name != "" {
		if t.Dest != "" {
			name = strings.Replace(name, t.Dest, net.JoinHostPort(t.Dest, strconv.Itoa(int(t.Port))), 1)
		} else {
			name += ":" + strconv.Itoa(int(t.Port))
		}
	}
	return strings.TrimSpace(name + " " + t.Plane)
}

// words is how often, by whom and when.
func (t tried) words() string {
	return fmt.Sprintf("%s by %s, last %s", plural(t.Attempts, "attempt"), replay.ClientWords(t.Clients, t.MoreClients), minute(t.Last))
}

// minute is a moment as lists show it.
func minute(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
