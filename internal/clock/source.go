package clock

import (
	"crypto/md5"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxSources is how many servers are kept apart; those beyond are not heard.
	maxSources = 32
	// staleAfter is how long a server counts after its last answer: three polls at
	// the longest interval and a bit.
	staleAfter = time.Hour
	// maxDistance is the error above which a server proves nothing (RFC 5905 MAXDIST,
	// as the reference implementation has it).
	maxDistance = 1500 * time.Millisecond
)

// Sample is what one exchange with a server says.
type Sample struct {
	Server netip.Addr
	Name   string        // that led to it
	Raw    time.Duration // when its answer came, by [Clock.Raw]
	Time   time.Time     // true time then, as this server has it
	Delay  time.Duration // round trip, without the server's own time

	// As in the packet (RFC 5905 §7.3), Precision as a time.
	RootDelay, RootDispersion, Precision time.Duration
	Stratum                              uint8
	Leap                                 Leap
	RefID                                uint32
	RefTime                              time.Time
}

// SourceState is what is held of a server.
type SourceState uint8

// The states.
const (
	Pending     SourceState = iota // too few agree to tell, or its first samples contradict
	Chosen                         // the time rests on it
	FalseTicker                    // contradicts the quorum
	Unfit                          // not synchronised, or too far to prove anything
	Silent                         // has not answered for long
	Disbelieved                    // agrees with a quorum that was refused
)

var sourceStates = [...]string{"pending", "chosen", "falseticker", "unfit", "silent", "refused"}

func (s SourceState) String() string { return sourceStates[s] }

// Source is a server as the clock has it.
type Source struct {
	Server   netip.Addr
	Name     string
	State    SourceState
	Why      string // for Unfit and Disbelieved
	Stratum  uint8
	Age      time.Duration // since its last sample
	Offset   time.Duration // its time less ours
	Distance time.Duration // bound of the error of its time
	Delay    time.Duration // round trip of the sample that counts
	Samples  int
}

// A source is a server that answered.
type source struct {
	last   Sample
	leap   Leap
	filter filter
	state  SourceState
	unfit  string // why its last sample is not used; empty: it is
}

func (s *source) label() string {
	if s.last.Name == "" || s.last.Name == s.last.Server.String() {
		return s.last.Server.String()
	}
	return s.last.Server.String() + " (" + s.last.Name + ")"
}

// interval is where the server says that the offset is at now; not ok if it has
// nothing to say.
func (s *source) interval(now time.Duration, d *drift) (v interval, ok bool) {
	if s.unfit != "" || now-s.filter.last() > staleAfter {
		return interval{}, false
	}
	r, ok := s.filter.best(now, d)
	distance := r.distance(now, d)
	if !ok || distance > maxDistance {
		return interval{}, false
	}
	mid := r.offsetAt(now, d)
	return interval{mid - int64(distance), mid, mid + int64(distance)}, true
}

// settle is what is held of a source that has nothing to say.
func (s *source) settle(now time.Duration) {
	s.state = Unfit
	if s.unfit == "" && now-s.filter.last() > staleAfter {
		s.state = Silent
	}
}

// refID is how a server is named to those who ask us (RFC 5905 §7.3).
func refID(addr netip.Addr) uint32 {
	addr = addr.Unmap()
	if addr.Is4() {
		b := addr.As4()
		return binary.BigEndian.Uint32(b[:])
	}
	b := addr.As16()
	sum := md5.Sum(b[:])
	return binary.BigEndian.Uint32(sum[:4])
}

// Sources returns what is held of each server, by address.
func (c *Clock) Sources() []Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.machine.raw()
	ours := c.Now()
	var all []Source
	for _, s := range c.sources {
		out := Source{Server: s.last.Server, Name: s.last.Name, State: s.state, Why: s.unfit,
			Stratum: s.last.Stratum, Age: now - s.last.Raw, Samples: len(s.filter.readings)}
		if r, ok := s.filter.best(now, &c.drift); ok {
			out.Distance, out.Delay = r.distance(now, &c.drift), r.delay
			out.Offset = time.Unix(0, r.offsetAt(now, &c.drift)).Add(now).Sub(ours)
		}
		switch {
		case s.state == Disbelieved:
			out.Why = c.refusal
		case s.state == Unfit && out.Why == "":
			out.Why = "its error may be above " + maxDistance.String()
		}
		if s.state != Unfit && out.Age > staleAfter {
			out.State = Silent
		}
		all = append(all, out)
	}
	slices.SortFunc(all, func(a, b Source) int { return a.Server.Compare(b.Server) })
	return all
}

// Forget drops a server that is not asked any more. The estimate that it had a part
// in stays, and ages.
func (c *Clock) Forget(server netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sources, server.Unmap())
}
