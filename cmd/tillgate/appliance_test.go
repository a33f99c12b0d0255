package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tillgate/console"
	"tillgate/decision"
	"tillgate/internal/clock"
)

// newAppliance is a box that listens, with the embedded policy.
func newAppliance(t *testing.T) *appliance {
	t.Helper()
	dir, err := os.MkdirTemp("", "tg") // short, for the socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := defaultSettings()
	s.Listen.DNS = []string{freeAddr(t), freeAddr(t)}
	s.Listen.Proxy, s.Listen.Intercept, s.direct = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0", "[::1]:0"}, true
	s.Listen.Console = []string{"127.0.0.1:0"}
	where := places{state: filepath.Join(dir, "state"), socket: filepath.Join(dir, "run", socketName)}
	s.Listen.NTP, s.Time.Servers = []string{"127.0.0.1:0"}, []string{"127.0.0.1"}
	p := process{getenv: func(string) string { return "" }}
	p.lab.timePort = serveTime(t)
	a, err := openAppliance(where, s, p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	if err := a.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// events are those in a box's journal, after its end, but for what it says of the time.
func events(t *testing.T, a *appliance) []decision.Event {
	t.Helper()
	var list []decision.Event
	for r, err := range decision.Read(filepath.Join(a.where.state, journalDir), decision.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Event != decision.EventTime {
			list = append(list, r.Event)
		}
	}
	return list
}

// The box is alive by its own judgement, and its end leaves nothing behind.
func TestServe(t *testing.T) {
	a := newAppliance(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, stop := context.WithCancelCause(t.Context())
	signals := make(chan os.Signal, 1)
	served := make(chan error, 1)
	go func() { served <- a.serve(ctx, stop, signals) }()

	if err := a.clock.Wait(t.Context(), clock.Fine); err != nil {
		t.Error(err)
	}
	if err := a.alive(t.Context()); err != nil {
		t.Errorf("the box does not answer itself: %v", err)
	}
	s, err := console.NewClient(a.where.socket).Status(t.Context())
	if err != nil || len(s.Listen) != 7 || s.DNS.Queries != 4 || s.Proxy.Connections != 0 { // by UDP and TCP at each
		t.Errorf("%v, %+v", err, s)
	}
	signals <- syscall.SIGTERM
	if err := <-served; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]decision.Event{decision.EventStart, decision.EventStop}, events(t, a)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if err := a.alive(t.Context()); err == nil {
		t.Error("a box that has ended answers itself")
	}
}

// When a part fails all others end, and the journal has the end.
func TestServePartFails(t *testing.T) {
	a := newAppliance(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	broken := errors.New("broken")
	a.policy.serve = func(context.Context) error { return broken }
	ctx, stop := context.WithCancelCause(t.Context())
	if err := a.serve(ctx, stop, nil); !errors.Is(err, broken) {
		t.Errorf("serving ended with %v", err)
	}
	if diff := cmp.Diff([]decision.Event{decision.EventStart, decision.EventStop}, events(t, a)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A part that outlives others takes them with it when it fails.
func TestStageFails(t *testing.T) {
	broken := errors.New("broken")
	ctx, stop := context.WithCancelCause(t.Context())
	end := stage(stop, func(context.Context) error { return broken })
	<-ctx.Done()
	if cause := context.Cause(ctx); cause != broken {
		t.Errorf("the others end for %v", cause)
	}
	if err := end(); err != broken {
		t.Errorf("it ended with %v", err)
	}
}
