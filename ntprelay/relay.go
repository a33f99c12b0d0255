// Package ntprelay keeps the box's clock by the documented time servers, and is the
// time server of the store.
//
// # The way of a request
//
// A packet is read with the kernel's stamp of when it came (listen.go) and judged by its
// form (request.go). Who had an answer a moment ago gets the next (memo.go); of others the
// policy says whether they may have the time at all, their rate whether now (serve.go). It is answered from the clock's estimate (answer.go); while the
// first synchronisation is under way it waits for that (park.go), since the protocol takes
// the wait out of the measured delay and many a client asks but once a day.
//
// # Whom the time is of
//
// The servers are those of time.servers, else of the policy (names.go): some addresses of
// each name, those that the last run found good before names can be looked up (servers.go).
// Each is asked at once and then ever less often (poll.go, manners.go), by an exchange that
// trusts no clock but the raw one (ask.go). What they say is the clock's to judge.
//
// # What is never done
//
// The system's clock is not set. No answer is longer than its request, or is anything but
// an answer: there are no control messages, no broadcasts, no symmetric associations.
package ntprelay

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// Config is what the files say of time.
type Config struct {
	// Listen are the addresses to serve on, host:port; an empty host or a wildcard is
	// every address of the machine, both families. Empty: nobody is served, and the
	// clock is kept all the same.
	Listen []string
	// Servers are asked for the time, names or addresses. Empty: the policy's NTP
	// destinations.
	Servers []string
	// Saved are the servers that the last run found good ([clock.State]): those that are
	// still named are asked before their names can be looked up.
	Saved []clock.SavedServer
	// Rate is how many answers a second each client gets on average, Burst how many
	// at once. A zero Rate is no limit.
	Rate, Burst int
	// Port is that of the servers. Zero: 123.
	Port uint16
}

// Recorder takes the decisions. Repeat counts a decision whose like was recorded
// shortly before and reports whether there was one; if not, Record takes it whole.
// Repeats takes n that were counted here, the first and the last of them so long ago.
type Recorder interface {
	Repeat(decision.Key) bool
	Record(decision.Record)
	Repeats(r decision.Record, n uint64, first, last time.Duration)
}

// Deps are the parts that the relay asks.
type Deps struct {
	Policy func() *policy.Set // the set in force; read once a request
	Clock  *clock.Clock
	// Lookup returns the addresses of a server's name, never steered. No address and no
	// error is that the name has none.
	Lookup  func(ctx context.Context, name string) ([]netip.Addr, error)
	Records Recorder
	Log     *slog.Logger
}

// Relay is an NTP client and server. Its zero value is not usable; see [New].
type Relay struct {
	cfg     Config
	deps    Deps
	ifaces  pktinfo.Interfaces
	clients *clients
	parked  *parked
	poller  *poller
	conns   []*net.UDPConn
	memos   []*memo          // of the one who reads each
	addrs   []netip.AddrPort // that they are bound to
	stats   stats
}

// New starts nothing.
func New(cfg Config, deps Deps) (*Relay, error) {
	return &Relay{
		cfg:     cfg,
		deps:    deps,
		clients: newClients(cfg.Rate, cfg.Burst, rand.Uint32),
		parked:  newParked(),
		poller:  newPoller(cfg, deps),
	}, nil
}

// Serve keeps the clock and answers requests until ctx ends. It returns when all that it
// started is gone: what still waits for the time then is told that there is none.
func (r *Relay) Serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.poll(ctx) })
	for i, conn := range r.conns {
		g.Go(func() error { return r.read(conn, r.memos[i]) })
	}
	g.Go(func() error {
		r.expireParked(ctx)
		return nil
	})
	g.Go(func() error {
		r.deps.Clock.Wait(ctx, clock.Fine)
		for _, w := range r.parked.close() {
			r.answerLate(&w.request)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		r.stopReading()
		return nil
	})
	err := g.Wait()
	r.closeConns()
	return err
}
