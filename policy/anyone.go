package policy

import "time"

// AnyoneMay reports whether a client of some class may resolve a canonical name at now
// (trusted time, or zero), and whether that is one that is steered for all of them (see
// [Decision]). It is for what the box does by itself, for nobody in particular.
func (s *Set) AnyoneMay(name string, now time.Time) (may, steered bool) {
	var all uint64
	var timed bool // some class has it
	for _, c := range s.classes {
		if c.Mode == Observe {
			return true, false
		}
		all |= c.bit
		timed = timed || c.Time
	}
	f := s.index.find(&Request{Plane: DNS, Name: name, Now: now}, all)
	switch {
	case f.deny != nil:
		return false, false
	case f.best >= allowed:
		return true, f.time && !f.web
	}
	builtIn := timed && isTimeName(name)
	return builtIn, builtIn
}
