package console

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"tillgate/decision"
)

// WebConfig says where the API and its page are served by TCP, and to whom.
type WebConfig struct {
	Listen []string       // host:port; without a host all addresses, empty: none
	Admin  []netip.Prefix // who may connect beside the machine itself; empty: who has no global address
	Page   http.Handler   // all that is neither the API nor metrics
}

// web serves the [API] to browsers.
type web struct {
	cfg  WebConfig
	log  *slog.Logger
	door *door

	mu    sync.Mutex
	sites []*site
}

// A site is one address of [WebConfig.Listen].
type site struct {
	listen string
	secure bool // others than the machine itself can reach it
	l      net.Listener
}

func newWeb(cfg WebConfig, log *slog.Logger) *web {
	w := &web{cfg: cfg, log: log, door: newDoor(cfg.Admin)}
	for _, listen := range cfg.Listen {
		host, _, _ := net.SplitHostPort(listen)
		addr, err := netip.ParseAddr(host)
		w.sites = append(w.sites, &site{listen: listen, secure: err != nil || !addr.IsLoopback()})
	}
	return w
}

// ListenWeb binds the addresses of [WebConfig.Listen] that may be served now, or none.
func (c *Console) ListenWeb(ctx context.Context) error {
	w := c.web
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sites {
		if s.secure {
			continue
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
		if err != nil {
			w.close()
			return err
		}
		s.l = guardedListener{l, w.door}
	}
	return nil
}

// close lets go of what is bound. The caller holds mu.
func (w *web) close() {
	for _, s := range w.sites {
		if s.l != nil {
			s.l.Close()
			s.l = nil
		}
	}
}

// serve answers until ctx ends.
func (w *web) serve(ctx context.Context, api http.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		served = make(chan error)
		count  int
	)
	w.mu.Lock()
	for _, s := range w.sites {
		if s.l == nil {
			continue
		}
		// Who knocks is no news, and may do so often.
		srv := newServer(guard(s, w.handler(api)), slog.NewLogLogger(w.log.Handler(), slog.LevelDebug))
		l := s.l
		count++
		go func() { served <- serveUntil(ctx, srv, l) }()
	}
	w.mu.Unlock()
	<-ctx.Done()
	var err error
	for range count {
		err = errors.Join(err, <-served)
	}
	return err
}

func (w *web) handler(api http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", api)
	if w.cfg.Page != nil {
		mux.Handle("/", w.cfg.Page)
	}
	return mux
}

// Addrs are the addresses at which browsers are served now.
func (c *Console) Addrs() (addrs []netip.AddrPort) {
	c.web.mu.Lock()
	defer c.web.mu.Unlock()
	for _, s := range c.web.sites {
		if s.l != nil {
			addrs = append(addrs, s.l.Addr().(*net.TCPAddr).AddrPort())
		}
	}
	return addrs
}

// Health says where the console is, and why it is not elsewhere.
func (c *Console) Health() decision.Health {
	h := decision.Health{Part: "console"}
	w := c.web
	w.mu.Lock()
	defer w.mu.Unlock()
	var said, missing []string
	for _, s := range w.sites {
		if s.l == nil {
			missing = append(missing, s.listen)
			continue
		}
		said = append(said, "http://"+s.l.Addr().String())
	}
	if len(missing) > 0 {
		h.State = decision.Bad
		said = append(said, "not on "+strings.Join(missing, ", ")+": without a password only this machine may look")
	}
	h.Text = strings.Join(said, "; ")
	if h.Text == "" {
		h.Text = "turned off: listen.console is empty"
	}
	return h
}
