package console

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

// An eventStream is read as a browser does.
type eventStream struct {
	t    *testing.T
	resp *http.Response
	text *bufio.Reader
}

// listen asks for events; header may hold what a browser says when it comes back.
func listen(t *testing.T, client *http.Client, url string, header http.Header) *eventStream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &eventStream{t, resp, bufio.NewReader(resp.Body)}
}

// next returns the lines of the next block: an event, or a comment.
func (s *eventStream) next() (block []string) {
	s.t.Helper()
	for {
		line, err := s.text.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the events ended after %q: %v", block, err)
		}
		if line == "\n" {
			return block
		}
		block = append(block, strings.TrimSuffix(line, "\n"))
	}
}

// details returns the ids of the next events, with what their records tell.
func (s *eventStream) details(n int) (got []string) {
	s.t.Helper()
	for range n {
		block := s.next()
		if len(block) != 2 {
			s.t.Fatalf("not a record: %q", block)
		}
		r, err := decision.ParseRecord([]byte(strings.TrimPrefix(block[1], "data: ")))
		if err != nil {
			s.t.Fatal(err)
		}
		id, boot, _ := strings.Cut(block[0], "-")
		if boot != r.Boot {
			s.t.Errorf("the id of a record of run %s: %s", r.Boot, block[0])
		}
		got = append(got, id+" "+r.Detail)
	}
	return got
}

func serveEvents(t *testing.T, j Journal) *httptest.Server {
	t.Helper()
	api := NewAPI(context.Background(), Config{Journal: j, Log: slog.New(slog.DiscardHandler)})
	s := httptest.NewServer(api)
	t.Cleanup(s.Close)
	return s
}

func TestEvents(t *testing.T) {
	for _, tt := range []struct {
		name, query, id string
		want            []string
	}{
		{"the last", "last=2", "", []string{"id: 4 event 4", "id: 5 event 5", "id: 6 more"}},
		{"only what comes", "", "", []string{"id: 6 more"}},
		{"after", "after=3", "", []string{"id: 4 event 4", "id: 5 event 5", "id: 6 more"}},
		{"a browser that comes back", "after=1&last=9", "4", []string{"id: 5 event 5", "id: 6 more"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := openJournal(t)
			for i := range 5 {
				j.Record(event(i + 1))
			}
			s := serveEvents(t, j)
			header := http.Header{}
			if tt.id != "" {
				header.Set("Last-Event-ID", tt.id)
			}
			events := listen(t, s.Client(), s.URL+"/v1/events?"+tt.query, header)
			if kind := events.resp.Header.Get("Content-Type"); kind != "text/event-stream" {
				t.Errorf("Content-Type %q", kind)
			}
			if first := events.next(); !cmp.Equal(first, []string{"retry: 2000"}) {
				t.Errorf("begins with %q", first)
			}
			more := event(0)
			more.Detail = "more"
			j.Record(more)
			if diff := cmp.Diff(tt.want, events.details(len(tt.want))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// After a power cut the box gives seqs again that it had told, but had not on the disk.
func TestEventsOfAnotherRun(t *testing.T) {
	dir := t.TempDir()
	run := func(first, last int) *decision.Journal {
		j, err := decision.Open(decision.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for i := first; i <= last; i++ {
			j.Record(event(i))
		}
		return j
	}
	before := run(1, 3)
	ctx, stop := context.WithCancel(t.Context())
	stop() // it writes what there is, and ends
	if err := before.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	lost := run(4, 9) // was told, is not on the disk
	j := run(4, 5)
	s := serveEvents(t, j)
	for after, want := range map[string][]string{
		"9-" + lost.Boot(): {"id: 4 event 4", "id: 5 event 5"},
		"2-" + lost.Boot(): {"id: 3 event 3", "id: 4 event 4", "id: 5 event 5"},
		"4-" + j.Boot():    {"id: 5 event 5"},
		"4":                {"id: 5 event 5"},
	} {
		events := listen(t, s.Client(), s.URL+"/v1/events", http.Header{"Last-Event-ID": {after}})
		events.next()
		if diff := cmp.Diff(want, events.details(len(want))); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", after, diff)
		}
	}
}

func TestEventsFilter(t *testing.T) {
	j := openJournal(t)
	s := serveEvents(t, j)
	events := listen(t, s.Client(), s.URL+"/v1/events?plane=dns", nil)
	events.next()
	j.Record(event(1))
	j.Record(decision.Record{Plane: policy.DNS, Verdict: policy.Deny, Detail: "asked"})
	if diff := cmp.Diff([]string{"id: 2 asked"}, events.details(1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEventsRefused(t *testing.T) {
	s := serveEvents(t, openJournal(t))
	for query, want := range map[string]string{
		"plane=smoke":                `{"error":"unknown plane \"smoke\""}`,
		"until=2026-11-22T07:00:00Z": `{"error":"until: events have no end; read /v1/log for the past"}`,
		"after=x":                    `{"error":"after \"x\" is not a record's seq"}`,
	} {
		resp, err := s.Client().Get(s.URL + "/v1/events?" + query)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := strings.TrimSpace(string(body)); resp.StatusCode != http.StatusBadRequest || got != want {
			t.Errorf("%s: %d %s, want %s", query, resp.StatusCode, got, want)
		}
	}
}

// Events take of the same streams as logs, and give them back.
func TestEventsBounded(t *testing.T) {
	s := serveEvents(t, openJournal(t))
	var streams []*eventStream
	for range maxStreams {
		events := listen(t, s.Client(), s.URL+"/v1/events", nil)
		events.next()
		streams = append(streams, events)
	}
	if one := listen(t, s.Client(), s.URL+"/v1/events", nil); one.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one stream too many: status %d", one.resp.StatusCode)
	}
	streams[0].resp.Body.Close()
	for { // the server hears of it when it does
		events := listen(t, s.Client(), s.URL+"/v1/events", nil)
		events.resp.Body.Close()
		if events.resp.StatusCode == http.StatusOK {
			break
		}
	}
}

// unreadable is a journal with a bad place and a bad end.
type unreadable struct{ *decision.Journal }

func (unreadable) Read(decision.Query) iter.Seq2[decision.Record, error] {
	return func(yield func(decision.Record, error) bool) {
		_ = yield(decision.Record{}, &decision.Damage{Segment: "1.jsonl", Line: 3, Err: errors.New("not sealed")}) &&
			yield(decision.Record{}, errors.New("the disk is gone"))
	}
}

func TestEventsTellDamage(t *testing.T) {
	s := serveEvents(t, unreadable{openJournal(t)})
	events := listen(t, s.Client(), s.URL+"/v1/events?after=1", nil)
	events.next()
	for _, want := range []string{"1.jsonl", "the disk is gone"} {
		block := events.next()
		if len(block) != 2 || block[0] != "event: damage" || !strings.HasPrefix(block[1], `data: {"error":`) || !strings.Contains(block[1], want) {
			t.Errorf("%q tells nothing of %s", block, want)
		}
	}
	if _, err := events.text.ReadString('\n'); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended with %v", err)
	}
}

// A gap that the journal cannot fill is told without an id, so that who comes back
// gets what was missed.
func TestEventsGap(t *testing.T) {
	rec := httptest.NewRecorder()
	out := &events{lines: newLines(rec, "text/event-stream")}
	if err := errors.Join(out.record(&decision.Record{Event: decision.EventGap, Count: 3}), out.flush()); err != nil {
		t.Fatal(err)
	}
	if got := rec.Body.String(); !strings.HasPrefix(got, "event: gap\ndata: {") || strings.Contains(got, "id:") {
		t.Errorf("got %q", got)
	}
}

// pipeWriter answers into a pipe.
type pipeWriter struct {
	net.Conn
	header http.Header
}

func (w pipeWriter) Header() http.Header { return w.header }
func (pipeWriter) WriteHeader(int)       {}
func (pipeWriter) Flush()                {}

// While nothing happens a stream says so every 15 seconds, and one that nobody
// takes that from ends.
func TestEventsBeat(t *testing.T) {
	j := openJournal(t) // its goroutines are not the bubble's
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		ended := make(chan struct{})
		w := pipeWriter{there, http.Header{}}
		api := NewAPI(context.Background(), Config{Journal: j, Log: slog.New(slog.DiscardHandler)})
		go func() {
			defer close(ended)
			defer func() { recover() }() // as package http does
			api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/events", nil))
		}()
		events := &eventStream{t: t, text: bufio.NewReader(here)}
		events.next() // retry
		begun := time.Now()
		for i := range 3 {
			if got, want := events.next(), []string{":"}; !cmp.Equal(want, got) {
				t.Fatalf("got %q", got)
			}
			if after := time.Since(begun); after != time.Duration(i+1)*beatEvery {
				t.Errorf("beat %d after %v", i+1, after)
			}
		}
		here.Close()
		<-ended
	})
}
