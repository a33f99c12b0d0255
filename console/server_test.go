package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

// shortDir is a folder whose sockets' paths are short enough: those of
// t.TempDir have the test's name in them.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve starts a console; stop ends it and waits.
func serve(t *testing.T, cfg Config) (c *Client, stop func()) {
	t.Helper()
	cfg.Socket = filepath.Join(shortDir(t), "s")
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := New(cfg)
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	var ended bool
	stop = func() {
		cancel()
		if !ended {
			ended = true
			if err := <-done; err != nil {
				t.Errorf("serving ended with %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return NewClient(cfg.Socket), stop
}

func TestAnswers(t *testing.T) {
	set := storeSet(t)
	status := Status{
		Version: "v1.2.3", PID: 7, State: "warn",
		Started: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC),
		Parts:   []Part{{Name: "upstream", State: "warn", Text: "slow", Since: time.Date(2026, 11, 22, 7, 1, 0, 0, time.UTC)}},
		Policy:  PolicyStatus{ID: set.ID(), Packs: []string{"acme"}},
		Listen:  []Listener{{"dns", netip.MustParseAddrPort("127.0.0.1:5300")}},
	}
	c, _ := serve(t, Config{
		Status: func() Status { return status },
		Policy: func() *policy.Set { return set },
		Now:    func() time.Time { return time.Time{} },
	})
	if got, err := c.Status(t.Context()); err != nil || !cmp.Equal(status, got, compare) {
		t.Errorf("status: %v\n%s", err, cmp.Diff(status, got, compare))
	}
	if got, err := c.Policy(t.Context()); err != nil || !cmp.Equal(DescribePolicy(set), got) {
		t.Errorf("policy: %v\n%s", err, cmp.Diff(DescribePolicy(set), got))
	}
	if got, err := c.PolicySet(t.Context()); err != nil || got.Hash() != set.Hash() || policy.Compare(set, got) != nil {
		t.Errorf("the policy's files: %v, %v", err, policy.Compare(set, got))
	}
	q := Question{Client: netip.MustParseAddr("10.20.0.7"), Name: "pay.acme.example"}
	want := Explain(set, q, time.Time{})
	if got, err := c.Explain(t.Context(), q); err != nil || !cmp.Equal(want, got, compare) {
		t.Errorf("explain: %v\n%s", err, cmp.Diff(want, got, compare))
	}
	q.Plane = policy.System
	if _, err := c.Explain(t.Context(), q); errorText(err) != `the box refused: plane "system" is not one that decides: dns, connect, tls, http, ntp or firewall` {
		t.Errorf("a wrong question: %v", err)
	}
}

func TestLogOfClient(t *testing.T) {
	j := openJournal(t)
	var want []string
	for i := range 5 {
		r := event(i)
		r.By = fmt.Sprint(i % 2)
		j.Record(r)
	}
	for r, err := range j.Read(decision.Query{After: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(r.AppendJSON(nil)))
	}
	c, _ := serve(t, Config{Journal: j})
	var got []string
	for line, err := range c.Log(t.Context(), LogQuery{Query: decision.Query{After: 2}}) {
		if err != nil || line.Damage != nil {
			t.Fatal(err, line.Damage)
		}
		got = append(got, string(line.JSON))
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 3 {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is recorded up to the end reaches those who follow, whose logs then end
// as logs do.
func TestLogEndsWithTheBox(t *testing.T) {
	j := openJournal(t)
	c, stop := serve(t, Config{Journal: j})
	j.Record(event(0))
	var got []string
	for line, err := range c.Log(t.Context(), LogQuery{Follow: true, Last: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line.Record.Detail)
		if len(got) == 1 {
			j.Record(event(1))
			stop()
		}
	}
	if diff := cmp.Diff([]string{"event 0", "event 1"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// failing is a journal that breaks off.
type failing struct {
	*decision.Journal
	errs []error
}

func (f failing) Read(decision.Query) iter.Seq2[decision.Record, error] {
	return func(yield func(decision.Record, error) bool) {
		for _, err := range f.errs {
			if !yield(event(1), err) {
				return
			}
		}
	}
}

func TestLogErrors(t *testing.T) {
	damage := &decision.Damage{Segment: "00000001.jsonl", Line: 7, Err: errors.New("torn")}
	broken := errors.New("the disk is gone")
	for name, tt := range map[string]struct {
		errs []error
		want []string
	}{
		"at once":       {[]error{broken}, []string{"damage: the disk is gone", "error: the log broke off: unexpected EOF"}},
		"in the middle": {[]error{nil, broken}, []string{"record", "damage: the disk is gone", "error: the log broke off: unexpected EOF"}},
		"damage":        {[]error{nil, damage, nil}, []string{"record", "damage: journal segment 00000001.jsonl, line 7: torn", "record"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, Config{Journal: failing{errs: tt.errs}})
			var got []string
			for line, err := range c.Log(t.Context(), LogQuery{}) {
				switch {
				case err != nil:
					got = append(got, "error: "+err.Error())
				case line.Damage != nil:
					got = append(got, "damage: "+line.Damage.Error())
				default:
					got = append(got, "record")
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// unread is a journal that is not searched before a condition holds.
type unread struct {
	*decision.Journal
	search func()
}

func (u unread) Read(decision.Query) iter.Seq2[decision.Record, error] {
	return func(func(decision.Record, error) bool) { u.search() }
}

// The first match may be far to find: a client must not wait for it to know that it
// is served, or it would give up.
func TestLogBeginsBeforeItIsFound(t *testing.T) {
	for _, target := range []string{"/v1/log?name=rare.example", "/v1/log?follow=1&since=2026-01-01T00:00:00Z"} {
		w := httptest.NewRecorder()
		stopping, stop := context.WithCancel(t.Context())
		searched := false
		journal := unread{openJournal(t), func() {
			searched = true
			if !w.Flushed || w.Header().Get("Content-Type") != "application/x-ndjson" {
				t.Errorf("%s: no header was sent before the search", target)
			}
			stop()
		}}
		NewAPI(stopping, Config{Journal: journal}).ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if !searched || w.Code != http.StatusOK {
			t.Errorf("%s: searched: %v, status %d", target, searched, w.Code)
		}
		stop()
	}
}

// Followers are bounded, and one that leaves makes room.
func TestLogBounded(t *testing.T) {
	j := openJournal(t)
	c, _ := serve(t, Config{Journal: j})
	j.Record(event(0))
	q := LogQuery{Follow: true, Last: 1}
	var leave []context.CancelFunc
	ended := make(chan struct{})
	for range maxStreams {
		ctx, cancel := context.WithCancel(t.Context())
		leave = append(leave, cancel)
		begun := make(chan struct{})
		go func() {
			for _, err := range c.Log(ctx, q) {
				if err == nil {
					close(begun)
				}
			}
			ended <- struct{}{}
		}()
		<-begun
	}
	for _, err := range c.Log(t.Context(), q) {
		if errorText(err) != "the box refused: "+decision.ErrTooMany.Error() {
			t.Errorf("one too many got %v", err)
		}
	}
	for _, cancel := range leave {
		cancel()
	}
	// The box notices by itself: it is asked until it has.
	for err := errors.New("none yet"); err != nil; {
		for _, err = range c.Log(t.Context(), LogQuery{}) {
			break
		}
	}
	for range maxStreams {
		<-ended
	}
}

// A client that does not read is given up, and does not keep the box.
func TestLogStalledClient(t *testing.T) {
	j := openJournal(t)
	for i := range 20_000 {
		j.Record(event(i))
	}
	c, stop := serve(t, Config{Journal: j})
	conn, err := net.Dial("unix", c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/log?follow=1&since=2020-01-01T00:00:00Z HTTP/1.1\r\nHost: x\r\n\r\n")
	if status, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil || !strings.Contains(status, "200") {
		t.Fatal(status, err)
	}
	stop() // hangs if the stalled client could hold it
}

func TestConnectionsBounded(t *testing.T) {
	c, stop := serve(t, Config{})
	var conns []net.Conn
	for range maxConns + 3 {
		conn, err := net.Dial("unix", c.Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		fmt.Fprint(conn, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	for i, conn := range conns[:maxConns] {
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	// Those beyond wait until one of the others is closed.
	conns[0].Close()
	if _, err := http.ReadResponse(bufio.NewReader(conns[maxConns]), nil); err != nil {
		t.Fatal(err)
	}
	stop()
	last := conns[maxConns+2]
	if n, err := io.Copy(io.Discard, last); n > 0 {
		t.Errorf("a connection beyond the bound was served: %d bytes, %v", n, err)
	}
}

// end lets a console that listens go.
func end(t *testing.T, c *Console) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Serve(ctx); err != nil {
		t.Error(err)
	}
}

func TestSocket(t *testing.T) {
	listen := func(path string) (*Console, error) {
		c := New(Config{Socket: path, Log: slog.New(slog.DiscardHandler)})
		return c, c.Listen(t.Context())
	}
	t.Run("mode", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		c, err := listen(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != fs.ModeSocket|0o660 {
			t.Errorf("%v, %v, want a socket of mode 0660", info.Mode(), err)
		}
		if end(t, c); exists(path) {
			t.Error("the socket is still there after the end")
		}
	})
	t.Run("stale", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
		c, err := listen(path)
		if err != nil {
			t.Fatalf("a dead box's socket: %v", err)
		}
		end(t, c)
	})
	t.Run("live", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		first, err := listen(path)
		if err != nil {
			t.Fatal(err)
		}
		defer end(t, first)
		_, err = listen(path)
		var inUse *InUseError
		if !errors.As(err, &inUse) || !exists(path) {
			t.Errorf("a live box's socket: %v", err)
		}
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "s")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := listen(path); err == nil || !exists(path) {
			t.Errorf("a file in the socket's place: %v", err)
		}
	})
	t.Run("long", func(t *testing.T) {
		path := "/tmp/" + strings.Repeat("x", maxSocketPath-4)
		if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "longer than 107 bytes") {
			t.Errorf("a long path: %v", err)
		}
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestNoBox(t *testing.T) {
	c := NewClient(filepath.Join(shortDir(t), "s"))
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoBox) {
		t.Errorf("no socket: %v", err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoBox) {
		t.Errorf("a dead box's socket: %v", err)
	}
}
