package main

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tillgate/decision"
	"tillgate/policy"
)

// Columns of a log on a terminal. The client's fits 192.168.100.123 (terminal).
const (
	verdictWidth = 5
	clientWidth  = 26
)

// A logWriter writes records as lines for people.
type logWriter struct {
	w        io.Writer
	display  display
	location *time.Location
	story    *story
	day      string // of the line before, on a terminal
}

func newLogWriter(w io.Writer, d display, location *time.Location) *logWriter {
	return &logWriter{w: w, display: d, location: location, story: newStory()}
}

// write writes a record: on a terminal within its width, what is too long going
// on below, else in one line with its date.
func (l *logWriter) write(r *decision.Record) error {
	at := r.Time.In(l.location)
	stamp := at.Format(time.DateTime)
	var b strings.Builder
	if l.display.width > 0 {
		stamp = at.Format(time.TimeOnly)
		l.heading(&b, at)
	}
	if r.UntrustedTime {
		stamp += "?" // the box did not know the time well enough
	}
	if r.Plane.Decides() {
		l.decision(&b, stamp, r)
		l.story.hear(r)
	} else {
		l.event(&b, stamp, r)
	}
	_, err := io.WriteString(l.w, b.String())
	return err
}

// heading tells the columns once, and the day whenever it is another.
func (l *logWriter) heading(b *strings.Builder, at time.Time) {
	day := at.Format("Monday, 2 January 2006")
	if l.day == "" {
		fmt.Fprintf(b, "%s\n", l.display.paint(bold, "TIME     "+pad("", verdictWidth+1)+pad("CLIENT (CLASS)", clientWidth+1)+"NAME  WHY"))
	}
	if day != l.day {
		fmt.Fprintf(b, "%s\n", l.display.paint(faint, day))
	}
	l.day = day
}

var verdictColours = [...]string{policy.Deny: red, policy.Allow: green, policy.WouldDeny: yellow}

// decision is a line with columns: a decision, or the end of what was let through.
func (l *logWriter) decision(b *strings.Builder, stamp string, r *decision.Record) {
	verdict, colour, text := r.Verdict.String(), verdictColours[r.Verdict], l.story.why(r, l.location)
	switch {
	case r.Event == decision.EventClose:
		verdict, colour, text = string(r.Event), faint, howItEnded(r, l.location)
	case r.Verdict == policy.Allow && troubled(r):
		colour = yellow
	}
	indent := utf8.RuneCountInString(stamp) + 1 + max(verdictWidth, len(verdict)) + 1
	client := "-"
	if r.Client.IsValid() {
		client = r.Client.String()
	}
	if r.Class != "" {
		client += " (" + printable(r.Class) + ")"
	}
	line := pad(client, clientWidth) + " " + target(r)
	fmt.Fprintf(b, "%s %s %s", l.display.paint(faint, stamp), l.display.paint(colour, pad(verdict, verdictWidth)), line)
	l.finish(b, indent, indent+utf8.RuneCountInString(line), text)
}

// event is a sentence.
func (l *logWriter) event(b *strings.Builder, stamp string, r *decision.Record) {
	colour := cyan
	if r.Event == decision.EventGap || strings.HasPrefix(r.Detail, "refused") {
		colour = red
	}
	text := printable(r.Detail)
	if text == "" {
		text = string(r.Event)
	}
	if r.By != "" && (r.Plane == policy.Policy || r.Event == decision.EventChange) {
		text += " (" + printable(r.By) + ")"
	}
	if r.Event == decision.EventLogin && r.Count > 0 {
		text += "; " + times(r, l.location)
	}
	label := r.Plane.String()
	column := utf8.RuneCountInString(stamp) + 1 + len(label) + 2
	l.display.hang(b, l.display.paint(faint, stamp)+" "+l.display.paint(colour, label)+"  ", column, text)
}

// finish ends a line of which column characters are written: with text behind
// them, or all of it below, indented, where it does not fit.
func (l *logWriter) finish(b *strings.Builder, indent, column int, text string) {
	if text == "" {
		b.WriteByte('\n')
		return
	}
	if l.display.width == 0 || column+2+utf8.RuneCountInString(text) <= l.display.width {
		fmt.Fprintf(b, "  %s\n", text)
		return
	}
	b.WriteByte('\n')
	for _, line := range wrap(text, l.display.width-indent) {
		fmt.Fprintf(b, "%s%s\n", strings.Repeat(" ", indent), line)
	}
}

// target is what the client wanted: a name or an address, and a type of record, or a port
// and by which way it asked.
func target(r *decision.Record) string {
	name := printable(r.Name)
	switch {
	case name == "" && r.Qtype != "":
		name = "." // the root
	case name == "" && r.Dest.IsValid():
		name = r.Dest.Addr().String()
	case name == "" && r.Port == 0:
		return r.Plane.String()
	}
	if r.Port != 0 {
		name = net.JoinHostPort(name, strconv.Itoa(int(r.Port)))
	}
	switch r.Plane {
	case policy.Connect, policy.TLS, policy.HTTP:
		name += " " + r.Plane.String()
	case policy.Firewall:
		if r.Proto != policy.NoProto {
			name += " " + r.Proto.String()
		}
	}
	if r.Qtype != "" {
		name += " " + printable(r.Qtype)
	}
	return name
}

// endings are what a tunnel ended by, in words.
var endings = map[string]string{
	"client": "closed by the client",
	"server": "closed by the server",
	"idle":   "closed, as nothing was said for too long",
	"policy": "closed by the policy now in force",
	"until":  "closed, as its rule has ended",
	"stop":   "closed, as the box stopped",
	"error":  "closed by a fault of the box",
}

// howItEnded is the end of a tunnel, or of exchanges, in words: who ended it, when, and
// what it carried.
func howItEnded(r *decision.Record, location *time.Location) string {
	text := endings[r.By]
	if text == "" {
		text = "closed"
	}
	what := printable(r.Detail)
	if what == "" {
		what = strings.ReplaceAll(printable(r.Rcode), "_", " ")
	}
	if what != "" {
		text += " (" + what + ")"
	}
	if r.Count == 0 {
		text += " after " + elapsed(r.Ms)
	}
	text += fmt.Sprintf("; %s up, %s down", size(r.Up), size(r.Down))
	if r.Count > 0 {
		text += "; " + times(r, location)
	}
	return text
}

// times is how many a record stands for.
func times(r *decision.Record, location *time.Location) string {
	text := strconv.FormatUint(r.Count, 10) + " more"
	if !r.Until.IsZero() {
		text += " until " + r.Until.In(location).Format(time.TimeOnly)
	}
	return text
}

// elapsed is a number of milliseconds, for people.
func elapsed(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	if d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return roughly(d)
}

// troubled reports an allowed attempt that did not get what it wanted.
func troubled(r *decision.Record) bool {
	return r.Stale || r.Rcode != "" && r.Rcode != "NOERROR" && r.Rcode != "NXDOMAIN"
}

// wrongClock is what a client's clock may be off by until it is worth a word: what a
// receipt shows.
const wrongClock = time.Second

// wrongBy says by how much a client's clock is wrong; nothing where that is not worth a
// word.
func wrongBy(offsetMs float64) string {
	off := time.Duration(offsetMs * float64(time.Millisecond))
	switch {
	case off.Abs() < wrongClock:
		return ""
	case off < 0:
		return roughly(-off) + " slow"
	}
	return roughly(off) + " fast"
}

// why is the reason in words, with the service that it is about, and the addresses.
func (s *story) why(r *decision.Record, location *time.Location) string {
	var words []string
	add := func(text string) {
		if text != "" {
			words = append(words, text)
		}
	}
	service := printable(r.Service)
	if r.Row != 0 {
		service = "row " + strconv.Itoa(r.Row) + " " + service
	}
	granted := r.Verdict == policy.Allow && (r.Reason == policy.Documented || r.Reason == policy.LocalService)
	switch {
	case granted && service != "":
		add(service) // says as much, in less
	case granted && r.Plane == policy.NTP:
		add("its class has time")
	default:
		add(r.Reason.Text())
		add(service)
	}
	if r.Verdict == policy.Allow && troubled(r) && (r.Plane == policy.DNS || r.Detail == "") {
		add(strings.ReplaceAll(printable(r.Rcode), "_", " ")) // of the proxy it is words, which the detail has too
	}
	add(answers(r))
	to, detail := s.whereTo(r), printable(r.Detail)
	add(to)
	if !strings.HasPrefix(to, detail) { // says as much, and more
		add(detail)
	}
	if text := wrongBy(r.OffsetMs); text != "" {
		add("its clock is " + text)
	}
	if r.Count > 0 {
		add(times(r, location))
	}
	return strings.Join(words, "; ")
}
