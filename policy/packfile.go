package policy

import (
	"strings"

	"tillgate/internal/strictyaml"
)

// localPack is what the store's own services have for a pack.
const localPack = "local"

// A packFile is a pack as its file has it.
type packFile struct {
	Pack
	file        File
	doc         *strictyaml.Document
	services    []*Service
	suggestions []*Suggestion
}

// parsePack reads a pack, which must have the name of its file.
func parsePack(f File, name string) *packFile {
	p := &packFile{file: f, doc: strictyaml.Parse(f.Name, f.Data), Pack: Pack{Embedded: f.Embedded}}
	seen := make(map[string]bool)  // services
	hosts := make(map[string]bool) // suggestions
	var near []strictyaml.Node     // of the suggestions
	p.doc.Read(strictyaml.Map(
		strictyaml.Required("pack", func(n strictyaml.Node) {
			strictyaml.Value(&p.Name, parseWord)(n)
			switch {
			case p.Name == localPack:
				n.Problem(p.Name, "is the name of the store's own services", "choose another, also for the file")
			case p.Name != "" && p.Name != name:
				n.Problem(p.Name, "not the name of the file", strictyaml.DidYouMean(name))
			}
		}),
		strictyaml.Required("title", strictyaml.String(&p.Title)),
		strictyaml.Required("source", strictyaml.String(&p.Source)),
		strictyaml.Required("services", strictyaml.List(func(n strictyaml.Node) {
			s := &Service{Pos: position(n)}
			strictyaml.Map(
				strictyaml.Required("id", func(v strictyaml.Node) {
					var id string
					if strictyaml.Value(&id, parseWord)(v); id == "" {
						return
					}
					unique(v, seen, id, "")
					s.ID = name + "/" + id
				}),
				strictyaml.Optional("row", strictyaml.Int(&s.Row, 1, 9999)),
				strictyaml.Required("title", strictyaml.String(&s.Title)),
				strictyaml.Optional("for", strictyaml.Each(&s.For, parseWord)),
				strictyaml.Required("requirement", strictyaml.OneOf(&s.Requirement, requirementNames[:],
					[]Requirement{Required, Optional, Conditional})),
				strictyaml.Required("purpose", func(v strictyaml.Node) {
					strictyaml.Each(&s.Purpose, parseText)(v)
					if v.IsList() && v.Len() == 0 {
						v.Problem("", "must not be empty", "an auditor asks what it is for")
					}
				}),
				strictyaml.Required("destinations", readDestinations(s)),
			)(n)
			p.services = append(p.services, s)
		})),
		strictyaml.Optional("suggestions", strictyaml.List(func(n strictyaml.Node) {
			s := &Suggestion{Pos: position(n)}
			strictyaml.Map(
				strictyaml.Required("host", func(v strictyaml.Node) {
					strictyaml.Value(&s.Host, HostPattern)(v)
					unique(v, hosts, s.Host, "")
				}),
				strictyaml.Required("near", func(v strictyaml.Node) {
					if strictyaml.String(&s.Near)(v); s.Near != "" {
						near = append(near, v)
					}
				}),
				strictyaml.Required("why", strictyaml.String(&s.Why)),
			)(n)
			p.suggestions = append(p.suggestions, s)
		})),
	))
	p.Name = name
	p.checkNear(near)
	return p
}

// checkNear checks that suggestions go with services of the pack.
func (p *packFile) checkNear(near []strictyaml.Node) {
	ids := make([]string, len(p.services))
	known := make(map[string]bool, len(p.services))
	for i, s := range p.services {
		ids[i], known[s.ID] = s.ID, true
	}
	for _, n := range near {
		id, _ := n.Text()
		if known[id] {
			continue
		}
		hint := ""
		if n.Told() { // else looking for it would take long, for nothing
			hint = strictyaml.DidYouMean(strictyaml.Near(id, ids))
		}
		n.Problem(id, "no service of this pack", hint)
	}
}

// parseText takes any text that is not empty.
func parseText(text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", strictyaml.Problem{Message: "must not be empty"}
	}
	return text, nil
}
