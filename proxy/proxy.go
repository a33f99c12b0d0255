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
	"time"

	"tillgate/decision"
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

	Tunnels          int // at once
	TunnelsPerClient int
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
	Records Recorder
	Log     *slog.Logger
}

// Proxy lets clients through to the hosts that the policy allows. Its zero value is
// not usable; see [New].
type Proxy struct {
	cfg  Config
	deps Deps

	own     func() ([]netip.Addr, error) // the box's addresses
	dialTCP func(context.Context, netip.AddrPort) (net.Conn, error)
	http    *httpSide
}

// New starts nothing.
func New(cfg Config, deps Deps) *Proxy {
	return &Proxy{cfg: cfg, deps: deps, own: ownAddresses, dialTCP: dialTCP, http: newHTTPSide()}
}
