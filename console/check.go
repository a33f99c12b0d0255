package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"tillgate/internal/check"
)

// maxChecks is how many tests of the destinations go on at once.
const maxChecks = 2

var (
	// errChecking is a test for which there is no place.
	errChecking = fmt.Errorf("%d tests are under way already; wait for their end", maxChecks)
	// errLooking is one of who only looks while there is another of that kind.
	errLooking = errors.New("a test is under way already; wait for its end")
)

// check tests the documented destinations from the box. Its answer is a stream of lines, each
// a [check.Line]; one that ends without a verdict has broken off.
func (a *API) check(w http.ResponseWriter, r *http.Request) {
	var req check.Request
	if status, err := readBody(w, r, &req); err != nil {
		refuse(w, status, err)
		return
	}
	// It changes nothing, but has the box go out into the network. Who may use the socket could
	// do that from this machine. Who only looks, on this machine and without a password, may have
	// it go where the policy says, one at a time, and nowhere of his own choice.
	if c := callerOf(r.Context()); !c.local && !c.change {
		if req.Via.IsValid() || req.Speed != "" {
			mayChange(w, r)
			return
		}
		select {
		case a.looking <- struct{}{}:
			defer func() { <-a.looking }()
		default:
			refuse(w, http.StatusServiceUnavailable, errLooking)
			return
		}
	}
	select {
	case a.checks <- struct{}{}:
		defer func() { <-a.checks }()
	default:
		refuse(w, http.StatusServiceUnavailable, errChecking)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	out := newLines(w, "application/x-ndjson")
	err := a.cfg.Check(ctx, req, func(line check.Line) error {
		text, err := json.Marshal(line)
		if err != nil {
			return err
		}
		if err := out.line(append(text, '\n')); err != nil {
			return err
		}
		return out.flush()
	})
	switch {
	case err == nil:
	case !out.begun:
		refuse(w, http.StatusUnprocessableEntity, err)
	default:
		if a.stopping.Err() != nil {
			err = errors.New("the box stops")
		}
		out.damage(err)
		out.flush()
	}
}

// Check has the box test its destinations. An error is the last; without one the last line
// is the verdict.
func (c *Client) Check(ctx context.Context, req check.Request) iter.Seq2[check.Line, error] {
	return func(yield func(check.Line, error) bool) {
		body, err := json.Marshal(req)
		if err != nil {
			yield(check.Line{}, err)
			return
		}
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		resp, err := c.doPatiently(ctx, end, http.MethodPost, "/v1/check", "application/json", body)
		if err != nil {
			yield(check.Line{}, err)
			return
		}
		defer resp.Body.Close()
		scan := bufio.NewScanner(resp.Body)
		scan.Buffer(make([]byte, 0, 64<<10), maxLine)
		for scan.Scan() {
			var line struct {
				check.Line
				failure
			}
			err := json.Unmarshal(scan.Bytes(), &line)
			switch {
			case err != nil:
				err = fmt.Errorf("reading a line of the test: %w", err)
			case line.Error != "":
				err = fmt.Errorf("the test was cut short: %s", line.Error)
			}
			if !yield(line.Line, err) || err != nil || line.Verdict != nil {
				return
			}
		}
		err = scan.Err()
		if err == nil {
			err = errors.New("there is no verdict")
		}
		yield(check.Line{}, fmt.Errorf("the test broke off: %w", err))
	}
}
