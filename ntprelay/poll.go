package ntprelay

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/policy"
)

// A poller keeps the clock by asking the servers. One goroutine decides what is asked
// when, by Go's monotonic time; each exchange and each look-up under way is another, of
// which there is one for a server and a name at most.
type poller struct {
	cfg  Config
	deps Deps

	// What the machine does. Tests have machines of their own.
	ask      func(context.Context, netip.AddrPort) (clock.Sample, error)
	routable func(netip.Addr) bool
	random   func() float64 // of [0, 1)

	unsure chan struct{} // capacity 1: the time was Fine, and is not any more
	forgot chan struct{} // capacity 1: somebody had the clock forget all

	mu      sync.Mutex  // the rest is read by status, written by run alone
	set     *policy.Set // that names are of
	read    time.Time   // when they were read
	names   []*name
	leftOut []Server // what is named and is not asked
	peers   map[netip.Addr]*peer
	silent  bool      // no exchange has succeeded since the start, or since none did
	back    time.Time // when one did after that
	alarm   time.Time // when all were last asked at once for a doubt

	state      decision.State // that was last told, and since when it is
	stateSince time.Time
}

func newPoller(cfg Config, deps Deps) *poller {
	if cfg.Port == 0 {
		cfg.Port = ntpPort
	}
	a := &asker{raw: deps.Clock.Raw, wall: time.Now}
	return &poller{
		cfg:      cfg,
		deps:     deps,
		ask:      a.ask,
		routable: routable,
		random:   rand.Float64,
		unsure:   make(chan struct{}, 1),
		forgot:   make(chan struct{}, 1),
		peers:    make(map[netip.Addr]*peer),
		silent:   true,
	}
}

// poll asks the servers until ctx ends, and returns when all that it started is gone.
func (r *Relay) poll(ctx context.Context) error {
	r.poller.run(ctx)
	return nil
}

func (p *poller) run(ctx context.Context) {
	p.deps.Clock.OnChange(func(c clock.Change) {
		tell := p.forgot
		switch {
		case c.Kind == clock.Forgotten:
		case c.Kind == clock.LevelChanged && c.Was == clock.Fine:
			tell = p.unsure
		default:
			return
		}
		select {
		case tell <- struct{}{}:
		default: // it is told already
		}
	})
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	p.mu.Lock()
	p.readNames(time.Now())
	p.remember(time.Now())
	p.mu.Unlock()

	outcomes := make(chan func(now time.Time))
	start := func(work func() func(time.Time)) {
		wg.Go(func() {
			outcome := work()
			select {
			case outcomes <- outcome:
			case <-ctx.Done():
			}
		})
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case outcome := <-outcomes:
			outcome(time.Now())
		case <-p.unsure:
			p.mu.Lock()
			p.hurry(time.Now())
			p.mu.Unlock()
		case <-p.forgot:
			p.mu.Lock()
			p.again(time.Now())
			p.mu.Unlock()
		case <-timer.C:
			p.deps.Clock.Check()
		}
		p.mu.Lock()
		if set := p.deps.Policy(); set != p.set || time.Since(p.read) >= resolveEvery {
			p.readNames(time.Now()) // each hour for those that have ended
		}
		next := p.begin(ctx, time.Now(), start)
		p.mu.Unlock()
		timer.Reset(min(next, checkEvery))
	}
}

// begin starts what is due, and returns how long until something else is. Called with
// mu held.
func (p *poller) begin(ctx context.Context, now time.Time, start func(func() func(time.Time))) time.Duration {
	next := checkEvery
	for _, n := range p.names {
		switch wait := n.due.Sub(now); {
		case n.asking:
		case wait > 0:
			next = min(next, wait)
		case n.literal:
			addr, _ := netip.ParseAddr(n.host)
			p.resolved(n, []netip.Addr{addr}, now)
			n.due = now.Add(p.spread(resolveEvery))
		default:
			n.asking = true
			start(func() func(time.Time) {
				addrs, err := p.deps.Lookup(ctx, n.host)
				return func(now time.Time) { p.looked(n, addrs, err, now) }
			})
		}
	}
	for _, s := range p.peers {
		switch wait := s.due.Sub(now); {
		case s.asking || s.refused != "":
		case wait > 0:
			next = min(next, wait)
		default:
			s.asking, s.sent = true, now
			start(func() func(time.Time) {
				sample, err := p.ask(ctx, netip.AddrPortFrom(s.addr, p.cfg.Port))
				return func(now time.Time) { p.asked(s, sample, err, now) }
			})
		}
	}
	return next
}
