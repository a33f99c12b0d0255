package ntprelay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/internal/clock"
	"tillgate/policy"
)

// A world is one of which the truth is known: a relay on a machine whose oscillator
// drifts, and time servers some way off. Its time is that of the test's bubble.
type world struct {
	t       testing.TB
	relay   *Relay
	set     *policy.Set
	records records
	begin   time.Time // of the bubble
	stop    context.CancelFunc
	done    chan error

	mu       sync.Mutex
	rand     *rand.Rand
	truth0   time.Time     // the truth when the bubble began
	ppm      float64       // what raw gains on the truth
	gained   time.Duration // by raw, until since
	since    time.Duration
	slept    time.Duration
	wall     time.Duration // the system's clock less the truth
	leapAt   time.Time     // a second is inserted here
	servers  map[netip.Addr]*remoteServer
	names    map[string][]netip.Addr
	lookups  map[string]int
	netDown  bool
	dnsDown  bool
	asked    int           // exchanges under way
	mostly   int           // the most that ever were
	answers  int           // that the relay gave and that were right
	unsynced int           // that said that there is no time
	worst    time.Duration // error of those
	wrong    bool          // no bound holds: it can't be known yet
}

// A remoteServer is a time server of a world.
type remoteServer struct {
	wrong     time.Duration // its time less the truth
	out, back time.Duration // the least delays each way
	jitter    time.Duration // added to each, up to this
	dead      bool
	kiss      *kissError
	leap      clock.Leap
	at        []time.Duration // when it was asked, since the bubble began
}

var errNoRoute = errors.New("network is unreachable")

// newWorld makes a world in which it is the time given, with the servers named.
func newWorld(t testing.TB, truth string, cfg Config) *world {
	t.Helper()
	begin, err := time.Parse(time.DateTime, truth)
	if err != nil {
		t.Fatal(err)
	}
	set, err := testSet()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, set: set, begin: time.Now(), truth0: begin, rand: rand.New(rand.NewPCG(7, 7)), ppm: 40,
		servers: make(map[netip.Addr]*remoteServer), names: make(map[string][]netip.Addr), lookups: make(map[string]int)}
	c := clock.New(clock.Config{Machine: clock.Machine{Raw: w.raw, Wall: w.wallTime}})
	w.relay, err = New(cfg, Deps{
		Policy:  func() *policy.Set { return w.set },
		Clock:   c,
		Lookup:  w.lookup,
		Records: &w.records,
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	p := w.relay.poller
	p.ask, p.random = w.ask, w.random
	p.routable = func(addr netip.Addr) bool { return addr.Is4() }
	return w
}

// add makes a good server, 20 ms off, for a name.
func (w *world) add(name, addr string) *remoteServer {
	s := &remoteServer{out: 10 * time.Millisecond, back: 10 * time.Millisecond}
	a := netip.MustParseAddr(addr)
	w.servers[a] = s
	w.names[name] = append(w.names[name], a)
	return s
}

func (w *world) server(addr string) *remoteServer { return w.servers[netip.MustParseAddr(addr)] }

// serve starts the relay, without sockets. It is over when the test is.
func (w *world) serve() {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.stop, w.done = cancel, make(chan error)
	go func() { w.done <- w.relay.Serve(ctx) }()
	synctest.Wait()
}

// end stops the relay: within the bubble, so that what is left of it is found.
func (w *world) end() {
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Errorf("serving: %v", err)
	}
}

func (w *world) elapsed() time.Duration { return time.Since(w.begin) }

// truth is the true time, as POSIX counts: an inserted second is there twice.
func (w *world) truth() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.truth0.Add(w.elapsed() + w.slept)
	if !w.leapAt.IsZero() && !t.Before(w.leapAt) {
		t = t.Add(-time.Second)
	}
	return t
}

func (w *world) raw() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return 1000*time.Hour + w.elapsed() + w.gain()
}

// gain is what raw has gained on the truth. Called with mu held.
func (w *world) gain() time.Duration {
	return w.gained + time.Duration(float64(w.elapsed()-w.since)*w.ppm/1e6)
}

// drift has raw gain so much from now on.
func (w *world) drift(ppm float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gained, w.since, w.ppm = w.gain(), w.elapsed(), ppm
}

func (w *world) wallTime() time.Time {
	w.mu.Lock()
	wall := w.wall
	w.mu.Unlock()
	return w.truth().Add(wall)
}

func (w *world) random() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.Float64()
}

func (w *world) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups[name]++
	if w.dnsDown {
		return nil, errNoRoute
	}
	return slices.Clone(w.names[name]), nil
}

// ask is an exchange: what [asker.ask] does on a network.
func (w *world) ask(ctx context.Context, to netip.AddrPort) (clock.Sample, error) {
	w.mu.Lock()
	s := w.servers[to.Addr()]
	if s == nil {
		w.mu.Unlock()
		w.t.Errorf("%v was asked, which is no server", to)
		return clock.Sample{}, errNoRoute
	}
	s.at = append(s.at, w.elapsed())
	w.asked++
	w.mostly = max(w.mostly, w.asked)
	lost, kiss := s.dead || w.netDown, s.kiss
	out := s.out + time.Duration(w.rand.Float64()*float64(s.jitter))
	back := s.back + time.Duration(w.rand.Float64()*float64(s.jitter))
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.asked--
		w.mu.Unlock()
	}()
	if lost {
		out = exchangeTimeout
	}
	sent := w.raw()
	if err := sleep(ctx, out); err != nil {
		return clock.Sample{}, err
	}
	if lost {
		return clock.Sample{}, errSilent
	}
	at := w.truth().Add(s.wrong)
	if err := sleep(ctx, back); err != nil {
		return clock.Sample{}, err
	}
	if kiss != nil {
		return clock.Sample{}, kiss
	}
	delay := w.raw() - sent
	return clock.Sample{Raw: w.raw(), Time: at.Add(delay / 2), Delay: delay, RootDelay: 10 * time.Millisecond,
		RootDispersion: 5 * time.Millisecond, Precision: time.Microsecond, Stratum: 2, Leap: s.leap, RefTime: at.Add(-time.Minute)}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// level is how far the relay's clock may be believed now.
func (w *world) level() clock.Level { return w.relay.deps.Clock.Level() }

// pass lets time pass, and has a client ask for the time every now and then: whatever the
// relay answers must be true within what it says of itself.
func (w *world) pass(d, every time.Duration) {
	w.t.Helper()
	for d > 0 {
		time.Sleep(min(d, every))
		d -= every
		w.checkAnswer()
	}
	synctest.Wait()
}

// change changes the world while the relay runs.
func (w *world) change(f func()) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// checkAnswer has a client ask. The answer may come later: it waits for the time.
func (w *world) checkAnswer() {
	q := &request{from: netip.MustParseAddrPort(till), local: netip.MustParseAddr("10.0.0.1"), raw: w.raw()}
	q.send = func(packet []byte, _ netip.Addr, _ netip.AddrPort, _ int) error {
		w.judge(parseHeader(packet), w.truth())
		return nil
	}
	q.client = q.from.Addr()
	q.parse(packet(first(4, client), w.truth()))
	turn := w.relay.turn()
	w.relay.serve(&turn, q)
}

// judge checks an answer that was sent at truth.
func (w *world) judge(h header, truth time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.leap == unknown {
		w.unsynced++
		return
	}
	if w.wrong {
		return
	}
	off := h.transmit.sub(stampOf(truth)).Abs()
	if bound := h.rootDelay.duration()/2 + h.rootDispersion.duration() + time.Microsecond; off > bound {
		w.t.Errorf("at %v (%v after the start) an answer is off by %v; it says by no more than %v", truth, w.elapsed(), off, bound)
	}
	w.worst = max(w.worst, off)
	w.answers++
}

// untilFine passes the time until the clock is Fine, and returns how long that took.
func (w *world) untilFine(atMost time.Duration) time.Duration {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), atMost)
	defer cancel()
	begin := time.Now()
	if err := w.relay.deps.Clock.Wait(ctx, clock.Fine); err != nil {
		w.t.Fatalf("the clock is still %v after %v: %s; %+v", w.level(), atMost, w.relay.deps.Clock.Why(), w.relay.sourcesHealth())
	}
	took := time.Since(begin)
	synctest.Wait()
	return took
}

// between counts how often the server was asked in a span since the start.
func (s *remoteServer) between(from, to time.Duration) (n int) {
	for _, at := range s.at {
		if from <= at && at < to {
			n++
		}
	}
	return n
}
