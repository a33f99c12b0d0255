package resolver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tillgate/internal/clock"
	"tillgate/internal/h2"
)

const (
	// upstreamAddresses is how many addresses may be pinned. Each may be asked
	// within one exchange.
	upstreamAddresses = 8

	// A connection on which nothing came for the first is pinged, and closed when
	// still nothing comes within the second: one that went dead while nobody asked,
	// or while another server was faster, is gone after 7 s.
	upstreamPing        = 5 * time.Second
	upstreamPingTimeout = 2 * time.Second
	// upstreamIdle is how long a connection is kept without a request. Pings cost
	// some 4 MB a day, which a store on a mobile line should not pay four times.
	upstreamIdle = 5 * time.Minute
)

// upstreamConfig is where and how to ask.
type upstreamConfig struct {
	// URL is the DoH server's: https, for POST (RFC 8484), so without the
	// template's {?dns}. Its host is what the certificate must be for.
	URL string
	// Addresses are the only ones that are connected to, the first ones first. The
	// port is the URL's, else 443.
	Addresses []netip.Addr
	// Timeout is for the whole of an exchange, with all its attempts, and for a dial.
	Timeout time.Duration
	// Roots verify the server; nil: the system's, which SSL_CERT_FILE and
	// SSL_CERT_DIR change, else those that the program has linked.
	Roots *x509.CertPool
	// Clock judges certificates, and learns from them. Durations are measured by the
	// monotonic clock, whatever it says.
	Clock *clock.Clock
	// TimeServer reports whether a name is a time server's: these alone are resolved
	// while the time is not known. Nil: none is.
	TimeServer func(name string) bool
	// Log hears when the upstream is lost and when it is back; nil: nobody does.
	Log *slog.Logger

	// dial connects in tests.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// upstream is a DNS over HTTPS server with several addresses.
//
// It has one HTTP/2 connection to each address at most.
type upstream struct {
	url        *url.URL
	timeout    time.Duration
	roots      *x509.CertPool
	clock      *clock.Clock
	timeServer func(name string) bool
	log        *slog.Logger
	dialTCP    func(ctx context.Context, network, address string) (net.Conn, error)
	tls        *tls.Config
	http       h2.Config

	life    context.Context // ends with close
	end     context.CancelFunc
	running sync.WaitGroup // exchanges, attempts, dials
	places  chan struct{}

	mu      sync.Mutex
	waiting int // for a place
	servers []*upstreamServer
	counts  upstreamStats
	lastOK  time.Time      // when the last good exchange ended
	failure *upstreamError // why the last exchange failed, unless another did not; nil: it is well
	since   time.Time      // when failure came or went; zero: never
}

// newUpstream checks the configuration and starts nothing. All problems are reported
// together.
func newUpstream(cfg upstreamConfig) (*upstream, error) {
	var problems []error
	u, err := url.Parse(cfg.URL)
	var port uint16 = 443
	switch {
	case err != nil:
		problems = append(problems, fmt.Errorf("url %q: %w", cfg.URL, errors.Unwrap(err)))
	case u.Scheme != "https":
		problems = append(problems, fmt.Errorf("url %q: it must begin with https://", cfg.URL))
	case u.Hostname() == "":
		problems = append(problems, fmt.Errorf("url %q: it names no host", cfg.URL))
	case u.User != nil || u.Fragment != "" || strings.Contains(cfg.URL, "{"):
		problems = append(problems, fmt.Errorf("url %q: user, fragment and {?dns} have no place in it", cfg.URL))
	case u.Port() != "":
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			problems = append(problems, fmt.Errorf("url %q: %s is no port", cfg.URL, u.Port()))
		}
		port = uint16(n)
	}
	if n := len(cfg.Addresses); n == 0 || n > upstreamAddresses {
		problems = append(problems, fmt.Errorf("%d addresses: there must be 1 to %d", n, upstreamAddresses))
	}
	var servers []*upstreamServer
	for _, a := range cfg.Addresses {
		s := &upstreamServer{addr: netip.AddrPortFrom(a.Unmap(), port)}
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
			problems = append(problems, fmt.Errorf("address %s: no server can have it", a))
		case slices.ContainsFunc(servers, func(t *upstreamServer) bool { return t.addr == s.addr }):
			problems = append(problems, fmt.Errorf("address %s: it is there twice", a))
		}
		servers = append(servers, s)
	}
	if cfg.Timeout <= 0 {
		problems = append(problems, fmt.Errorf("timeout %v: it must be above zero", cfg.Timeout))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}

	up := &upstream{
		url:        u,
		timeout:    cfg.Timeout,
		roots:      cfg.Roots,
		clock:      cfg.Clock,
		timeServer: cfg.TimeServer,
		log:        cfg.Log,
		dialTCP:    cfg.dial,
		places:     make(chan struct{}, upstreamInFlight),
		servers:    servers,
	}
	if up.timeServer == nil {
		up.timeServer = func(string) bool { return false }
	}
	if up.log == nil {
		up.log = slog.New(slog.DiscardHandler)
	}
	if up.dialTCP == nil {
		up.dialTCP = new(net.Dialer).DialContext
	}
	up.life, up.end = context.WithCancel(context.Background())
	up.tls = tlsConfig(u.Hostname(), up.clock.Now)
	up.http = h2.Config{
		Header:       dohHeader(u),
		MaxBody:      dohMaxReply,
		MaxHeader:    16 << 10,
		Ping:         upstreamPing,
		PingTimeout:  upstreamPingTimeout,
		WriteTimeout: upstreamPingTimeout,
		Idle:         upstreamIdle,
	}
	up.clock.OnChange(up.timeChanged)
	return up, nil
}

// close ends all exchanges and connections and returns when what it had started is
// gone, but for the readers of the connections, which end as these do.
func (u *upstream) close() {
	u.mu.Lock() // who finds the place after this finds the end too
	u.end()
	u.mu.Unlock()
	u.running.Wait()
	for _, s := range u.servers { // nobody is left to share them with
		if s.conn != nil {
			s.conn.http.Close()
		}
	}
}
