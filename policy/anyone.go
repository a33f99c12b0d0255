package policy

import "time"

// AnyoneMay reports whether a client of some class may resolve a canonical name at now
// (trusted time, or zero). It is for what the box does by itself, for nobody in particular.
func (s *Set) AnyoneMay(name string, now time.Time) bool {
	var all uint64
	var timed bool // some class has it
	for _, c := range s.classes {
		if c.Mode == Observe {
			return true
		}
		all |= c.bit
		timed = timed || c.Time
	}
	f := s.index.find(&Request{Plane: DNS, Name: name, Now: now}, all)
	return f.deny == nil && (f.best >= allowed || timed && isTimeName(name))
}
