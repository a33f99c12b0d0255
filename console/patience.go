package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Who asks at the socket waits for as long as an answer takes: on a small router a report may
// take a minute, and a box that is busy with its terminals lets the command line wait. What it
// must not wait for is a box that hangs.
const (
	noteAfter  = 3 * time.Second  // until the one who waits is told so
	askTimeout = 10 * time.Second // between questions whether the box is alive; of short answers
	deadAfter  = time.Minute      // that an answer to such a question may take
)

// patience is how a client waits. Tests have other times.
type patience struct{ note, ask, dead time.Duration }

// errSilent is a box that does not say how it is.
var errSilent = errors.New("the box hangs, as it does not say how it is either; journalctl -u tillgate may tell why")

// doPatiently is do for an answer that may take the box long to begin: it waits until ctx ends,
// or the box does not answer for its status. end ends ctx.
func (c *Client) doPatiently(ctx context.Context, end context.CancelCauseFunc, method, target, kind string, body []byte) (*http.Response, error) {
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := c.watch(watching, target); err != nil {
			end(err)
		}
	}()
	resp, err := c.do(ctx, method, target, kind, body)
	stop()
	<-watched
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSilent) {
		err = cause
	}
	return resp, err
}

// watch returns when ctx ends, or with an error when the box hangs.
func (c *Client) watch(ctx context.Context, target string) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(c.patience.note):
	}
	if c.Waiting != nil {
		what, _, _ := strings.Cut(strings.TrimPrefix(target, "/v1/"), "?")
		c.Waiting(fmt.Sprintf("waiting for the box at %s, which is busy (%s); Ctrl-C ends this", c.Socket, what))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.patience.ask):
		}
		asked, cancel := context.WithTimeout(ctx, c.patience.dead)
		_, err := bounded[Status](asked, c, http.MethodGet, "/v1/status", "", nil)
		cancel()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("asking the box at %s: %w", c.Socket, errSilent)
		}
	}
}
