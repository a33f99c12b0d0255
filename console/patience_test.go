package console

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tillgate/internal/check"
)

// slowBox is a box at a socket that answers by a handler, and a client of it that waits in
// milliseconds.
func slowBox(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "box.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: answer}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Shutdown(context.Background()); <-done }) // waits for those who answer
	c := NewClient(path)
	c.patience = patience{time.Millisecond, time.Millisecond, time.Hour}
	return c
}

// TestPatience waits for a box that is busy but alive, says so once, and gets the answer.
func TestPatience(t *testing.T) {
	for what, ask := range map[string]func(*Client) error{
		"report": func(c *Client) error { _, err := c.Report(t.Context(), time.Time{}); return err },
		"usage":  func(c *Client) error { _, err := c.Usage(t.Context(), time.Time{}); return err },
		"policy": func(c *Client) error { _, err := c.Policy(t.Context()); return err },
		"check": func(c *Client) (err error) {
			for _, err = range c.Check(t.Context(), check.Request{}) {
			}
			return err
		},
	} {
		alive := make(chan struct{}) // closed when it was asked how it is
		var once sync.Once
		c := slowBox(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/status" {
				once.Do(func() { close(alive) })
			} else {
				<-alive
			}
			w.Write([]byte(`{"verdict": {}}`))
		})
		var said []string
		c.Waiting = func(text string) { said = append(said, text) }
		if err := ask(c); err != nil || len(said) != 1 || !strings.Contains(said[0], "("+what+"); Ctrl-C ends this") {
			t.Errorf("%s: %v, told %q", what, err, said)
		}
	}
}

// TestHungBox gives up on a box that does not even say how it is.
func TestHungBox(t *testing.T) {
	c := slowBox(t, func(http.ResponseWriter, *http.Request) { <-t.Context().Done() })
	c.patience.dead = time.Millisecond
	if _, err := c.Report(t.Context(), time.Time{}); !errors.Is(err, errSilent) {
		t.Errorf("report: %v", err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, errSilent) {
		t.Errorf("status: %v", err)
	}
	for _, err := range c.Check(t.Context(), check.Request{}) {
		if !errors.Is(err, errSilent) {
			t.Errorf("check: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.patience.dead = time.Hour
	c.Waiting = func(string) { cancel() } // Ctrl-C
	if _, err := c.Policy(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
