package main

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// maxTold is how many answers are remembered while a log is written.
const maxTold = 4096

// A story remembers which addresses clients were given for which names, so that what
// comes later, and has only an address, can be read as one thing with what came before.
type story struct {
	told  map[telling]answer
	order []telling // those of told; full, it is a ring
	next  int       // of a full order: the oldest
}

type telling struct{ client, addr netip.Addr }

type answer struct {
	name string
	at   time.Time
}

func newStory() *story { return &story{told: make(map[telling]answer)} }

// hear takes in a record. They come oldest first.
func (s *story) hear(r *decision.Record) {
	if r.Plane != policy.DNS || r.Verdict == policy.Deny {
		return
	}
	for _, addr := range r.Answers {
		t := telling{r.Client, addr.Unmap()}
		if _, ok := s.told[t]; !ok {
			s.remember(t)
		}
		s.told[t] = answer{r.Name, r.Time}
	}
}

// remember keeps a telling, in place of the oldest where there is no room.
func (s *story) remember(t telling) {
	if len(s.order) < maxTold {
		s.order = append(s.order, t)
		return
	}
	delete(s.told, s.order[s.next])
	s.order[s.next] = t
	s.next = (s.next + 1) % maxTold
}

// whereTo is the address that a connection led to, or that was blocked, with the answer
// that the client had it from.
func (s *story) whereTo(r *decision.Record) string {
	addr := r.Dest.Addr().Unmap()
	if !addr.IsValid() || r.Event != "" {
		return ""
	}
	text := "to " + addr.String()
	from, ok := s.told[telling{r.Client, addr}]
	ago := r.Time.Sub(from.at)
	if !ok || ago < 0 {
		if r.Name == "" {
			return "" // it stands where the name would
		}
		return text
	}
	if r.DestNames() != nil {
		text = printable(r.Detail) // the box knew it, too
	} else if r.Name == "" {
		text = addr.String() + " is " + printable(from.name)
	}
	if ago < time.Second {
		text += ", answered just before"
	} else {
		text += ", answered " + roughly(ago) + " before"
	}
	if r.Name != "" && r.Name != from.name {
		text += " for " + printable(from.name)
	}
	return text
}

// nameOf is the name that a client was given a record's destination for; none where that is
// not known, or the record has a name of its own.
func (s *story) nameOf(r *decision.Record) string {
	if r.Name != "" || !r.Dest.IsValid() {
		return ""
	}
	return s.told[telling{r.Client, r.Dest.Addr().Unmap()}].name
}

// isAbout reports whether a record is of an attempt on a name: it has the name, or an
// address that the client was given for it.
func (s *story) isAbout(r *decision.Record, name string) bool {
	if r.Name != "" || !r.Dest.IsValid() {
		return r.Name == name
	}
	from, ok := s.told[telling{r.Client, r.Dest.Addr().Unmap()}]
	return ok && from.name == name || slices.Contains(r.DestNames(), name)
}

// maxShown is how many addresses of an answer are shown.
const maxShown = 2

// answers are the addresses that a client was given.
func answers(r *decision.Record) string {
	text := ""
	for i, addr := range r.Answers[:min(len(r.Answers), maxShown)] {
		if i > 0 {
			text += ", "
		}
		text += addr.String()
	}
	if more := len(r.Answers) - maxShown; more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	return text
}
