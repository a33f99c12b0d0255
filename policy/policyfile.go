package policy

import (
	"net/netip"
	"strconv"
	"strings"

	"tillgate/internal/strictyaml"
)

const (
	// FileName is what the policy is called in its folder.
	FileName   = "policy.yaml"
	packFolder = "packs"
	maxPacks   = 64
)

// A policyFile is policy.yaml as it is written. What it says of packs and their
// services is checked when those are known.
type policyFile struct {
	file     File
	doc      *strictyaml.Document
	mode     Mode
	packs    []reference
	classes  []*classDraft
	services []*Service // the store's own
	deny     []*Rule
}

// A reference is a name in a file that stands for something in another.
type reference struct {
	text string
	node strictyaml.Node
}

// A classDraft is a class whose services are not looked up yet.
type classDraft struct {
	*Class
	services []reference
	ownMode  bool
}

func parsePolicy(f File) *policyFile {
	p := &policyFile{file: f, doc: strictyaml.Parse(f.Name, f.Data)}
	var version int
	var packs bool
	p.doc.Read(strictyaml.Map(
		strictyaml.Required("version", strictyaml.Int(&version, 1, 1)),
		strictyaml.Optional("mode", readMode(&p.mode)),
		strictyaml.Optional("packs", note(&packs, p.readPacks)),
		strictyaml.Required("classes", p.readClasses),
		strictyaml.Optional("services", p.readServices),
		strictyaml.Optional("deny", p.readDeny),
	))
	if !packs {
		p.packs = []reference{{text: defaultPack}}
	}
	return p
}

func readMode(m *Mode) strictyaml.Reader {
	return strictyaml.OneOf(m, []string{"enforce", "observe"}, []Mode{Enforce, Observe})
}

func (p *policyFile) readPacks(n strictyaml.Node) {
	seen := make(map[string]bool)
	strictyaml.List(func(item strictyaml.Node) {
		var name string
		strictyaml.Value(&name, parseWord)(item)
		switch {
		case name == "":
		case seen[name]:
			item.Problem(name, "duplicate pack", "")
		case len(p.packs) == maxPacks:
			item.Problem(name, "more than "+strconv.Itoa(maxPacks)+" packs", "")
		default:
			seen[name] = true
			p.packs = append(p.packs, reference{name, item})
		}
	})(n)
}

// readClasses reads the classes. A network or an interface of two of them would
// leave open which one a client is in.
func (p *policyFile) readClasses(n strictyaml.Node) {
	networks := make(map[netip.Prefix]string)
	interfaces := make(map[string]string)
	strictyaml.Dict(func(name, value strictyaml.Node) {
		c := &classDraft{Class: &Class{Pos: position(name)}}
		if strictyaml.Value(&c.Name, parseWord)(name); c.Name == "" {
			return
		}
		if len(p.classes) == maxClasses {
			name.Problem(c.Name, "more than "+strconv.Itoa(maxClasses)+" classes", "")
			return
		}
		var where bool
		strictyaml.Map(
			strictyaml.Optional("networks", note(&where, strictyaml.List(func(v strictyaml.Node) {
				var network netip.Prefix
				if strictyaml.Value(&network, parseNetwork)(v); !network.IsValid() {
					return
				}
				if claim(v, networks, network, c.Name) {
					c.Networks = append(c.Networks, network)
				}
			}))),
			strictyaml.Optional("interfaces", note(&where, strictyaml.List(func(v strictyaml.Node) {
				var name string
				if strictyaml.Value(&name, parseInterface)(v); name != "" && claim(v, interfaces, name, c.Name) {
					c.Interfaces = append(c.Interfaces, name)
				}
			}))),
			strictyaml.Optional("services", strictyaml.List(func(v strictyaml.Node) {
				var text string
				if strictyaml.String(&text)(v); text != "" {
					c.services = append(c.services, reference{text, v})
				}
			})),
			strictyaml.Optional("time", strictyaml.Bool(&c.Time)),
			strictyaml.Optional("mode", note(&c.ownMode, readMode(&c.Mode))),
		)(value)
		if value.IsMap() && !where {
			value.Problem("", "neither networks nor interfaces", "nothing would be in the class")
		}
		p.classes = append(p.classes, c)
	})(n)
	if n.IsMap() && n.Len() == 0 {
		n.Problem("", "must not be empty", "without a class no client may reach anything")
	}
}

// claim notes that a class has a network or an interface, or reports whose it
// is already.
func claim[K comparable](n strictyaml.Node, owners map[K]string, key K, class string) bool {
	text, _ := n.Text()
	switch owner, taken := owners[key]; {
	case !taken:
		owners[key] = class
		return true
	case owner == class:
		n.Problem(text, "duplicate", "")
	default:
		n.Problem(text, "already in class "+owner, "a client can be in one class only")
	}
	return false
}

// parseInterface checks the name of a network interface as Linux does.
func parseInterface(text string) (string, error) {
	if text == "" || len(text) > 15 || text == "." || text == ".." || strings.ContainsAny(text, "/: \t\n") {
		return "", strictyaml.Problem{Message: "not the name of an interface", Hint: "written eth0.20, at most 15 letters"}
	}
	return text, nil
}

// readServices reads the store's own services.
func (p *policyFile) readServices(n strictyaml.Node) {
	seen := make(map[string]bool)
	strictyaml.List(func(item strictyaml.Node) {
		s := &Service{Pos: position(item), Requirement: Optional}
		strictyaml.Map(
			strictyaml.Required("id", func(v strictyaml.Node) {
				strictyaml.Value(&s.ID, parseLocalID)(v)
				unique(v, seen, s.ID, "")
			}),
			strictyaml.Required("reason", readReason(&s.Reason)),
			strictyaml.Optional("until", strictyaml.Time(&s.Until)),
			strictyaml.Required("destinations", readDestinations(s)),
		)(item)
		p.services = append(p.services, s)
	})(n)
}

// readReason reads why the store needs a service.
func readReason(reason *string) strictyaml.Reader {
	return func(n strictyaml.Node) {
		if n.IsNull() { // as policy suggest leaves it
			n.Problem("", "no reason", "write why the store needs this service, in your own words")
			return
		}
		strictyaml.String(reason)(n)
	}
}

// parseLocalID checks local/NAME.
func parseLocalID(text string) (string, error) {
	name, ok := strings.CutPrefix(text, localPack+"/")
	if !ok {
		_, name, _ = strings.Cut("/"+text, "/")
		name = name[strings.LastIndexByte(name, '/')+1:]
		return "", strictyaml.Problem{Message: "a service of the store's own begins with local/",
			Hint: strictyaml.DidYouMean(localPack + "/" + name)}
	}
	if _, err := parseWord(name); err != nil {
		return "", err
	}
	return text, nil
}

func (p *policyFile) readDeny(n strictyaml.Node) {
	seen := make(map[string]bool)
	strictyaml.List(func(item strictyaml.Node) {
		r := &Rule{Pos: position(item)}
		strictyaml.Map(strictyaml.Required("host", func(v strictyaml.Node) {
			strictyaml.Value(&r.Host, HostPattern)(v)
			unique(v, seen, r.Host, "")
		}))(item)
		if r.Host != "" {
			p.deny = append(p.deny, r)
		}
	})(n)
}
