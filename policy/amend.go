package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tillgate/internal/strictyaml"
)

// An Amendment is what is to be added to policy.yaml. Its comments are lines of printable
// text, without the #.
type Amendment struct {
	Comment  []string // at the top
	Grants   []Grant
	Services []NewService
}

// A Grant gives a class services that there are, or are added.
type Grant struct {
	Comment  []string
	Class    string
	Services []string // ids
	Asked    []string // ids that somebody is to decide on
}

// A NewService is one of the store's own, whose reason is to be filled in by somebody.
type NewService struct {
	Comment      []string
	ID           string
	Destinations []NewDestination
}

// A NewDestination is a host with its ports.
type NewDestination struct {
	Comment []string
	Host    string // in the form of [Rule.Host]
	Ports   []Port
}

// Amend returns policy.yaml with the amendment put in. The rest of it stays as it is
// written, comments and all. Each new service has the reason that is given. Without one
// it has none, and the services that are asked about have a question mark at their end: a
// policy is refused for either. The file must be good, and have its keys and
// its services written one below the other. What comes out is to be compiled.
func Amend(file File, a Amendment, reason string) (File, error) {
	e := editor{lines: strings.SplitAfter(string(file.Data), "\n")}
	classes, services, err := e.find(file)
	if err != nil {
		return File{}, err
	}
	if len(a.Comment) > 0 {
		e.before(1, comments("", a.Comment))
	}
	for _, g := range a.Grants {
		class, ok := classes[g.Class]
		if !ok {
			return File{}, fmt.Errorf("%s has no class %s", file.Name, g.Class)
		}
		e.grant(class, g, reason == "")
	}
	if len(a.Services) > 0 {
		if err := e.add(services, a.Services, reason); err != nil {
			return File{}, err
		}
	}
	return File{Name: file.Name, Data: []byte(e.text())}, nil
}

// An editor puts text between what is there. Lines and columns are those of the file as
// it was, from 1.
type editor struct {
	lines []string // each with its end
	edits []edit
}

type edit struct {
	line, column int // column 0: before the whole line
	text         string
}

// before puts whole lines before a line.
func (e *editor) before(line int, text string) { e.edits = append(e.edits, edit{line, 0, text}) }

// text is the file with all edits; those of one place stand in their order.
func (e *editor) text() string {
	slices.SortStableFunc(e.edits, func(a, b edit) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.column - b.column
	})
	var b strings.Builder
	next := 0
	for i, line := range e.lines {
		from := 0 // of the line, in characters
		rest := []rune(line)
		for ; next < len(e.edits) && e.edits[next].line == i+1; next++ {
			to := min(max(e.edits[next].column-1, 0), len(rest))
			b.WriteString(string(rest[from:to]) + e.edits[next].text)
			from = to
		}
		b.WriteString(string(rest[from:]))
	}
	if text := b.String(); next < len(e.edits) && text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteString("\n")
	}
	for ; next < len(e.edits); next++ { // below the last line
		b.WriteString(e.edits[next].text)
	}
	return b.String()
}

// indent is the white space that a line begins with. YAML knows line ends that the editor
// does not; what comes of those is no good policy, which is for the caller to see.
func (e *editor) indent(line int) string {
	if line > len(e.lines) {
		return ""
	}
	text := e.lines[line-1]
	return text[:len(text)-len(strings.TrimLeft(text, " "))]
}

// A place is a key of the file with its value.
type place struct{ key, value strictyaml.Node }

// errFlow is a file that is written in a way to which nothing can be added line by line.
var errFlow = errors.New("policy.yaml is written in one {...} or [...]; write its keys, and the list of its services, one below the other, and try again")

// find returns the classes, and the services; nil: there are none.
func (e *editor) find(file File) (classes map[string]place, services *place, err error) {
	doc := strictyaml.Parse(file.Name, file.Data)
	classes = make(map[string]place)
	doc.Read(func(root strictyaml.Node) {
		if root.IsFlow() {
			err = errFlow
			return
		}
		strictyaml.Dict(func(key, value strictyaml.Node) {
			switch name, _ := key.Text(); name {
			case "classes":
				strictyaml.Dict(func(key, value strictyaml.Node) {
					name, _ := key.Text()
					classes[name] = place{key, value}
				})(value)
			case "services":
				services = &place{key, value}
			}
		})(root)
	})
	if err == nil {
		err = doc.Problems().Err()
	}
	return classes, services, err
}

// undecided ends the id of a service that somebody is to decide on.
const undecided = "?"

// grant adds to the services of a class, before the first of them.
func (e *editor) grant(class place, g Grant, asks bool) {
	services := slices.Clone(g.Services)
	for _, id := range g.Asked {
		if asks {
			id += undecided
		}
		services = append(services, id)
	}
	var list *strictyaml.Node
	strictyaml.Dict(func(key, value strictyaml.Node) {
		if name, _ := key.Text(); name == "services" {
			list = &value
		}
	})(class.value)
	e.before(class.key.Line(), comments(e.indent(class.key.Line()), g.Comment))
	ids := strings.Join(services, ", ")
	switch {
	case list == nil && class.value.IsFlow():
		e.edits = append(e.edits, edit{class.value.Line(), class.value.Column() + 1, "services: [" + ids + "], "})
	case list == nil:
		e.before(class.value.Line(), e.indent(class.value.Line())+"services: ["+ids+"]\n")
	case list.IsFlow():
		if list.Len() > 0 {
			ids += ", "
		}
		e.edits = append(e.edits, edit{list.Line(), list.Column() + 1, ids})
	default:
		for _, id := range services {
			e.before(list.Line(), e.indent(list.Line())+"- "+id+"\n")
		}
	}
}

// add adds services before the first, or at the end of a file that has none.
func (e *editor) add(services *place, list []NewService, reason string) error {
	line, indent := len(e.lines)+1, "  "
	switch {
	case services == nil:
		e.before(line, "\nservices:\n")
	case services.value.IsFlow():
		return errFlow
	default:
		line, indent = services.key.Line()+1, e.indent(services.value.Line())
	}
	for _, s := range list {
		text := comments(indent, s.Comment) + indent + "- id: " + s.ID + "\n"
		if reason == "" {
			text += indent + "  reason: # to be filled in: why does the store need it?\n"
		} else {
			text += indent + "  reason: " + reason + "\n"
		}
		text += indent + "  destinations:\n"
		for _, d := range s.Destinations {
			text += comments(indent+"    ", d.Comment) + indent + "    - {host: " + quoteHost(d.Host) + ", ports: ["
			for i, p := range d.Ports {
				if i > 0 {
					text += ", "
				}
				text += p.String()
			}
			text += "]}\n"
		}
		e.before(line, text)
	}
	return nil
}

func comments(indent string, lines []string) string {
	text := ""
	for _, l := range lines {
		text += strings.TrimRight(indent+"# "+l, " ") + "\n"
	}
	return text
}

// quoteHost quotes what YAML would take for an alias.
func quoteHost(host string) string {
	if strings.HasPrefix(host, "*") {
		return `"` + host + `"`
	}
	return host
}
