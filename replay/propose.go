package replay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"tillgate/policy"
)

// A Proposal is what denied attempts would need. Nothing of it is in force.
type Proposal struct {
	*Denials
	Allowed uint64 // attempts that it would allow, with its reasons filled in and all decided for
	Grants  []Grant
	Own     []Own
	Notes   []Note

	policy policy.File // that it would be added to
	wishes []*wish
	rest   []*wish // of which there are too many
}

// A Grant is a service that there is, for a class that has not got it.
type Grant struct {
	Class   string
	Service *policy.Service
	Hosts   []Host
}

// An Own is a service of the store's own for a class: the hosts of one domain, or what a
// pack knows to go with a documented service.
type Own struct {
	ID     string
	Class  string
	Domain string // registrable, by the public suffix list
	Known  *policy.Suggestion
	Hosts  []Host
}

// A Host is a name that was asked for.
type Host struct {
	Name    string // as it would stand in a rule
	Ports   []policy.Port
	Guessed bool // only its name was asked for, not the port
	Planes  []policy.Plane
	Reasons []policy.Reason
	Rule    *policy.Rule // that is nearest; may be nil
	Traffic
}

// A Note is what is not proposed, and why.
type Note struct {
	Target
	Traffic
	Why string

	denial *Denial
}

// A wish is all that a class asked of one name.
type wish struct {
	class   string
	host    Host
	denials []*Denial
}

// Propose makes a proposal of what was collected.
func (d *Denials) Propose() (*Proposal, error) {
	p := &Proposal{Denials: d, policy: policyOf(d.set)}
	for _, g := range d.list() {
		p.sort(g)
	}
	p.cut()
	for _, w := range p.wishes {
		p.place(w)
	}
	p.nameServices()
	if err := p.verify(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.Notes, func(a, b Note) int { return cmp.Compare(b.Attempts, a.Attempts) })
	return p, nil
}

// maxNames bounds the names that are proposed: those that were asked for most. Nobody
// reviews more, and policy.yaml would not hold many more.
const maxNames = 1000

// cut leaves out the names that are too many.
func (p *Proposal) cut() {
	slices.SortStableFunc(p.wishes, func(a, b *wish) int { return cmp.Compare(b.host.Attempts, a.host.Attempts) })
	n := min(len(p.wishes), maxNames)
	p.wishes, p.rest = p.wishes[:n], p.wishes[n:]
}

// policyOf is the file that the classes stand in.
func policyOf(set *policy.Set) policy.File {
	files := set.Files()
	i := slices.IndexFunc(files, func(f policy.File) bool { return f.Name == policy.FileName })
	return policy.File{Name: policy.FileName, Data: files[i].Data}
}

// sort makes a denial part of a wish, or a note.
func (p *Proposal) sort(g *Denial) {
	if why := p.against(g); why != "" {
		p.note(g, why)
		return
	}
	i := slices.IndexFunc(p.wishes, func(w *wish) bool { return w.class == g.Class && w.host.Name == g.Name })
	if i < 0 {
		i = len(p.wishes)
		p.wishes = append(p.wishes, &wish{class: g.Class, host: Host{Name: g.Name}})
	}
	w := p.wishes[i]
	w.denials = append(w.denials, g)
	w.host.merge(g.Traffic)
	if !slices.Contains(w.host.Planes, g.Plane) {
		w.host.Planes = append(w.host.Planes, g.Plane)
	}
	if !slices.Contains(w.host.Reasons, g.Decision.Reason) {
		w.host.Reasons = append(w.host.Reasons, g.Decision.Reason)
	}
	if g.Decision.Rule != nil {
		w.host.Rule = g.Decision.Rule
	}
	if g.Port != 0 && g.Proto == policy.TCP {
		w.host.Ports = append(w.host.Ports, policy.Port{Proto: policy.TCP, Number: g.Port})
	}
}

// against says why no rule is proposed for a denial; "": one is.
func (p *Proposal) against(g *Denial) string {
	rule := ""
	if r := g.Decision.Rule; r != nil {
		rule = r.Pos.String()
	}
	switch g.Decision.Reason {
	case policy.UnknownClient:
		return "its address is in no class: add its network to one"
	case policy.DeniedByPolicy:
		return "denied by " + rule + ": take that rule away if it is wrong"
	case policy.PrivateAddress:
		return "its name leads to a private address: if that is the store's own, write private: true in a rule for the name"
	case policy.IPLiteral:
		return "an address in place of a name: only names can be allowed, or networks within the store"
	case policy.NoSNI:
		return "no name was said: sni: optional in a rule allows that for a name whose address the device asked for"
	case policy.BadName, policy.NoHello, policy.NotTLS:
		return "it named no host that a rule could have"
	}
	switch {
	case g.Plane == policy.NTP:
		return "the time: with time: true in the class, the box serves it"
	case g.Name == "" && g.Plane == policy.DNS:
		return "the root: no rule is for it"
	case g.Plane != policy.Firewall || g.Name != "" && policy.CheckAddr(g.Dest) == nil && g.Proto != policy.ICMP:
		return ""
	case policy.CheckAddr(g.Dest) != nil && (g.Proto == policy.TCP || g.Port == 123):
		return fmt.Sprintf("within the store: {network: %v/%d, ports: [%v/%d]} allows it, if it is a device of the store's", g.Dest, g.Dest.BitLen(), g.Proto, g.Port)
	}
	return "an address, and no name is known for it: only names can be allowed, or networks within the store"
}

func (p *Proposal) note(g *Denial, why string) {
	p.Notes = append(p.Notes, Note{g.Target, g.Traffic, why, g})
}

// webPort is what a name is most likely asked for.
var webPort = policy.Port{Proto: policy.TCP, Number: 443}

// place gives a wish its place: what a service of another class has goes by that, else it is
// of the store's own.
func (p *Proposal) place(w *wish) {
	h := &w.host
	if h.Guessed = len(h.Ports) == 0; h.Guessed {
		h.Ports = []policy.Port{webPort}
	}
	h.Ports = sortPorts(h.Ports)
	if s := w.foreign(); s != nil {
		p.grant(w.class, s, *h)
		return
	}
	if why := caution(h.Name, h.Ports); why != "" {
		for _, g := range w.denials {
			p.note(g, why)
		}
		w.denials = nil
		return
	}
	own := Own{Class: w.class, Domain: domainOf(h.Name)}
	if known, ok := p.set.Suggest(h.Name); ok {
		own.Known, own.Domain, h.Name = &known, "", known.Host
	}
	i := slices.IndexFunc(p.Own, func(o Own) bool {
		return o.Class == own.Class && o.Domain == own.Domain && len(o.Hosts) < maxHosts &&
			(o.Known == nil) == (own.Known == nil) && (o.Known == nil || o.Known.Near == own.Known.Near)
	})
	if i < 0 {
		i = len(p.Own)
		p.Own = append(p.Own, own)
	}
	p.Own[i].put(*h)
}

// maxHosts bounds the hosts of one proposed service: nobody reviews more.
const maxHosts = 50

// foreign returns the service of other classes that has all that is wished; nil: none.
func (w *wish) foreign() *policy.Service {
	r := w.host.Rule
	if r == nil || r.Service == nil || !slices.Equal(w.host.Reasons, []policy.Reason{policy.OtherClass}) {
		return nil
	}
	for _, p := range w.host.Ports {
		if !w.host.Guessed && !r.Has(p.Proto, p.Number) {
			return nil
		}
	}
	return r.Service
}

func (p *Proposal) grant(class string, s *policy.Service, h Host) {
	i := slices.IndexFunc(p.Grants, func(g Grant) bool { return g.Class == class && g.Service == s })
	if i < 0 {
		i = len(p.Grants)
		p.Grants = append(p.Grants, Grant{Class: class, Service: s})
	}
	p.Grants[i].Hosts = append(p.Grants[i].Hosts, h)
}

// put adds a host. Several names may be of one that a pack knows.
func (o *Own) put(h Host) {
	i := slices.IndexFunc(o.Hosts, func(b Host) bool { return b.Name == h.Name })
	if i < 0 {
		o.Hosts = append(o.Hosts, h)
		return
	}
	b := &o.Hosts[i]
	if b.Guessed && !h.Guessed {
		b.Ports, b.Guessed = h.Ports, false
	} else if !h.Guessed {
		b.Ports = sortPorts(append(b.Ports, h.Ports...))
	}
	for _, plane := range h.Planes {
		if !slices.Contains(b.Planes, plane) {
			b.Planes = append(b.Planes, plane)
		}
	}
	b.merge(h.Traffic)
}

// domainOf is the registrable domain of a name, or of a public suffix itself.
func domainOf(name string) string {
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return domain
	}
	return name
}

// nameServices gives the proposed services ids that are free: local/CLASS-DOMAIN.
func (p *Proposal) nameServices() {
	taken := make(map[string]bool)
	for _, s := range p.set.Services() {
		taken[s.ID] = true
	}
	for i := range p.Own {
		o := &p.Own[i]
		word := o.Domain
		if o.Known != nil {
			_, word, _ = strings.Cut(o.Known.Near, "/")
			word = "known-" + word
		}
		for n := 1; o.ID == "" || taken[o.ID]; n++ {
			o.ID = localID(o.Class+"-"+word, n)
		}
		taken[o.ID] = true
	}
}

// localID makes a text fit to be a service's id; the n-th of the same text.
func localID(text string, n int) string {
	const maxWord = 40
	word := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, text)
	end := ""
	if n > 1 {
		end = fmt.Sprint("-", n)
	}
	return "local/" + strings.Trim(word[:min(len(word), maxWord-len(end))], "-") + end
}

// verify tries the proposal, with reasons filled in and all decided for, on what it was
// made of.
func (p *Proposal) verify() error {
	file, err := p.File("to be filled in")
	if err != nil {
		return err
	}
	files := []policy.File{file}
	for _, f := range p.set.Files() {
		if f.Name != policy.FileName {
			files = append(files, f)
		}
	}
	set, err := policy.Compile(files)
	if err != nil {
		return fmt.Errorf("adding to policy.yaml as it is written does not work: %w; write each class and service on a line of its own, and try again", err)
	}
	// A service of another class, granted whole, may allow more than what it is granted
	// for, and so what no rule would be proposed for.
	allowed := make(map[*Denial]bool)
	for _, g := range p.list() {
		if g.allowed(set, p.now) {
			allowed[g] = true
			p.Allowed += g.Attempts
		}
	}
	p.Notes = slices.DeleteFunc(p.Notes, func(n Note) bool { return allowed[n.denial] })
	for _, w := range p.rest {
		for _, g := range w.denials {
			if !allowed[g] {
				p.Unlisted += g.Attempts
			}
		}
	}
	for _, w := range p.wishes {
		for _, g := range w.denials {
			switch {
			case allowed[g]:
			case g.Plane == policy.Firewall && g.Proto == policy.UDP:
				p.note(g, "QUIC, or other UDP: it stays refused, so that devices go on by TCP")
			default:
				p.note(g, "it stays denied")
			}
		}
	}
	return nil
}
