// Package resolver answers the DNS queries of the store: documented names from
// a cache over DoH, everything else with a denial that says why.
//
// # The way of a query
//
// A packet is read (udp.go, tcp.go) and, if the same was asked a moment ago, given
// the same answer (memo.go). Else it is parsed and checked (query.go), given to
// the policy and answered (answer.go) without waiting for anybody: from the
// rules, from the special-use names (special.go) or from the cache (cache.go).
// Only a name that is allowed and not fresh in the cache waits for the upstream,
// and then as an entry in a table (fetch.go), not as a goroutine: denied and
// cached names are answered as fast with the upstream gone as with it there.
//
// # What is never done
//
// No name goes upstream that the policy does not let through. Nothing that a
// client sends besides the name and the type is passed on, and nothing comes
// back that was not asked for (check.go).
package resolver

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// Config is what the files say of DNS.
type Config struct {
	// Listen are the addresses to serve on, host:port; an empty host or a
	// wildcard is every address of the machine, both families.
	Listen []string
	// URL is the DoH server's, by RFC 8484: POST, no template variables.
	URL string
	// Addresses are the only ones at which the server is called.
	Addresses []netip.Addr
	// Timeout is for one exchange, with all its attempts. After it a client
	// gets a stale answer or SERVFAIL (RFC 8767 §5 suggests 1.8 s).
	Timeout time.Duration
	// Roots verify the DoH server; nil: the system's.
	Roots *x509.CertPool
	// TimeServers are the names of time servers that are asked besides, or in place
	// of, those of the policy: canonical. They are resolved before the time is known.
	TimeServers []string
	// Rate is how many queries a second each client may send on average, Burst
	// how many at once. A zero Rate is no limit.
	Rate, Burst int
	// Entries is how many answers are kept.
	Entries int
	// Stale is how long after its end an answer may still be given while the
	// upstream fails. Zero: never.
	Stale time.Duration
	// Warm is how long after it was last asked for a name is kept fresh. Zero:
	// names are not refreshed before they are asked for again.
	Warm time.Duration
	// CacheFile keeps the cache over a restart; empty: it is not kept.
	CacheFile string
}

// Recorder takes the decisions. Repeat counts a decision whose like was recorded
// shortly before and reports whether there was one; if not, Record takes it whole.
// Repeats takes n that were counted here, the first and the last of them so long ago.
type Recorder interface {
	Repeat(decision.Key) bool
	Record(decision.Record)
	Repeats(r decision.Record, n uint64, first, last time.Duration)
}

// Deps are the parts that the resolver asks.
type Deps struct {
	Policy  func() *policy.Set // the set in force; read once a query
	Clock   *clock.Clock
	Records Recorder
	Log     *slog.Logger
	// Steer reports whether the box serves time, so that the names of time servers
	// are answered with its own address. Nil: it does not.
	Steer func() bool
	// Now measures what is kept and how long: unlike the clock's, its time never
	// steps. Nil: time.Now.
	Now func() time.Time
}

// Resolver is a filtering DNS server. Its zero value is not usable; see [New].
type Resolver struct {
	cfg       Config
	deps      Deps
	upstream  *upstream
	ask       func(context.Context, string, uint16) (*dns.Msg, error) // the upstream's exchange
	cache     *cache
	rate      *limiter
	strangers *limiter // of all clients in no class together
	ifaces    pktinfo.Interfaces
	given     given

	udp   []*udpSocket
	tcp   []*net.TCPListener
	conns tcpConns

	fetches fetches
	life    context.Context // of the fetches, which outlive the queries that caused them
	end     context.CancelFunc
	stats   stats
}

// New checks the configuration and starts nothing.
func New(cfg Config, deps Deps) (*Resolver, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Steer == nil {
		deps.Steer = func() bool { return false }
	}
	up, err := newUpstream(upstreamConfig{
		URL:       cfg.URL,
		Addresses: cfg.Addresses,
		Timeout:   cfg.Timeout,
		Roots:     cfg.Roots,
		Clock:     deps.Clock,
		TimeServer: func(name string) bool {
			return slices.Contains(cfg.TimeServers, name) || deps.Policy().TimeServer(name)
		},
		Log: deps.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	r := &Resolver{
		cfg:       cfg,
		deps:      deps,
		upstream:  up,
		ask:       up.exchange,
		cache:     newCache(cfg.Entries, cfg.Stale),
		rate:      newLimiter(cfg.Rate, cfg.Burst, deps.Now()),
		strangers: newLimiter(strangerRate, strangerBurst, deps.Now()),
	}
	deps.Clock.OnChange(func(c clock.Change) {
		if c.Was == clock.None && c.Level > clock.None || c.Kind == clock.Forgotten {
			r.cache.forgive()
		}
	})
	r.life, r.end = context.WithCancel(context.Background())
	return r, nil
}

// Stats are counts since the start.
type Stats struct {
	Queries   uint64 // that were read
	Denied    uint64 // by the policy
	Hits      uint64 // from the cache, fresh
	Stale     uint64 // from the cache, past their end
	Misses    uint64 // that waited for the upstream
	Failed    uint64 // SERVFAIL to a client
	Dropped   uint64 // got no answer: over the rate, a stranger, not DNS
	Unsent    uint64 // answers that the kernel did not take
	Cached    int    // answers in the cache now
	Waiting   int    // queries that wait for the upstream now
	Exchanges uint64 // asked upstream
	Failures  uint64 // of those, without a good answer
}

type stats struct {
	queries, denied, hits, stale, misses, failed, dropped, unsent atomic.Uint64
}

// Stats returns what was counted.
func (r *Resolver) Stats() Stats {
	up := r.upstream.stats()
	return Stats{
		Queries:   r.stats.queries.Load(),
		Denied:    r.stats.denied.Load(),
		Hits:      r.stats.hits.Load(),
		Stale:     r.stats.stale.Load(),
		Misses:    r.stats.misses.Load(),
		Failed:    r.stats.failed.Load(),
		Dropped:   r.stats.dropped.Load(),
		Unsent:    r.stats.unsent.Load(),
		Cached:    r.cache.len(),
		Waiting:   r.fetches.waiting(),
		Exchanges: up.Exchanges,
		Failures:  up.Failures,
	}
}

// Health says how the upstream is. The listeners have no state of their own: they
// are bound, or the box did not start.
func (r *Resolver) Health() decision.Health { return r.upstream.health() }
