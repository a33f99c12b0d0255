// Package check is the port test of the provider's document: it goes to every documented
// destination, and says of each how far it came, what stopped it there, and what to do.
//
//	tcp/443, and all other tcp   resolved → connected → TLS, the certificate verified
//	tcp/80                       resolved → connected → HTTP answered
//	udp/123                      resolved → the time, from a server that has it
//
// There are two ways. [Direct] is that of the box itself, with its own resolver. [Via] is
// that of a terminal which is set to a box: it asks the box's DNS, goes through its proxy,
// and takes the time wherever the DNS says.
//
// Names are looked up, connections made and answered within times of their own, [maxAtOnce]
// destinations at once, so a test of a network that swallows everything ends too.
package check

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxAtOnce is how many destinations are tried at once: a store's line is not to be
	// busy with the test of it.
	maxAtOnce = 8
	// The times of the steps. They are those that a person at a till has patience for.
	resolveTime = 5 * time.Second
	connectTime = 5 * time.Second
	answerTime  = 5 * time.Second
	// withinAll bounds the whole test but for the measuring of the speed.
	withinAll = 3 * time.Minute
)

// Config is what a test is made with.
type Config struct {
	// Now is the time by which certificates and time servers are judged.
	Now func() time.Time
	// Roots are the authorities that are trusted; nil: the system's.
	Roots *x509.CertPool
	// Dial connects to an address; nil: as [net.Dialer] does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Fastest is the fastest download that the box's tunnels have seen, in bits a second;
	// 0: none. Nil: nobody knows.
	Fastest func() uint64
	// Troubles are what the box says of its own parts that are not well, for the verdict.
	// Nil: there is no box to say it.
	Troubles func() []string
}

// A Request is what is to be tested.
type Request struct {
	Class string     `json:"class,omitempty"` // whose destinations; empty: all that the policy has
	Via   netip.Addr `json:"via,omitzero"`    // the box to go through; the zero address: directly
	Speed string     `json:"speed,omitempty"` // an https URL whose download is measured
}

// A Line is one thing that a test says: the plan first, then a result each, in the order in
// which they come, the verdict last. One field is set.
type Line struct {
	Plan    *Plan    `json:"plan,omitempty"`
	Result  *Result  `json:"result,omitempty"`
	Verdict *Verdict `json:"verdict,omitempty"`
}

// A way is how destinations are reached. Errors are a [*Trouble].
type way interface {
	resolve(context.Context, Target) ([]netip.Addr, error)
	// connect returns a connection on which the destination speaks. Of a destination for
	// HTTP it may be that to a proxy: see absolute.
	connect(context.Context, Target, []netip.Addr) (net.Conn, netip.AddrPort, error)
	absolute() bool                // requests by HTTP are for a proxy
	timePort(netip.Addr) uint16    // of a server at the address
	advice(Fault, []Target) string // what to do about a fault of some
}

// A Checker tests by one way. It is for one run.
type Checker struct {
	cfg Config
	way way

	mu    sync.Mutex
	asked map[netip.AddrPort]*asking // time servers, so that none is asked twice
	asks  sync.WaitGroup
}

func newChecker(cfg Config) *Checker {
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	return &Checker{cfg: cfg, asked: make(map[netip.AddrPort]*asking)}
}

// Run tests the destinations of a plan and hands each line to emit, one at a time. It
// returns when all that it began has ended, with the error of emit or that of ctx.
// A download from speed, an https URL, is measured unless it is empty.
func (c *Checker) Run(ctx context.Context, plan Plan, speed string, emit func(Line) error) error {
	if err := emit(Line{Plan: &plan}); err != nil {
		return err
	}
	defer c.asks.Wait()
	testing, cancel := context.WithTimeout(ctx, withinAll)
	defer cancel()
	var (
		targets = make(chan Target)
		results = make(chan Result)
		workers sync.WaitGroup
	)
	for range min(maxAtOnce, len(plan.Targets)) {
		workers.Go(func() {
			for t := range targets {
				results <- c.try(testing, t)
			}
		})
	}
	go func() {
		for _, t := range plan.Targets {
			targets <- t
		}
		close(targets)
		workers.Wait()
		close(results)
	}()
	var all []Result
	var failed error
	for r := range results {
		all = append(all, r)
		if failed == nil {
			if failed = emit(Line{Result: &r}); failed != nil {
				cancel() // the rest comes to an end at once
			}
		}
	}
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return failed
	}
	v := c.judge(plan, all)
	v.Speed = c.speed(ctx, speed)
	if err := ctx.Err(); err != nil {
		return err
	}
	return emit(Line{Verdict: &v})
}

// try goes to one destination.
func (c *Checker) try(ctx context.Context, t Target) Result {
	r := Result{Target: t}
	if t.Skip != "" {
		return r
	}
	if err := c.steps(ctx, &r); err != nil {
		trouble := troubleOf(err)
		r.Fault, r.Detail = trouble.Fault, clip(trouble.Detail)
		r.Do = c.way.advice(r.Fault, []Target{t})
		return r
	}
	r.OK = true
	return r
}

func (c *Checker) steps(ctx context.Context, r *Result) error {
	if r.Denied != "" {
		return &Trouble{Denied, r.Target.Denied}
	}
	within := func(d time.Duration, took *float64, step func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		began := time.Now()
		err := step(ctx)
		*took = float64(time.Since(began)) / float64(time.Millisecond)
		return err
	}
	err := within(resolveTime, &r.ResolveMs, func(ctx context.Context) (err error) {
		r.Addresses, err = c.way.resolve(ctx, r.Target)
		return err
	})
	if err != nil {
		return err
	}
	r.Stage = Resolved
	if r.Proto == "udp" {
		return within(answerTime, &r.AnswerMs, func(context.Context) error { return c.askTime(ctx, r) })
	}
	var conn net.Conn
	err = within(connectTime, &r.ConnectMs, func(ctx context.Context) (err error) {
		conn, r.Dest, err = c.way.connect(ctx, r.Target, r.Addresses)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	r.Stage = Connected
	return within(answerTime, &r.AnswerMs, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(0, 1)) })()
		if r.Port == httpPort {
			return c.askHTTP(conn, r)
		}
		return c.askTLS(ctx, conn, r)
	})
}
