package console

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"tillgate/decision"
	"tillgate/policy"
)

var compare = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openJournal is a journal that runs until the test ends.
func openJournal(t *testing.T) *decision.Journal {
	t.Helper()
	j, err := decision.Open(decision.Config{Dir: filepath.Join(t.TempDir(), "journal"), Sync: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- j.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return j
}

// event is a record that is never counted as the repeat of another.
func event(i int) decision.Record {
	return decision.Record{Plane: policy.System, Event: decision.EventHealth, Detail: fmt.Sprint("event ", i)}
}

// collector is a sink that tells of each record.
type collector struct {
	got     chan decision.Record
	flushed chan struct{} // full: nobody waits for it
	hold    chan struct{} // nil: each record is taken at once
}

func newCollector() *collector {
	return &collector{got: make(chan decision.Record, 1<<16), flushed: make(chan struct{}, 1<<16)}
}

func (c *collector) record(r *decision.Record) error {
	if c.hold != nil {
		<-c.hold
	}
	c.got <- *r
	return nil
}

func (c *collector) damage(err error) error { return err }
func (c *collector) flush() error           { c.flushed <- struct{}{}; return nil }

// next returns the seqs of the next n records.
func (c *collector) next(n int) []uint64 {
	seqs := make([]uint64, n)
	for i := range seqs {
		seqs[i] = (<-c.got).Seq
	}
	return seqs
}

func count(from, to uint64) []uint64 {
	var seqs []uint64
	for i := from; i <= to; i++ {
		seqs = append(seqs, i)
	}
	return seqs
}

// Records come while the past is read and after it: each must come once, in
// order, whichever side of the seam it is on.
func TestFollowSeam(t *testing.T) {
	const before, during = 500, 2000
	j := openJournal(t)
	for i := range before {
		j.Record(event(i))
	}
	to := newCollector()
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		q := LogQuery{Query: decision.Query{Since: time.Now().Add(-time.Hour)}, Follow: true}
		if err := read(ctx, context.Background(), j, q, to); !errors.Is(err, context.Canceled) {
			t.Errorf("reading ended with %v", err)
		}
	})
	for i := range during {
		j.Record(event(before + i))
	}
	if diff := cmp.Diff(count(1, before+during), to.next(before+during)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cancel()
	work.Wait()
}

// A follower that stalls for longer than its queue holds reads the rest from
// the journal: nothing is missing and nothing is said to be.
func TestFollowCatchesUp(t *testing.T) {
	const n = 3000 // more than a subscription's queue
	j := openJournal(t)
	to := newCollector()
	to.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		read(ctx, context.Background(), j, LogQuery{Follow: true}, to)
	})
	<-to.flushed // it has subscribed
	for i := range n {
		j.Record(event(i))
	}
	close(to.hold)
	if diff := cmp.Diff(count(1, n), to.next(n)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cancel()
	work.Wait()
}

func TestFollowBeginsWithTheLast(t *testing.T) {
	j := openJournal(t)
	for i := range 20 {
		j.Record(event(i))
	}
	to := newCollector()
	stopping, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		if err := read(t.Context(), stopping, j, LogQuery{Follow: true, Last: 3}, to); err != nil {
			t.Error(err)
		}
	})
	if diff := cmp.Diff(count(18, 20), to.next(3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	j.Record(event(20))
	stop() // what was recorded before is still given
	work.Wait()
	close(to.got)
	var rest []uint64
	for r := range to.got {
		rest = append(rest, r.Seq)
	}
	if diff := cmp.Diff(count(21, 21), rest); diff != "" {
		t.Errorf("after the end (-want +got):\n%s", diff)
	}
}

// forgetful is a journal that can be followed, but not read.
type forgetful struct{ *decision.Journal }

func (forgetful) Read(decision.Query) iter.Seq2[decision.Record, error] {
	return func(func(decision.Record, error) bool) {}
}

// What cannot be caught up is told as missing.
func TestFollowTellsOfAGap(t *testing.T) {
	const n = 3000
	j := openJournal(t)
	to := newCollector()
	to.hold = make(chan struct{})
	stopping, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		if err := read(t.Context(), stopping, forgetful{j}, LogQuery{Follow: true}, to); err != nil {
			t.Error(err)
		}
	})
	<-to.flushed
	for i := range n {
		j.Record(event(i))
	}
	close(to.hold)
	stop()
	work.Wait()
	close(to.got)
	given, missing := 0, uint64(0)
	for r := range to.got {
		if r.Event == decision.EventGap {
			missing += r.Count
		} else {
			given++
		}
	}
	if missing == 0 || uint64(given)+missing != n {
		t.Errorf("%d records given and %d told as missing, want %d in all", given, missing, n)
	}
}

// A journal that never matches must not keep a client's reading alive after
// the client.
func TestSelectEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	asked := decision.Query{Class: "pos", After: 3, Progress: func(p decision.Progress) bool { told++; return true }}
	segments := 0
	endless := func(q decision.Query) iter.Seq2[decision.Record, error] {
		if q.Class != asked.Class || q.After != asked.After {
			t.Errorf("asked of the journal: %+v", q)
		}
		return func(yield func(decision.Record, error) bool) {
			for q.Progress(decision.Progress{Done: int64(segments)}) {
				if segments++; segments == 10 {
					cancel()
				}
			}
		}
	}
	var errs []error
	for _, err := range Select(ctx, endless, asked) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) || segments != 10 || told != 10 {
		t.Errorf("yielded %v after %d segments, of which %d were told; want the end of the context alone", errs, segments, told)
	}

	// Nor one that always does.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	always := func(q decision.Query) iter.Seq2[decision.Record, error] {
		return func(yield func(decision.Record, error) bool) {
			for yield(event(0), nil) {
			}
		}
	}
	errs = nil
	for _, err := range Select(ctx, always, decision.Query{}) {
		if errs = append(errs, err); len(errs) == 3 {
			cancel()
		}
	}
	if len(errs) != 4 || !errors.Is(errs[3], context.Canceled) {
		t.Errorf("yielded %v", errs)
	}
}
