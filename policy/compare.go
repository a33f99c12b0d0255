package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The kinds of things in which two policies can differ.
const (
	KindMode       = "mode"
	KindPack       = "pack"
	KindClass      = "class"
	KindService    = "service"
	KindRule       = "rule"
	KindDeny       = "deny"
	KindSuggestion = "suggestion"
)

// A Difference is one thing that two policies do not have alike.
type Difference struct {
	Kind     string
	Name     string // of a rule its host or network
	Service  string // of a rule
	Old, New Pos    // where it stands; without a file where it does not
	NoMore   []string
	Now      []string // what is said of it; of one that came or went, all that is
}

// Added reports whether the old policy does not have the thing.
func (d Difference) Added() bool { return d.Old.File == "" }

// Removed reports whether the new policy does not have the thing.
func (d Difference) Removed() bool { return d.New.File == "" }

// Compare returns what differs from one policy to another: kind by kind, in order of
// names. Rules come with the classes that may use them. Where a thing stands in its file
// is no difference.
func Compare(old, new *Set) []Difference {
	var d differences
	d.add(KindMode, describeMode(old), describeMode(new))
	d.add(KindPack, describePacks(old), describePacks(new))
	d.add(KindClass, describeClasses(old), describeClasses(new))
	d.add(KindService, describeServices(old), describeServices(new))
	d.add(KindRule, describeRules(old), describeRules(new))
	d.add(KindDeny, describeDeny(old), describeDeny(new))
	d.add(KindSuggestion, describeSuggestions(old), describeSuggestions(new))
	return d
}

type differences []Difference

// add adds the things of one kind that differ.
func (d *differences) add(kind string, old, new description) {
	both := maps.Clone(old)
	maps.Copy(both, new)
	for _, key := range sortedKeys(both) {
		before, after := old[key], new[key]
		e := Difference{Kind: kind, Name: both[key].name, Service: both[key].service, Old: before.pos, New: after.pos}
		for _, f := range before.facts {
			if !slices.Contains(after.facts, f) {
				e.NoMore = append(e.NoMore, f)
			}
		}
		for _, f := range after.facts {
			if !slices.Contains(before.facts, f) {
				e.Now = append(e.Now, f)
			}
		}
		if e.Added() || e.Removed() || e.NoMore != nil || e.Now != nil {
			*d = append(*d, e)
		}
	}
}

// A description is what there is to say of each thing of one kind, by name.
type description map[string]thing

type thing struct {
	name, service string
	pos           Pos
	facts         []string // sorted, none twice
}

func (d description) put(name string, pos Pos, facts ...string) {
	d[name] = thing{name: name, pos: pos, facts: tidy(facts)}
}

// tidy sorts facts, and drops what is empty or there twice.
func tidy(facts []string) []string {
	facts = slices.DeleteFunc(facts, func(f string) bool { return f == "" })
	slices.Sort(facts)
	return slices.Compact(facts)
}

func describeMode(s *Set) description {
	d := make(description)
	d.put("mode", Pos{File: FileName}, s.mode.String())
	return d
}

func describePacks(s *Set) description {
	d := make(description)
	for _, p := range s.packs {
		origin := "from the folder"
		if p.Embedded {
			origin = "the embedded one"
		}
		d.put(p.Name, Pos{File: packFolder + "/" + p.Name + ".yaml"}, origin, "title "+p.Title, "source "+p.Source)
	}
	return d
}

func describeClasses(s *Set) description {
	d := make(description)
	for _, c := range s.classes {
		list := []string{"mode " + c.Mode.String()}
		for _, n := range c.Networks {
			list = append(list, "network "+n.String())
		}
		for _, i := range c.Interfaces {
			list = append(list, "interface "+i)
		}
		for _, service := range c.Services {
			list = append(list, "service "+service.ID)
		}
		if c.Time {
			list = append(list, "time")
		}
		d.put(c.Name, c.Pos, list...)
	}
	return d
}

// describeServices leaves out the rules.
func describeServices(s *Set) description {
	d := make(description)
	for _, service := range s.services {
		d.put(service.ID, service.Pos, service.facts()...)
	}
	return d
}

// describeWhole has a service's rules among its facts.
func describeWhole(s *Set) description {
	d := make(description)
	for _, service := range s.services {
		list := service.facts()
		for _, r := range service.Destinations {
			list = append(list, r.String())
		}
		d.put(service.ID, service.Pos, list...)
	}
	return d
}

func (s *Service) facts() []string {
	list := []string{"requirement " + s.Requirement.String(), "title " + s.Title}
	if s.Local() {
		list = []string{"reason " + s.Reason}
	}
	if s.Row != 0 {
		list = append(list, fmt.Sprintf("row %d", s.Row))
	}
	if !s.Until.IsZero() {
		list = append(list, "until "+s.Until.UTC().Format(time.RFC3339))
	}
	for _, f := range s.For {
		list = append(list, "for "+f)
	}
	for _, p := range s.Purpose {
		list = append(list, "purpose "+p)
	}
	return list
}

// describeRules has each rule of each service, and the classes that may use it.
func describeRules(s *Set) description {
	d := make(description)
	for _, r := range s.rules {
		if r.Service == nil {
			continue
		}
		name, more, _ := strings.Cut(r.String(), " ")
		list := strings.Split(more, " ")
		if r.SNIOptional { // the one fact of two words
			list = append(list[:len(list)-2], "sni optional")
		}
		for _, c := range s.classes {
			if r.classes&c.bit != 0 {
				list = append(list, "class "+c.Name)
			}
		}
		d[r.Service.ID+" "+name] = thing{name: name, service: r.Service.ID, pos: r.Pos, facts: tidy(list)}
	}
	return d
}

func describeDeny(s *Set) description {
	d := make(description)
	for _, r := range s.rules {
		if r.Service == nil {
			d.put(r.Host, r.Pos)
		}
	}
	return d
}

func describeSuggestions(s *Set) description {
	d := make(description)
	for _, g := range s.suggestions {
		d.put(g.Host, g.Pos, "near "+g.Near, "why "+g.Why)
	}
	return d
}
