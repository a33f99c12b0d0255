// Package proxy lets terminals through to the hosts that the policy allows them,
// whether they ask for a proxy (CONNECT, plain HTTP) or are redirected to one
// without knowing (TLS by SNI, HTTP by Host).
//
// # One path
//
// connect.go, forward.go and intercept.go only extract an [attempt] from what a client says.
// Everything after that is the same for all (path.go): the policy decides, the
// box's own resolver finds the addresses, each is checked, and exactly those are
// dialled. The address that the client itself dialled is never believed.
//
// # What is never done
//
// No TLS is terminated. Nothing about the store is added to what is passed on. A
// connection that does not say in time which host it wants is closed.
package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"tillgate/decision"
	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// Config is what the files say of the proxy.
type Config struct {
	// Listen are the addresses for CONNECT, plain HTTP and the PAC file, host:port.
	Listen []string
	// Intercept are the addresses to which the firewall redirects TCP.
	Intercept []string
	// Direct takes a connection that came to Intercept without being redirected as
	// meant for port 443, or 80 if it speaks HTTP: for trying things out on loopback.
	// Else it is denied.
	Direct bool

	ConnectTimeout time.Duration // for the look-up and all attempts to dial
	HelloTimeout   time.Duration // until the client has said which host it wants
	IdleTimeout    time.Duration // of a tunnel, without a byte either way

	// Tunnels are how many there may be at once, TunnelsPerClient how many of one
	// client. So many connections besides may be waiting to say what they want.
	Tunnels, TunnelsPerClient int
}

// LookupFunc returns the addresses of a canonical name, IPv6 first.
type LookupFunc func(ctx context.Context, name string) ([]netip.Addr, error)

// Recorder takes the decisions. Repeat counts a decision whose like was recorded
// shortly before and reports whether there was one; if not, Record takes it whole.
type Recorder interface {
	Repeat(decision.Key) bool
	Record(decision.Record)
}

// Deps are the parts that the proxy asks.
type Deps struct {
	Policy func() *policy.Set // the set in force; read once an attempt
	Lookup LookupFunc
	// NamesOf are the names for which this client was given this address lately: for
	// the old clients that say no SNI where a rule has `sni: optional`.
	NamesOf func(client, addr netip.Addr) []string
	// Trusted is the time by which rules end; the zero time ends nothing.
	Trusted func() time.Time
	// Tell is what a program of a class is told that asks the box who it is, as JSON. Nil:
	// it gets the page, as people do.
	Tell    func(set *policy.Set, class *policy.Class, client netip.Addr) any
	Records Recorder
	Log     *slog.Logger
}

// Proxy lets clients through to the hosts that the policy allows. Its zero value is
// not usable; see [New].
type Proxy struct {
	cfg      Config
	deps     Deps
	registry *registry
	http     *httpSide
	ifaces   pktinfo.Interfaces
	probes   probes
	addrs    ownAddresses
	parking  *parking

	// What the machine tells and does. Tests have machines of their own.
	own         func() ([]netip.Prefix, error) // the box's addresses, with their networks; see ownAddresses
	dialTCP     func(context.Context, netip.AddrPort) (net.Conn, error)
	originalDst func(*net.TCPConn) (netip.AddrPort, bool)
	drainTime   time.Duration

	explicit    []*net.TCPListener // of Config.Listen
	intercepted []*net.TCPListener // of Config.Intercept

	stats   stats
	trouble trouble
}

// New starts nothing.
func New(cfg Config, deps Deps) *Proxy {
	p := &Proxy{
		cfg:         cfg,
		deps:        deps,
		http:        newHTTPSide(),
		dialTCP:     dialTCP,
		originalDst: originalDst,
		drainTime:   drainTime,
		parking:     newParking(parkAfter),
	}
	p.own = p.addrs.get
	tunnels := limit{cfg.Tunnels, cfg.TunnelsPerClient}
	p.registry = newRegistry(tunnels, tunnels, p.judge, deps.Trusted)
	return p
}

// PolicyChanged ends the tunnels that the policy now in force denies. It is to be called
// after Deps.Policy has begun to return it.
func (p *Proxy) PolicyChanged() { p.registry.recheck() }

// Stats are counts since the start.
type Stats struct {
	Connections uint64 // that clients made
	Refused     uint64 // of those, at once: one too many, or a stranger
	Allowed     uint64 // attempts that were connected
	Denied      uint64 // attempts
	Failed      uint64 // attempts that may pass, but could not be connected
	Up, Down    uint64 // bytes in tunnels and exchanges that have ended
	Fastest     uint64 // download that a tunnel has seen, in bits a second; see [meter]
	Waiting     int    // connections that have asked for nothing yet, now
	Tunnels     int    // now, with the connections that had a request by HTTP
}

type stats struct {
	connections, refused, allowed, denied, failed, up, down, fastest atomic.Uint64
}

// Stats returns what was counted.
func (p *Proxy) Stats() Stats {
	waiting, tunnels := p.registry.count()
	return Stats{
		Connections: p.stats.connections.Load(),
		Refused:     p.stats.refused.Load(),
		Allowed:     p.stats.allowed.Load(),
		Denied:      p.stats.denied.Load(),
		Failed:      p.stats.failed.Load(),
		Up:          p.stats.up.Load(),
		Down:        p.stats.down.Load(),
		Fastest:     p.stats.fastest.Load(),
		Waiting:     waiting,
		Tunnels:     tunnels,
	}
}
