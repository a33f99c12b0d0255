package console

import (
	"bytes"
	"context"
	"crypto/tls"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"tillgate/decision"
)

// WebConfig says where the API and its page are served by TCP, and to whom.
//
// Addresses of the loopback network are served by plain HTTP; all who use the machine may
// look, until a password is set. Other addresses are served by TLS, and only while a
// password is set.
type WebConfig struct {
	Listen []string              // host:port; without a host all addresses, empty: none
	Admin  []netip.Prefix        // who may connect beside the machine itself; empty: who has an address of a store
	Config string                // folder of console.crt and console.key; empty: none
	State  string                // folder of the password, and of a certificate that is made
	Record func(decision.Record) // takes the records of logins
	Page   http.Handler          // all that is neither the API nor metrics; nil: nothing

	Decided func() []decision.Decided // for the metrics
}

// settleEvery is how often the certificate is read again, and what could not be bound is
// tried again.
const settleEvery = time.Minute

// web serves the [API] to browsers.
type web struct {
	cfg    WebConfig
	log    *slog.Logger
	now    func() time.Time // trusted
	status func() Status
	door   *door
	lock   *lock
	cert   certificate

	mu      sync.Mutex
	sites   []*site
	closed  error       // why nothing is served beyond the machine
	badCert error       // why the certificate is not the one in the files
	serving *webServing // nil before and after
	ended   bool        // it is after: nothing is bound again
}

// webServing is what is there while the console serves.
type webServing struct {
	ctx    context.Context
	api    http.Handler
	sites  sync.WaitGroup
	failed chan error // holds the first
}

// A site is one address of [WebConfig.Listen].
type site struct {
	listen string
	secure bool // others than the machine itself can reach it

	l       net.Listener // nil: not bound
	end     context.CancelFunc
	trouble error // why it can't be bound
}

func newWeb(all Config) *web {
	cfg := all.Web
	w := &web{cfg: cfg, log: all.Log, now: all.Now, status: all.Status, door: newDoor(cfg.Admin), lock: newLock(cfg.Record)}
	w.cert.config, w.cert.state = cfg.Config, cfg.State
	for _, listen := range cfg.Listen {
		host, _, _ := net.SplitHostPort(listen)
		addr, err := netip.ParseAddr(host)
		w.sites = append(w.sites, &site{listen: listen, secure: err != nil || !addr.IsLoopback()})
	}
	return w
}

// ListenWeb reads the password, and binds the addresses of [WebConfig.Listen] that may be
// served now, or none.
func (c *Console) ListenWeb(ctx context.Context) error {
	w := c.web
	if len(w.sites) == 0 {
		return nil
	}
	w.lock.set(readPassword(w.cfg.State))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle(ctx)
	for _, s := range w.sites {
		if s.trouble != nil {
			w.close()
			return s.trouble
		}
	}
	return nil
}

// close lets go of what is bound. The caller holds mu.
func (w *web) close() {
	for _, s := range w.sites {
		s.close()
	}
}

func (s *site) close() {
	if s.end != nil {
		s.end()
		s.end = nil
	}
	if s.l != nil {
		s.l.Close() // now: the address may be wanted again
		s.l = nil
	}
}

// settle binds what may be served now, and lets go of what may not. The caller holds mu.
func (w *web) settle(ctx context.Context) {
	w.closed, w.badCert = w.lock.ready(), nil
	if w.closed == nil && w.beyond() {
		w.badCert = w.cert.load(w.hosts)
		if w.cert.now.Load() == nil {
			w.closed = w.badCert
		}
	}
	for _, s := range w.sites {
		switch {
		case s.secure && w.closed != nil:
			s.close()
			s.trouble = nil
		case s.l == nil:
			s.trouble = w.bind(ctx, s)
		}
		if s.l != nil && s.end == nil && w.serving != nil {
			w.start(s)
		}
	}
}

// beyond reports whether anybody but the machine is to be served.
func (w *web) beyond() bool {
	for _, s := range w.sites {
		if s.secure {
			return true
		}
	}
	return false
}

func (w *web) bind(ctx context.Context, s *site) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return err
	}
	s.l = guardedListener{l, w.door}
	if s.secure {
		s.l = tls.NewListener(s.l, &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: w.cert.get,
			NextProtos:     []string{"http/1.1"}, // HTTP/2 would be one more thing to bound
		})
	}
	return nil
}

// start serves a site that is bound. The caller holds mu.
func (w *web) start(s *site) {
	on := w.serving
	ctx, end := context.WithCancel(on.ctx)
	s.end = end
	srv := newServer(w.guard(s, w.handler(s, on.api)), log.New(complaints{w.log}, "", 0))
	l := s.l
	on.sites.Go(func() {
		if err := serveUntil(ctx, srv, l); err != nil {
			select {
			case on.failed <- err:
			default: // one is enough to end the box
			}
		}
	})
}

// complaints takes what net/http has to say. Who knocks and speaks no TLS, or does not know
// the certificate, is no news, and may do so often.
type complaints struct{ log *slog.Logger }

func (c complaints) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(p, []byte("http: TLS handshake error ")) {
		level = slog.LevelDebug
	}
	c.log.Log(context.Background(), level, "console", "said", string(bytes.TrimSpace(p)))
	return len(p), nil
}

// serve answers until ctx ends.
func (w *web) serve(ctx context.Context, api http.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	on := &webServing{ctx: ctx, api: api, failed: make(chan error, 1)}
	w.mu.Lock()
	w.serving = on
	for _, s := range w.sites {
		if s.l != nil {
			w.start(s)
		}
	}
	w.mu.Unlock()
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	var err error
	for ctx.Err() == nil && err == nil {
		select {
		case <-ctx.Done():
		case err = <-on.failed:
		case <-tick.C:
			w.mu.Lock()
			w.settle(ctx)
			w.mu.Unlock()
		}
	}
	w.mu.Lock()
	w.serving, w.ended = nil, true
	w.close()
	w.mu.Unlock()
	cancel()
	on.sites.Wait()
	w.lock.sessions.endAll()
	return err
}

func (w *web) handler(s *site, api http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", w.forUsers(s, api))
	mux.HandleFunc("GET /v1/session", func(rw http.ResponseWriter, r *http.Request) { reply(rw, w.session(s, r)) })
	mux.HandleFunc("POST /v1/login", w.login(s))
	mux.HandleFunc("POST /v1/logout", w.logout(s))
	mux.HandleFunc("GET /metrics", w.metrics(s))
	if w.cfg.Page != nil {
		mux.Handle("/", w.cfg.Page)
	}
	return mux
}

// clientOf is the address that a request comes from.
func clientOf(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap().WithZone("")
}
