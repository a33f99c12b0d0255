package console

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"syscall"
	"time"

	"tillgate/decision"
	"tillgate/report"
)

// ErrNoBox is the error of a client whose socket nobody serves.
var ErrNoBox = errors.New("no box is running")

const (
	maxAnswer = 64 << 20 // bytes of one that is read whole
	maxLine   = 1 << 20  // bytes of one line of a log
)

// Client asks a box at its unix socket.
type Client struct {
	Socket string
	// Waiting is told, once a question, that its answer takes long, and what to do. Nil: nobody is.
	Waiting func(text string)

	http     http.Client
	patience patience
}

// NewClient does not connect yet.
func NewClient(socket string) *Client {
	c := &Client{Socket: socket, patience: patience{noteAfter, askTimeout, deadAfter}}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	return c
}

// Status asks how the box is, and waits a minute at most. As with all methods the error is [ErrNoBox] when
// nobody serves the socket, and fs.ErrPermission when this user may not use it.
func (c *Client) Status(ctx context.Context) (Status, error) {
	within, cancel := context.WithTimeout(ctx, c.patience.dead)
	defer cancel()
	s, err := ask[Status](within, c, "/v1/status")
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("asking the box at %s: %w", c.Socket, errSilent)
	}
	return s, err
}

// Policy asks for the policy in force.
func (c *Client) Policy(ctx context.Context) (Policy, error) {
	return ask[Policy](ctx, c, "/v1/policy")
}

// Explain asks for a verdict and why.
func (c *Client) Explain(ctx context.Context, q Question) (Explanation, error) {
	return ask[Explanation](ctx, c, "/v1/explain?"+q.Values().Encode())
}

// Usage asks how the rules were used since a time.
func (c *Client) Usage(ctx context.Context, since time.Time) (report.Usage, error) {
	return ask[report.Usage](ctx, c, "/v1/usage?since="+since.UTC().Format(time.RFC3339Nano))
}

// Report asks for the auditor's report since a time.
func (c *Client) Report(ctx context.Context, since time.Time) (report.Report, error) {
	return ask[report.Report](ctx, c, "/v1/report?since="+since.UTC().Format(time.RFC3339Nano))
}

func ask[T any](ctx context.Context, c *Client, target string) (T, error) {
	return exchange[T](ctx, c, http.MethodGet, target, "", nil)
}

func post[T any](ctx context.Context, c *Client, target string, question any) (answer T, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	return exchange[T](ctx, c, http.MethodPost, target, "application/json", body)
}

// exchange reads an answer that is one object, however long it takes.
func exchange[T any](ctx context.Context, c *Client, method, target, kind string, body []byte) (answer T, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	resp, err := c.doPatiently(ctx, end, method, target, kind, body)
	if err != nil {
		return answer, err
	}
	return decode[T](resp)
}

// bounded is exchange for as long as ctx lasts, without a word.
func bounded[T any](ctx context.Context, c *Client, method, target, kind string, body []byte) (answer T, err error) {
	resp, err := c.do(ctx, method, target, kind, body)
	if err != nil {
		return answer, err
	}
	return decode[T](resp)
}

func decode[T any](resp *http.Response) (answer T, err error) {
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("reading the box's answer: %w", err)
	}
	return answer, nil
}

// LogLine is a line of a log: a record, or a place that could not be read.
type LogLine struct {
	JSON   []byte // the record as the journal has it; valid until the next
	Record decision.Record
	Damage error

	Progress *decision.Progress // or how far the reading is, with [LogQuery.Steps]
}

// Log reads the journal. An error is the last; a log that is followed ends
// without one when the box stops.
func (c *Client) Log(ctx context.Context, q LogQuery) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		resp, err := c.doPatiently(ctx, end, http.MethodGet, "/v1/log?"+q.Values().Encode(), "", nil)
		if err != nil {
			yield(LogLine{}, err)
			return
		}
		defer resp.Body.Close()
		scan := bufio.NewScanner(resp.Body)
		scan.Buffer(make([]byte, 0, 64<<10), maxLine)
		for scan.Scan() {
			line, err := parseLine(scan.Bytes())
			if !yield(line, err) || err != nil {
				return
			}
		}
		if err := scan.Err(); err != nil {
			yield(LogLine{}, fmt.Errorf("the log broke off: %w", err))
		}
	}
}

func parseLine(text []byte) (LogLine, error) {
	if bytes.HasPrefix(text, []byte(`{"error":`)) {
		var f failure
		if err := json.Unmarshal(text, &f); err == nil {
			return LogLine{Damage: errors.New(f.Error)}, nil
		}
	}
	if bytes.HasPrefix(text, []byte(`{"progress":`)) {
		var s step
		if err := json.Unmarshal(text, &s); err == nil {
			return LogLine{Progress: &s.Progress}, nil
		}
	}
	r, err := decision.ParseRecord(text)
	if err != nil {
		return LogLine{}, fmt.Errorf("reading a line of the log: %w", err)
	}
	return LogLine{JSON: text, Record: r}, nil
}

// do returns a response with status 200. A body of no kind is none.
func (c *Client) do(ctx context.Context, method, target, kind string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://tillgate"+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s", ErrNoBox, c.Socket)
	case err != nil:
		return nil, fmt.Errorf("asking the box at %s: %w", c.Socket, errors.Unwrap(err)) // without the URL
	case resp.StatusCode == http.StatusOK:
		return resp, nil
	}
	defer resp.Body.Close()
	var f failure
	err = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&f)
	if err != nil || f.Error == "" {
		return nil, fmt.Errorf("the box answered with status %s", resp.Status)
	}
	return nil, fmt.Errorf("the box refused: %s", f.Error)
}
