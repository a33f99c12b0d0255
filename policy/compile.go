package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"tillgate/internal/strictyaml"
)

// A File is a policy or pack file, by its path within the folder:
// policy.yaml, or packs/NAME.yaml.
type File struct {
	Name     string
	Data     []byte
	Embedded bool // it came with the program
}

// Compile makes a set of files. What they lack is taken from the embedded ones:
// policy.yaml, and packs that it lists; a pack among the files takes the place
// of the embedded one of the same name. Packs that are not listed are checked
// too, but are not in force.
//
// The error holds all problems of all files, as strictyaml.Problems; each has a
// file and a line.
func Compile(files []File) (*Set, error) {
	c := compiler{set: &Set{}, packs: make(map[string]*packFile)}
	for _, f := range files {
		c.parse(f)
	}
	if c.policy == nil {
		c.parse(embeddedPolicy())
	}
	c.choosePacks()
	c.linkServices()
	c.boundHosts()
	if err := c.problems().Err(); err != nil {
		return nil, err
	}
	c.finish()
	return c.set, nil
}

// A compiler turns files into a set.
type compiler struct {
	set     *Set
	policy  *policyFile
	packs   map[string]*packFile // by name, in force or not
	inForce []*packFile
	other   strictyaml.Problems // than those of the documents
}

// parse reads a file on its own.
func (c *compiler) parse(f File) {
	if f.Name == FileName {
		c.policy = parsePolicy(f)
		return
	}
	name, ok := packName(f.Name)
	if !ok {
		c.other = append(c.other, strictyaml.Problem{File: f.Name, Line: 1, Column: 1,
			Message: "not the name of a pack file", Hint: "written packs/acme.yaml, in lower-case letters, digits and hyphens"})
		return
	}
	c.packs[name] = parsePack(f, name)
}

// packName takes the name of a pack from that of its file.
func packName(file string) (string, bool) {
	name, ok := strings.CutPrefix(file, packFolder+"/")
	name, yaml := strings.CutSuffix(name, ".yaml")
	_, err := parseWord(name)
	return name, ok && yaml && err == nil
}

// choosePacks finds the packs that the policy lists.
func (c *compiler) choosePacks() {
	for _, want := range c.policy.packs {
		p := c.packs[want.text]
		if p == nil {
			if f, ok := embeddedPack(want.text); ok {
				p = parsePack(f, want.text)
				c.packs[want.text] = p
			}
		}
		if p == nil {
			known := append(embeddedPackNames(), sortedKeys(c.packs)...)
			hint := strictyaml.DidYouMean(strictyaml.Near(want.text, known))
			want.node.Problem(want.text, "no such pack", cmp.Or(hint, "its file would be packs/"+want.text+".yaml"))
			continue
		}
		c.inForce = append(c.inForce, p)
	}
}

// linkServices finds the services that the classes name.
func (c *compiler) linkServices() {
	for _, p := range c.inForce {
		c.set.services = append(c.set.services, p.services...)
	}
	c.set.services = append(c.set.services, c.policy.services...)
	ids := make(map[string]bool)
	for _, s := range c.set.services {
		ids[s.ID] = true
	}
	for _, class := range c.policy.classes {
		wanted := make(map[string]bool) // ids
		seen := make(map[string]bool)   // references
		for _, ref := range class.services {
			if seen[ref.text] {
				ref.node.Problem(ref.text, "duplicate", "")
			}
			seen[ref.text] = true
			c.selectServices(ref, ids, wanted)
		}
		for _, s := range c.set.services {
			if wanted[s.ID] {
				class.Services = append(class.Services, s)
			}
		}
	}
}

// selectServices adds to wanted the services that a reference names: one by its
// id, or several by the beginning of theirs.
func (c *compiler) selectServices(ref reference, ids, wanted map[string]bool) {
	if strings.HasSuffix(ref.text, undecided) {
		ref.node.Problem(ref.text, "not decided on", "take the question mark away if the class needs it, else the service")
		return
	}
	prefix, star := strings.CutSuffix(ref.text, "*")
	if strings.Contains(prefix, "*") || !strings.Contains(prefix, "/") {
		hint := "written PACK/SERVICE, or PACK/* for several"
		for _, s := range c.set.services {
			if strings.HasSuffix(s.ID, "/"+ref.text) {
				hint = strictyaml.DidYouMean(s.ID)
			}
		}
		ref.node.Problem(ref.text, "not a service", hint)
		return
	}
	found := ids[ref.text]
	if found {
		wanted[ref.text] = true
	}
	if star {
		for _, s := range c.set.services {
			if strings.HasPrefix(s.ID, prefix) {
				wanted[s.ID], found = true, true
			}
		}
	}
	pack, _, _ := strings.Cut(prefix, "/")
	if p := c.packs[pack]; p != nil && len(p.doc.Problems()) > 0 {
		return // it may have the service once they are fixed
	}
	if !found {
		hint := ""
		if ref.node.Told() { // else looking for it would take long, for nothing
			hint = c.serviceHint(pack, prefix, star)
		}
		ref.node.Problem(ref.text, "no such service", hint)
	}
}

// serviceHint says what may have been meant by a service, or by the beginning
// of several, that does not exist.
func (c *compiler) serviceHint(pack, text string, star bool) string {
	p := c.packs[pack]
	if _, ok := embeddedPack(pack); (ok || p != nil) && !slices.Contains(c.inForce, p) {
		return "the pack " + pack + " is not in packs"
	}
	var known []string
	for _, s := range c.set.services {
		if !star {
			known = append(known, s.ID)
		} else if len(s.ID) >= len(text) {
			known = append(known, s.ID[:len(text)])
		}
	}
	near := strictyaml.Near(text, known)
	if near != "" && star {
		near += "*"
	}
	return strictyaml.DidYouMean(near)
}

// problems returns those of all documents, and the others.
func (c *compiler) problems() strictyaml.Problems {
	all := slices.Concat(c.other, c.policy.doc.Problems())
	for _, p := range c.packs {
		all = append(all, p.doc.Problems()...)
	}
	return all
}

// boundHosts keeps the cost of a decision from depending on the rules.
func (c *compiler) boundHosts() {
	count := make(map[string]int)
	for _, s := range c.set.services {
		for _, r := range s.Destinations {
			if r.Host == "" {
				continue
			}
			if count[r.Host]++; count[r.Host] == maxSameHost { // the 64th may be a deny rule
				c.other = append(c.other, strictyaml.Problem{File: r.Pos.File, Line: r.Pos.Line, Column: 1, Text: r.Host,
					Message: "the same host in more than " + strconv.Itoa(maxSameHost-1) + " services"})
			}
		}
	}
}

// finish makes the set of what was read without a problem.
func (c *compiler) finish() {
	s := c.set
	s.mode = c.policy.mode
	s.suggestions = make(map[string]*Suggestion)
	s.files = []File{c.policy.file}
	for _, p := range c.inForce {
		s.packs = append(s.packs, p.Pack)
		s.files = append(s.files, p.file)
		for _, g := range p.suggestions {
			if s.suggestions[g.Host] == nil {
				s.suggestions[g.Host] = g
			}
		}
	}
	for _, d := range c.policy.classes {
		if !d.ownMode {
			d.Mode = s.mode
		}
		s.classes = append(s.classes, d.Class)
	}
	for _, service := range s.services {
		s.rules = append(s.rules, service.Destinations...)
	}
	s.rules = append(s.rules, c.policy.deny...)
	s.hash = hashFiles(s.files)
	s.seal()
}

// hashFiles is the SHA-256 over the files, sorted by name. Each stands as its
// name and its data, both behind their length in 8 bytes, so that no two
// policies read the same.
func hashFiles(files []File) string {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, f := range files {
		for _, part := range [][]byte{[]byte(f.Name), f.Data} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write(part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
