package ntprelay

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/policy"
)

// serving runs the bench without sockets, in a bubble whose time is the machine's. The
// servers are the test's: b.synchronise.
func (b *bench) serving(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	}
}

// sleep lets the time of the bubble and of the machine pass.
func (b *bench) sleep(d time.Duration) {
	time.Sleep(d)
	b.pass(d)
	synctest.Wait()
}

// A request that comes before the time waits for it, and its client sees no delay: the
// receive stamp is that of its arrival.
func TestParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.serving(t)()
		if got := b.ask(till, packet(first(3, client), b.truth().Add(-time.Minute))); got != nil {
			t.Fatalf("answered at once: %+v", got)
		}
		came := b.truth()
		b.sleep(2900 * time.Millisecond)
		if len(b.answers()) != 0 || b.Stats().Parked != 1 {
			t.Fatalf("%d answers, %d parked", len(b.answers()), b.Stats().Parked)
		}
		b.synchronise()
		synctest.Wait()
		if len(b.answers()) != 1 {
			t.Fatalf("%d answers", len(b.answers()))
		}
		got := b.answers()[0].header
		if got.leap != 0 || got.stratum != 3 || got.receive.sub(stampOf(came)).Abs() > time.Microsecond ||
			(got.transmit.sub(got.receive)-2900*time.Millisecond).Abs() > time.Microsecond {
			t.Errorf("answered %+v", got)
		}
		recs := b.records.take()
		if len(recs) != 1 || recs[0].Verdict != policy.Allow || recs[0].Ms != 2900 || recs[0].OffsetMs < -60_001 || recs[0].OffsetMs > -59_999 {
			t.Errorf("recorded %+v", recs)
		}

		// Never again: what comes when the time was lost is told so at once.
		b.sleep(24 * time.Hour)
		if got := b.ask(till, packet(first(3, client), time.Time{})); got == nil || got.leap != unknown {
			t.Errorf("a day later: %+v", got)
		}
	})
}

// What waits for too long, or when the box stops, is told that there is no time.
func TestParkedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		stop := b.serving(t)
		asked := packet(first(4, client), start)
		b.ask(till, asked)
		b.sleep(time.Second)
		b.ask(pos, asked)
		for _, step := range []struct {
			sleep time.Duration
			sent  int
		}{{2*time.Second - 1, 0}, {1, 1}, {time.Second - 1, 1}, {1, 2}} {
			if b.sleep(step.sleep); len(b.answers()) != step.sent {
				t.Fatalf("%d answers, want %d", len(b.answers()), step.sent)
			}
		}
		b.ask(till, asked)
		b.sleep(time.Second)
		b.ask(till, asked)
		stop()
		b.ask(till, asked) // read before the sockets close
		if len(b.answers()) != 5 || b.Stats().Parked != 0 {
			t.Fatalf("%d answers, %d parked", len(b.answers()), b.Stats().Parked)
		}
		for i, s := range b.answers() {
			if s.leap != unknown || s.origin != stampOf(start) {
				t.Errorf("answer %d: %+v", i, s.header)
			}
		}
		for _, rec := range b.records.take() {
			if rec.Verdict != policy.Deny || rec.Reason != policy.TimeUntrusted {
				t.Errorf("recorded %+v", rec)
			}
		}
	})
}

// No more wait than the bounds. A client's oldest gives way to its newest, and when all
// places are taken the rest is answered at once.
func TestParkedBounded(t *testing.T) {
	b := newBench(t)
	asked := func(i int) []byte { return packet(first(4, client), start.Add(time.Duration(i)*time.Second)) }
	for i := range maxParkedPerClient + 1 {
		b.ask(till, asked(i))
	}
	if len(b.answers()) != 1 || b.answers()[0].origin != stampOf(start) || b.answers()[0].leap != unknown {
		t.Fatalf("one client too often: %+v", b.answers())
	}
	b.sent = nil
	for i := range maxParked - maxParkedPerClient {
		b.ask(fmt.Sprintf("[fd00:1::1:%x]:123", i), asked(0))
	}
	if len(b.answers()) != 0 || b.parked.len() != maxParked {
		t.Fatalf("%d answers, %d parked", len(b.answers()), b.parked.len())
	}
	if got := b.ask("[fd00:1::2:0]:123", asked(7)); got == nil || got.origin != stampOf(start.Add(7*time.Second)) {
		t.Errorf("one too many: %+v", got)
	}
	b.ask(till, asked(8)) // a retry still finds its place
	if len(b.answers()) != 2 || b.answers()[1].origin != stampOf(start.Add(time.Second)) || b.parked.len() != maxParked {
		t.Errorf("a retry: %+v, %d parked", b.answers()[1:], b.parked.len())
	}
}
