package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxObserve bounds how long a class may be let through by [Store.Observe]. What is to
// last longer belongs into policy.yaml, where it is read again and again.
const MaxObserve = 24 * time.Hour

// maxReason bounds the reason of an observation, in bytes.
const maxReason = 400

// An ObserveRequest asks for a class to be let through for a while.
type ObserveRequest struct {
	Class  string
	For    time.Duration // at most [MaxObserve]; zero ends what is under way
	Reason string        // an auditor asks for it; not needed for an end
	By     string        // who asks
}

// An Observation lets a class through, as if the files had it in mode observe. There is
// one of a class at most.
type Observation struct {
	Class  string
	Reason string
	By     string // who asked for it
	Since  time.Time
	Until  time.Time

	from   time.Time // Since by Go's monotonic time, which never steps
	length time.Duration
}

// left is how long the observation may still go on: by whichever of the two clocks ends it
// first. The one that people read goes on while a machine sleeps; when it is set forward,
// the observation ends early, which is the safe side.
func (o Observation) left(now time.Time) time.Duration {
	return min(o.length-time.Since(o.from), o.Until.Sub(now))
}

// Ended says that the observation has ended, and why, for a record.
func (o Observation) Ended(why string) string {
	return fmt.Sprintf("observing class %s (%s) has ended after %v: %s", o.Class, o.Reason, time.Since(o.from).Round(time.Second), why)
}

// begun says that the observation has begun, for a record.
func (o Observation) begun() string {
	return fmt.Sprintf("class %s is observed until %s: %s", o.Class, o.Until.UTC().Format(time.RFC3339), o.Reason)
}

// observe returns the set with these classes in mode observe. What the files say is the
// same, and so are hash and rules.
func (s *Set) observe(list []Observation) *Set {
	observed := *s
	observed.classes = slices.Clone(s.classes)
	for i, c := range s.classes {
		if c.Mode != Observe && slices.ContainsFunc(list, func(o Observation) bool { return o.Class == c.Name }) {
			class := *c
			class.Mode = Observe
			observed.classes[i] = &class
		}
	}
	if slices.Equal(observed.classes, s.classes) {
		return s
	}
	observed.clients = newClients(observed.classes)
	return &observed
}

// An asked is an ObserveRequest on its way to the goroutine in Serve.
type asked struct {
	ObserveRequest
	answer chan<- answered // has room for it
}

type answered struct {
	o   Observation
	err error
}

// errNotServed is when nobody would end what is begun.
var errNotServed = errors.New("the box is stopping")

// Observe puts a class in mode observe for a while, or ends that, and returns what it
// began or ended. It is in force when Observe returns, and over at the latest when the box
// stops; the files may change meanwhile. It waits for [Store.Serve], which ends it.
func (s *Store) Observe(ctx context.Context, r ObserveRequest) (Observation, error) {
	answer := make(chan answered, 1)
	select {
	case s.asked <- asked{r, answer}:
	case <-s.served:
		return Observation{}, errNotServed
	case <-ctx.Done():
		return Observation{}, context.Cause(ctx)
	}
	a := <-answer // whoever takes a question answers it
	return a.o, a.err
}

// Observations returns what is under way, in the order of its beginning.
func (s *Store) Observations() []Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.observed
}

// answer does what an ObserveRequest asks for.
func (s *Store) answer(r ObserveRequest) (Observation, error) {
	if r.For == 0 {
		return s.endObserve(r)
	}
	return s.beginObserve(r)
}

func (s *Store) beginObserve(r ObserveRequest) (Observation, error) {
	now := s.config.Now().Round(0)
	o := Observation{Class: r.Class, Reason: strings.TrimSpace(r.Reason), By: r.By,
		Since: now, Until: now.Add(r.For), from: time.Now(), length: r.For}
	class := s.files.classNamed(r.Class)
	switch {
	case class == nil:
		return o, s.noClass(r.Class)
	case class.Mode == Observe:
		return o, fmt.Errorf("class %s is observed already, by %v", class.Name, class.Pos)
	case r.For < 0 || r.For > MaxObserve:
		return o, fmt.Errorf("a class can be observed for at most %v; for longer, write mode: observe into %s", MaxObserve, FileName)
	case o.Reason == "":
		return o, errors.New("a reason is missing, which an auditor asks for")
	case len(o.Reason) > maxReason || !utf8.ValidString(o.Reason):
		return o, fmt.Errorf("the reason is not text of at most %d bytes", maxReason)
	}
	list := slices.DeleteFunc(slices.Clone(s.observed), func(b Observation) bool { return b.Class == o.Class })
	s.putObserved(append(list, o), o.Class, o.By, o.begun())
	return o, nil
}

func (s *Store) endObserve(r ObserveRequest) (Observation, error) {
	i := slices.IndexFunc(s.observed, func(o Observation) bool { return o.Class == r.Class })
	if i < 0 {
		switch class := s.files.classNamed(r.Class); {
		case class == nil:
			return Observation{}, s.noClass(r.Class)
		case class.Mode == Observe:
			return Observation{}, fmt.Errorf("class %s is observed by %v; it ends there", class.Name, class.Pos)
		}
		return Observation{}, fmt.Errorf("class %s is not observed", r.Class)
	}
	o := s.observed[i]
	s.dropObserved(i, r.By, "ended early")
	return o, nil
}

func (s *Store) noClass(name string) error {
	names := make([]string, len(s.files.classes))
	for i, c := range s.files.classes {
		names[i] = c.Name
	}
	return fmt.Errorf("the policy has no class %q; it has %s", name, strings.Join(names, ", "))
}

func (s *Set) classNamed(name string) *Class {
	for _, c := range s.classes {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// endOver ends what has run out, and returns how long it is until the next; zero: there
// is none.
func (s *Store) endOver() (next time.Duration) {
	now := s.config.Now()
	for i := 0; i < len(s.observed); {
		left := s.observed[i].left(now)
		if left <= 0 {
			s.dropObserved(i, "until", "its time is over")
			continue
		}
		if next == 0 || left < next {
			next = left
		}
		i++
	}
	return next
}

// endVanished ends the observations of classes that the files no longer have.
func (s *Store) endVanished(by Cause) {
	for i := 0; i < len(s.observed); {
		if s.files.classNamed(s.observed[i].Class) == nil {
			s.dropObserved(i, string(by), "the policy has no such class any more")
			continue
		}
		i++
	}
}

// dropObserved ends the i-th observation.
func (s *Store) dropObserved(i int, by, why string) {
	o := s.observed[i]
	s.putObserved(slices.Delete(slices.Clone(s.observed), i, i+1), o.Class, by, o.Ended(why))
}

// putObserved puts in force what is to be observed from now on, and tells that.
func (s *Store) putObserved(list []Observation, class, by, what string) {
	s.mu.Lock()
	s.observed = list // never changed in place: others may be reading it
	s.mu.Unlock()
	old := s.set.Load()
	s.set.Store(s.files.observe(list))
	s.tell(Change{Cause: CauseObserve, By: by, Class: class, Old: old, New: s.set.Load(), Summary: []string{what}})
}
