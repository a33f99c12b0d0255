package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	maxConns = 32
	// maxSocketPath is sun_path without its terminating zero (unix(7)).
	maxSocketPath = 107
	// bodyWithin bounds the reading of a request's body.
	bodyWithin = 10 * time.Second
	// writeWithin bounds the writing of an answer, from when it is known.
	writeWithin = 10 * time.Second
	// endWithin bounds the end: how long requests may take that were begun before.
	endWithin = time.Second
)

// Console serves the [API] on a unix socket, and to browsers by TCP.
type Console struct {
	cfg Config
	l   net.Listener
	web *web
}

// New starts nothing.
func New(cfg Config) *Console { return &Console{cfg: cfg, web: newWeb(cfg)} }

// InUseError is a socket at which another process answers.
type InUseError struct{ Socket string }

func (e *InUseError) Error() string { return "another tillgate answers at " + e.Socket }

// Listen makes the socket, with mode 0660; its folder must exist. One that a
// dead process left is replaced, one at which somebody answers is not
// ([InUseError]), nor is a file of another kind.
func (c *Console) Listen(ctx context.Context) error {
	path := c.cfg.Socket
	if len(path) > maxSocketPath {
		return fmt.Errorf("the path of the socket is longer than %d bytes: %s", maxSocketPath, path)
	}
	if err := removeStale(ctx, path); err != nil {
		return err
	}
	lc := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		// The socket file takes the mode of the socket, less the umask: so
		// it is never open to others, not even until the chmod below.
		var err error
		if e := conn.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o660) }); e != nil {
			return e
		}
		return err
	}}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return err
	}
	c.l = l
	return nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is not a socket; it is left alone", path)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return &InUseError{path}
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return err
}

// Serve answers until ctx ends, at the socket and by TCP. Then logs that are followed get
// what was recorded before and end properly; what else is under way has a second.
func (c *Console) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	api := NewAPI(ctx, c.cfg)
	web := make(chan error, 1)
	go func() {
		web <- c.web.serve(ctx, api)
		cancel()
	}()
	socket := http.NewServeMux()
	socket.Handle("/", api)
	socket.HandleFunc("POST /v1/console/password", c.setPassword)
	srv := newServer(socket, slog.NewLogLogger(c.cfg.Log.Handler(), slog.LevelWarn))
	srv.ConnContext = withPeer
	err := serveUntil(ctx, srv, limit(c.l, maxConns))
	cancel()
	return errors.Join(err, <-web)
}

// newServer has the timeouts of all that serve the API.
func newServer(h http.Handler, log *log.Logger) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength != 0 {
				http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin)) // see readBody
			}
			h.ServeHTTP(w, r)
		}),
		// No ReadTimeout: it would end a log that is followed.
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      writeWithin, // answers of the API set it anew, streams their own
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log,
	}
}

// serveUntil serves l until ctx ends, and returns when no connection is served any more.
func serveUntil(ctx context.Context, srv *http.Server, l net.Listener) error {
	var conns sync.WaitGroup // who counts requests misses one that was just read
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew: // in Serve itself
			conns.Add(1)
		case http.StateClosed: // none is hijacked
			conns.Done()
		}
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		served <- err
	case <-ctx.Done():
	}
	ended := ctx.Err() != nil
	if ended {
		bound, cancel := context.WithTimeout(context.Background(), endWithin)
		defer cancel()
		srv.Shutdown(bound) // too late for some is no error: they are cut off
	}
	srv.Close()
	err := <-served
	conns.Wait() // Close cuts them off, but does not wait
	if ended {
		return nil
	}
	return err
}

// limitListener accepts no more than so many connections at once. Others wait
// in the kernel.
type limitListener struct {
	net.Listener
	free chan struct{}
	done chan struct{}
	once sync.Once
}

func limit(l net.Listener, n int) net.Listener {
	return &limitListener{Listener: l, free: make(chan struct{}, n), done: make(chan struct{})}
}

func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitConn{Conn: conn, free: l.free}, nil
}

func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitConn struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (c *limitConn) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}
