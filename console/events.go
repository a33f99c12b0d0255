package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"tillgate/decision"
)

const (
	// beatEvery is how often a stream of events says that it lives. Nothing else would
	// be sent to a peer that has gone without a word, and so nothing would fail.
	beatEvery = 15 * time.Second
	// retryMs is how long a browser waits before it connects again.
	retryMs = "2000"
)

// events follows the log as Server-Sent Events, for the page. Where a browser lost
// its connection it tells the last record that it has, and gets all from there. Which run
// of the box a record is of is in its id, as the next run may give the same seq.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	after, boot, of := strings.Cut(cmp.Or(r.Header.Get("Last-Event-ID"), v.Get("after")), "-")
	v.Set("after", after)
	q, err := ParseLogQuery(v)
	if of {
		q.After = a.cfg.Journal.ReadOn(boot, q.After)
	}
	if err == nil && !q.Until.IsZero() {
		err = errors.New("until: events have no end; read /v1/log for the past")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	q.Follow = true
	ctx, cancel := context.WithCancel(r.Context())
	out := &events{lines: newLines(w, "text/event-stream")}
	var beat sync.WaitGroup
	beat.Go(func() {
		defer cancel() // nobody reads any more
		out.beat(ctx)
	})
	defer beat.Wait()
	defer cancel()
	a.stream(w, r.WithContext(ctx), q, out)
}

// events is a sink that writes Server-Sent Events (HTML Living Standard, section 9.2).
type events struct {
	mu    sync.Mutex // a beat may come between two events, not within one
	lines *lines
	buf   []byte
}

// record leaves out the id of what the journal does not have: the gap of a
// subscription.
func (e *events) record(r *decision.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.buf[:0]
	if r.Seq == 0 {
		b = append(b, "event: gap\n"...)
	} else {
		b = append(strconv.AppendUint(append(b, "id: "...), r.Seq, 10), '-')
		b = append(append(b, url.QueryEscape(r.Boot)...), '\n') // is hex, but of a file
	}
	b = r.AppendJSON(append(b, "data: "...)) // has no line end within
	e.buf = append(b, "\n\n"...)
	return e.lines.line(e.buf)
}

func (e *events) damage(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.lines.line([]byte("event: damage\ndata: ")); err != nil {
		return err
	}
	if err := e.lines.damage(err); err != nil {
		return err
	}
	return e.lines.line([]byte("\n"))
}

func (e *events) flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.lines.begun {
		if err := e.lines.line([]byte("retry: " + retryMs + "\n\n")); err != nil {
			return err
		}
	}
	return e.lines.flush()
}

func (e *events) hasBegun() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lines.begun
}

// beat returns when ctx ends or nobody takes the beats.
func (e *events) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if e.comment() != nil {
			return
		}
	}
}

func (e *events) comment() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.lines.begun { // it may yet be refused
		return nil
	}
	if err := e.lines.line([]byte(":\n\n")); err != nil {
		return err
	}
	return e.lines.flush()
}
