package replay

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// maxNotes bounds the notes in the file.
const maxNotes = 100

// File returns policy.yaml with the proposal put in, and what there is to know of it in
// comments. With an empty reason, each proposed service waits for one to be filled in, and
// the file is no good policy until then.
func (p *Proposal) File(reason string) (policy.File, error) {
	a := policy.Amendment{Comment: p.head()}
	granted := make(map[string]*policy.Grant) // by class
	grant := func(class string) *policy.Grant {
		if granted[class] == nil {
			granted[class] = &policy.Grant{Class: class}
		}
		return granted[class]
	}
	for _, o := range p.Own {
		g := grant(o.Class)
		g.Services = append(g.Services, o.ID)
		a.Services = append(a.Services, o.service())
	}
	for _, gives := range p.Grants {
		g := grant(gives.Class)
		g.Asked = append(g.Asked, gives.Service.ID)
		g.Comment = append(g.Comment, gives.words()...)
	}
	for _, c := range p.set.Classes() {
		if g := granted[c.Name]; g != nil {
			a.Grants = append(a.Grants, *g)
		}
	}
	for i := range a.Grants {
		clean(a.Grants[i].Comment)
	}
	return policy.Amend(p.policy, a, reason)
}

// head is at the top of the file.
func (p *Proposal) head() []string {
	lines := []string{
		fmt.Sprintf("Proposed from %s to %s by tillgate policy suggest, to policy %s.", day(p.From), day(p.To), p.set.ID()),
		"Nothing of it is in force. Read each line that is new: keep what the store needs and say why, in",
		"reason; delete the rest. A service without a reason is refused, and so is one with a question mark:",
		"take the mark away, or the service.",
	}
	if len(p.Notes) > 0 {
		lines = append(lines, "", "Denied as well, but not proposed:")
	}
	for _, line := range p.Told() {
		lines = append(lines, "  "+line)
	}
	return clean(append(lines, ""))
}

// Told are the notes as lines: why, and below it the attempts that it is said of. What was
// tried most comes first, and the least of very many is left out.
func (p *Proposal) Told() (lines []string) {
	notes := p.Notes[:min(len(p.Notes), maxNotes)]
	said := make(map[string]bool)
	for _, n := range notes {
		if said[n.Why] {
			continue
		}
		said[n.Why] = true
		lines = append(lines, n.Why)
		for _, m := range notes {
			if m.Why == n.Why {
				lines = append(lines, "  "+m.words())
			}
		}
	}
	if more := len(p.Notes) - len(notes); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// service is the proposed service as it stands in the file.
func (o Own) service() policy.NewService {
	s := policy.NewService{ID: o.ID, Comment: []string{o.Domain + ", for " + o.Class + ":"}}
	if o.Known != nil {
		s.Comment = []string{fmt.Sprintf("Known to go with %s, for %s: %s", o.Known.Near, o.Class, o.Known.Why)}
	}
	for _, h := range o.Hosts {
		s.Destinations = append(s.Destinations, policy.NewDestination{Host: h.Name, Ports: h.Ports, Comment: clean(h.words())})
	}
	if o.Known == nil && len(o.Hosts) >= manyHosts && strings.Contains(o.Domain, ".") {
		s.Comment = append(s.Comment, fmt.Sprintf("%d names: *.%s would be for all below it, if the whole domain is of one owner", len(o.Hosts), o.Domain))
	}
	clean(s.Comment)
	return s
}

// manyHosts of one domain are worth a thought about a wildcard.
const manyHosts = 5

// words say what was asked for of a host.
func (h Host) words() []string {
	var planes, reasons []string
	for _, p := range h.Planes {
		planes = append(planes, p.String())
	}
	for _, r := range h.Reasons {
		reasons = append(reasons, r.String())
	}
	lines := []string{h.Traffic.Words() + "; " + strings.Join(planes, ", ") + "; " + strings.Join(reasons, ", ")}
	if h.Guessed {
		lines = append(lines, "only its name was asked for: "+webPort.String()+" is a guess")
	}
	if s := h.Rule; s != nil && s.Service != nil && slices.Contains(h.Reasons, policy.Expired) {
		lines = append(lines, fmt.Sprintf("%s, %v, had it until %s: a later until there would do", s.Service.ID, s.Pos, s.Service.Until.UTC().Format(time.RFC3339)))
	}
	return lines
}

// words say what a grant is made of.
func (g Grant) words() []string {
	s := g.Service
	line := s.ID
	if s.Row != 0 {
		line += fmt.Sprintf(": row %d, %s", s.Row, s.Title)
	}
	if len(s.For) > 0 {
		line += ", which the document has for " + strings.Join(s.For, ", ") + " alone"
	}
	lines := []string{line, "  does " + g.Class + " need it, whole? Or was it a test, or a device of another class? It asked for"}
	for _, h := range g.Hosts {
		lines = append(lines, "  "+h.Name+": "+h.Traffic.Words())
	}
	return lines
}

// words is what was tried, in a line.
func (n Note) words() string {
	what := ""
	switch {
	case n.Name != "":
		what = decision.Printable(n.Name)
		if n.Port != 0 {
			what += fmt.Sprint(":", n.Port)
		}
		what += " "
	case n.Dest.IsValid():
		what = netip.AddrPortFrom(n.Dest, n.Port).String() + " "
	}
	class := n.Class
	if class == "" {
		class = "no class"
	}
	return what + n.Plane.String() + ", " + decision.Printable(class) + ", " + n.Traffic.Words()
}

// maxClientsTold is how many clients of many are named.
const maxClientsTold = 3

// Words is how often, by whom and when, in a line.
func (t Traffic) Words() string {
	text := fmt.Sprint(t.Attempts) + " attempts"
	if t.Attempts == 1 {
		text = "1 attempt"
	}
	text += " by " + ClientWords(t.Clients, t.MoreClients)
	if first, last := day(t.First), day(t.Last); first != last {
		return text + ", " + first + " to " + last
	}
	return text + ", " + day(t.First)
}

// ClientWords names clients, or the first of many.
func ClientWords(clients []netip.Addr, more bool) string {
	var list []string
	for _, c := range clients[:min(len(clients), maxClientsTold)] {
		list = append(list, c.String())
	}
	text := strings.Join(list, ", ")
	switch left := len(clients) - len(list); {
	case more:
		text += fmt.Sprintf(" and more than %d others", left)
	case left > 1:
		text += fmt.Sprintf(" and %d others", left)
	case left == 1:
		text += " and 1 other"
	}
	return text
}

// day is a moment as people look for it in a log.
func day(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// clean makes lines fit to be comments.
func clean(lines []string) []string {
	for i := range lines {
		lines[i] = decision.Printable(lines[i])
	}
	return lines
}
