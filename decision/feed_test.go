package decision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/policy"
)

// drain returns what is there for the subscriber now.
func drain(s *Subscription) []Record {
	var all []Record
	for {
		r, ok, _ := s.take()
		if !ok {
			return all
		}
		all = append(all, r)
	}
}

func follow(t *testing.T, j *Journal, q Query, backlog int) *Subscription {
	t.Helper()
	s, err := j.Subscribe(q, backlog)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A subscriber gets the last records that match, in order, then the new ones,
// long before they are on the disk.
func TestSubscribe(t *testing.T) {
	j := mustOpen(t, Config{Dir: t.TempDir()}, quickDisk(), defaults())
	for i := range 5 {
		j.Record(event(fmt.Sprint(i)))
		j.attempt(denial("10.0.0.1", fmt.Sprint(i)))
	}
	all := follow(t, j, Query{}, ringRecords)
	some := follow(t, j, Query{Planes: []policy.Plane{policy.System}}, 2)
	none := follow(t, j, Query{}, 0)
	j.Record(event("5"))
	j.attempt(denial("10.0.0.1", "5"))
	if got := details(drain(some)); got != "3 4 5" {
		t.Errorf("some: %s", got)
	}
	if got := drain(all); len(got) != 12 || got[0].Seq != 1 || got[11].Seq != 12 || got[11].Name != "5" {
		t.Errorf("all: %+v", got)
	}
	if got := drain(none); len(got) != 2 || got[0].Seq != 11 {
		t.Errorf("none: %+v", got)
	}
	if names := names(t, j.cfg.Dir); names != "" {
		t.Errorf("on the disk: %s", names)
	}
}

func TestSubscriptionWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, Config{Dir: t.TempDir()}, quickDisk(), defaults())
		stop := serve(t, j)
		s := follow(t, j, Query{}, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing to get: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			j.Record(event("1"))
			j.Record(event("2"))
		}()
		for _, want := range []string{"1", "2"} {
			if r, err := s.Next(t.Context()); err != nil || r.Detail != want {
				t.Errorf("got %q, %v", r.Detail, err)
			}
		}
		j.Record(event("last"))
		closed := follow(t, j, Query{}, 1)
		closed.Close()
		closed.Close()
		j.Record(event("not for the closed"))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			s    *Subscription
			want string
		}{"closed": {closed, "last"}, "ended": {s, "last not for the closed"}} {
			if got := details(drain(tt.s)); got != tt.want {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
			if _, err := tt.s.Next(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := j.Subscribe(Query{}, 0); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A slow subscriber hinders nobody. In the place of what it misses it gets how
// much that was, and then goes on.
func TestSlowSubscriber(t *testing.T) {
	clock := &settable{at("2026-11-22T10:00:00Z")}
	j := mustOpen(t, Config{Dir: t.TempDir(), Now: clock.now, Boot: "b"}, quickDisk(), defaults())
	j.Record(event("backlog"))
	slow, quick := follow(t, j, Query{}, 1), follow(t, j, Query{}, 1)
	var got []Record
	total := 1
	record := func(n int) {
		for range n {
			clock.t = clock.t.Add(time.Second)
			total++
			j.Record(event(fmt.Sprint(total)))
			got = append(got, drain(quick)...)
		}
	}
	record(subscriberQueue)
	if len(slow.queue) != subscriberQueue+1 || slow.missed != 0 {
		t.Fatalf("%d wait, %d are missed", len(slow.queue), slow.missed)
	}
	record(7)
	if _, err := slow.Next(t.Context()); err != nil { // makes room, but the gap has one place
		t.Fatal(err)
	}
	record(3)
	if len(got) != total {
		t.Errorf("the quick one got %d of %d", len(got), total)
	}
	late := drain(slow)
	if len(late) != subscriberQueue+1 {
		t.Fatalf("the slow one got %d", len(late))
	}
	gap := late[subscriberQueue]
	want := Record{Time: got[subscriberQueue+1].Time, Boot: "b", Plane: policy.System, Event: EventGap, Count: 10, Until: clock.t,
		Detail: "10 records came too fast for this follower; the journal has them"}
	if d := diff(want, gap); d != "" {
		t.Error(d)
	}
	record(1)
	if again := drain(slow); len(again) != 1 || again[0].Detail != fmt.Sprint(total) {
		t.Errorf("then: %+v", again)
	}
}

func TestFeedBounds(t *testing.T) {
	j := mustOpen(t, Config{Dir: t.TempDir()}, quickDisk(), defaults())
	for range ringRecords + 100 {
		j.Record(event("x"))
	}
	if n := j.Stats().Ring; n != ringRecords {
		t.Errorf("%d records are held", n)
	}
	if s := follow(t, j, Query{}, 1<<30); len(s.queue) != ringRecords || s.queue[0].Seq != 101 {
		t.Errorf("a backlog of %d", len(s.queue))
	}
	for range ringBytes/maxDetail + 1 {
		j.Record(event(strings.Repeat("x", maxDetail)))
	}
	if n := j.Stats().Ring; n >= ringBytes/maxDetail || j.feed.bytes > ringBytes {
		t.Errorf("%d records of %d bytes are held", n, j.feed.bytes)
	}
	for j.Stats().Subscribers < maxSubscribers {
		follow(t, j, Query{}, 0)
	}
	if _, err := j.Subscribe(Query{}, 0); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	j.feed.subs[3].Close()
	follow(t, j, Query{}, 0)
}
