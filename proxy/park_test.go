package proxy

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Serve ends tunnels that rest as any others, and waits for them.
func TestServeEndsResting(t *testing.T) {
	s, serve := buildSite(t)
	s.parking.after = soon
	s.drainTime = soon
	s.redirect("8.8.0.9:443")
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- serve(ctx) }()
	c := s.open(fromTill, goodHello)
	<-s.records
	for range 2 {
		for s.parking.resting() == 0 {
			runtime.Gosched()
		}
		say(t, c, "still there")
		hear(t, c, "still there")
	}
	for s.parking.resting() == 0 {
		runtime.Gosched()
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if got := heard(c, nil); got != reset {
		t.Errorf("heard %s, want %s", got, reset)
	}
	if r := <-s.records; r.By != "stop" || r.Up != uint64(len(goodHello)+2*11) || r.Down != r.Up {
		t.Errorf("record %+v", r)
	}
	if n := len(s.records); n > 0 {
		t.Errorf("%d more records", n)
	}
	if _, tunnels := s.registry.count(); tunnels > 0 {
		t.Errorf("%d places are not given back", tunnels)
	}
}

// resting counts the tunnels that rest.
func (p *parking) resting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.tunnels)
}

// Memory is given back when many have gone to rest, and at most once in a while.
func TestParkingGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParking(parkAfter)
		var given atomic.Int32
		p.free = func() { given.Add(1) }
		p.running.Go(p.giveBack)
		defer p.close()
		rest := func(n int) {
			for n > len(p.tunnels) {
				p.mu.Lock()
				p.countLocked(nil, sockets{client: len(p.tunnels)})
				p.mu.Unlock()
			}
			for n < len(p.tunnels) {
				p.discount(sockets{client: len(p.tunnels) - 1})
			}
		}
		for i, step := range []struct {
			rest  int // as many
			after time.Duration
			want  int32
		}{
			{parkedMany - 1, time.Hour, 0},
			{parkedMany, giveBackAfter - time.Nanosecond, 0},
			{11 * parkedMany, time.Nanosecond, 1},
			{11 * parkedMany, giveBackPeriod, 1},
			{11 * parkedMany, giveBackAfter, 2},
			{11 * parkedMany, time.Hour, 2},
			{10*parkedMany + 1, time.Hour, 2}, // as after a heartbeat
			{11 * parkedMany, time.Hour, 2},
			{11*parkedMany + 1, giveBackAfter, 3},
		} {
			rest(step.rest)
			time.Sleep(step.after)
			synctest.Wait()
			if n := given.Load(); n != step.want {
				t.Errorf("step %d: given back %d times, want %d", i, n, step.want)
			}
		}
	})
}
