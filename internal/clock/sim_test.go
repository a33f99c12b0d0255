package clock

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// A sim is a world of which the truth is known: a machine with an oscillator that
// drifts and wanders, and time servers some way off.
type sim struct {
	t       testing.TB
	rand    *rand.Rand
	truth   time.Time
	raw     time.Duration
	wall    time.Duration // the system's clock less the truth
	drift   float64       // seconds of truth that a second of raw lacks
	wander  float64       // bound of how far drift goes from home
	home    float64
	leapAt  time.Time     // when the truth makes leap
	leap    time.Duration // -1 s: a second is inserted
	lied    bool          // most of the servers lie: no bound can hold
	clock   *Clock
	changes []Change
	servers []*simServer
}

// A simServer is a time server. It is honest if its error is within what it tells of
// it: half its root delay and its root dispersion.
type simServer struct {
	addr            netip.Addr
	name            string
	wrong           time.Duration // its time less the truth
	out, back       time.Duration // the least delays each way
	jitter          time.Duration // added to each, up to this
	rootDelay, root time.Duration
	leap            Leap
	stratum         uint8
}

func newSim(t testing.TB, seed uint64, truth string, cfg Config) *sim {
	s := &sim{t: t, rand: rand.New(rand.NewPCG(seed, 1)), truth: date(t, truth), raw: 20 * time.Second}
	cfg.Machine = Machine{Raw: func() time.Duration { return s.raw }, Wall: func() time.Time { return s.truth.Add(s.wall) }}
	s.clock = New(cfg)
	s.clock.OnChange(func(c Change) { s.changes = append(s.changes, c) })
	return s
}

func date(t testing.TB, text string) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateTime, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// add makes n servers, each wrong by so much.
func (s *sim) add(wrong ...time.Duration) {
	for _, w := range wrong {
		n := len(s.servers) + 1
		s.servers = append(s.servers, &simServer{addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), name: fmt.Sprintf("t%d.example", n),
			wrong: w, out: 10 * time.Millisecond, back: 10 * time.Millisecond, root: 5 * time.Millisecond, stratum: 2})
	}
	s.clock.SetServers(len(s.servers))
}

// pass lets time pass.
func (s *sim) pass(d time.Duration) {
	const step = time.Minute
	for d > 0 {
		part := min(d, step)
		if s.wander > 0 {
			s.drift += (s.rand.Float64() - 0.5) * 2e-7
			s.drift = min(max(s.drift, s.home-s.wander), s.home+s.wander)
		}
		s.sleep(part)
		s.raw += part - scale(part, s.drift)
		d -= part
	}
}

// sleep lets time pass of which the machine knows nothing.
func (s *sim) sleep(d time.Duration) {
	before := s.truth
	s.truth = s.truth.Add(d)
	if s.leap != 0 && before.Before(s.leapAt) && !s.truth.Before(s.leapAt) {
		s.truth, s.leap = s.truth.Add(s.leap), 0
	}
}

func (s *sim) random(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.rand.Int64N(int64(d)))
}

// ask has one exchange with a server.
func (s *sim) ask(server *simServer) Sample {
	begin := s.raw
	s.pass(server.out + s.random(server.jitter))
	their := s.truth.Add(server.wrong)
	s.pass(server.back + s.random(server.jitter))
	delay := s.raw - begin
	return Sample{Server: server.addr, Name: server.name, Raw: s.raw, Time: their.Add(delay / 2), Delay: delay,
		RootDelay: server.rootDelay, RootDispersion: server.root, Precision: time.Microsecond, Stratum: server.stratum, Leap: server.leap}
}

// poll asks every server once, within some seconds, and takes in what they say.
func (s *sim) poll() (again bool) {
	for _, server := range s.servers {
		if s.clock.Observe(s.ask(server)) {
			again = true
		}
		s.honest()
		s.pass(s.random(2 * time.Second))
		s.honest()
	}
	return again
}

// off is what the clock is wrong by.
func (s *sim) off() time.Duration { return s.clock.Now().Sub(s.truth) }

// honest fails unless the truth is inside of the bound.
func (s *sim) honest() {
	s.t.Helper()
	e := s.clock.Estimate()
	if e.Stratum == 0 || s.lied {
		return
	}
	if off, bound := e.At(s.raw).Sub(s.truth).Abs(), e.Error(s.raw); off > bound {
		s.t.Fatalf("at %v: wrong by %v, but the bound is %v", s.truth, off, bound)
	}
	if told := e.RootDelay()/2 + e.RootDispersion(s.raw); told < e.Error(s.raw) {
		s.t.Fatalf("at %v: root distance %v is less than the error %v", s.truth, told, e.Error(s.raw))
	}
}

// level fails unless the clock is at it.
func (s *sim) level(want Level) {
	s.t.Helper()
	s.clock.Check()
	if got := s.clock.Level(); got != want {
		s.t.Fatalf("at %v: level %v (%s), want %v", s.truth, got, s.clock.Why(), want)
	}
}

// told returns the changes of a kind since it was last asked for any.
func (s *sim) told(kind Kind) (of []Change) {
	for _, c := range s.changes {
		if c.Kind == kind {
			of = append(of, c)
		}
	}
	s.changes = nil
	return of
}
