package proxy

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// run returns when the tunnel has ended.
func (t *tunnel) run(ctx context.Context) tunnelEnd {
	ended := make(chan tunnelEnd, 1)
	t.begin(func(end tunnelEnd) { ended <- end })
	defer context.AfterFunc(ctx, func() { t.cut(context.Cause(ctx)) })()
	return <-ended
}

// soon is when the tunnels of these tests rest.
const soon = time.Millisecond

// parkingFor returns a parking that is closed when the test's tunnels have ended.
func parkingFor(t testing.TB) *parking {
	p := newParking(soon)
	t.Cleanup(p.close)
	return p
}

// newRestingRig returns a tunnel that rests whenever it can.
func newRestingRig(t testing.TB, p *parking, early string, idle time.Duration) *rig {
	return newRig(t, early, idle).restIn(t, p)
}

// restIn starts a tunnel that rests whenever it can, and ends with the test.
func (r *rig) restIn(t testing.TB, p *parking) *rig {
	r.tunnel.rest.parking = p
	ended := make(chan struct{})
	r.cancel = r.tunnel.cut
	r.tunnel.begin(func(end tunnelEnd) {
		r.ended <- end
		close(ended)
	})
	t.Cleanup(func() {
		r.cancel(nil)
		<-ended
	})
	return r
}

// atRest waits until the tunnel rests.
func (r *rig) atRest() {
	for !r.parked() {
		runtime.Gosched()
	}
}

func (r *rig) parked() bool {
	r.tunnel.mu.Lock()
	defer r.tunnel.mu.Unlock()
	return r.tunnel.rest.parked
}

// Tunnels at rest have no goroutine, and their two sockets; what is said wakes them.
func TestTunnelRests(t *testing.T) {
	const n = 20
	p := parkingFor(t)
	before, sockets := runtime.NumGoroutine(), descriptors(t, "socket:")
	var rigs []*rig
	for range n {
		r := newRestingRig(t, p, "early", time.Hour)
		hear(t, r.server, "early")
		rigs = append(rigs, r)
	}
	for range 3 {
		for _, r := range rigs {
			r.atRest()
		}
		for runtime.NumGoroutine() > before+2 { // the parking's; those that have left may be about to end
			runtime.Gosched()
		}
		if got := descriptors(t, "socket:") - sockets; got != n*(2+2) {
			t.Errorf("%d tunnels and their two peers have %d sockets", n, got)
		}
		for _, r := range rigs {
			say(t, r.client, "ping")
			hear(t, r.server, "ping")
			r.atRest()
			say(t, r.server, "a pong")
			hear(t, r.client, "a pong")
		}
	}
	for _, r := range rigs {
		r.atRest()
		r.cancel(nil)
		if got, want := r.wait(t), (tunnelEnd{Up: 5 + 3*4, Down: 3 * 6, By: byStop}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if p.resting() > 0 {
		t.Errorf("%d tunnels are left", p.resting())
	}
}

// However a tunnel ends, its end is the same at rest.
func TestTunnelEndsAtRest(t *testing.T) {
	for _, tt := range []struct {
		name           string
		idle           time.Duration
		end            func(*rig)
		want           tunnelEnd
		client, server error // as their readers see them
	}{
		{"the client's FIN", time.Hour, func(r *rig) {
			r.client.CloseWrite()
			hearAll(t, r.server, "", nil)
			r.server.Close()
		}, tunnelEnd{By: byClient}, nil, net.ErrClosed},
		{"the server's FIN", time.Hour, func(r *rig) {
			r.server.CloseWrite()
			hearAll(t, r.client, "", nil)
			r.client.Close()
		}, tunnelEnd{By: byServer}, net.ErrClosed, nil},
		{"the client's reset", time.Hour, func(r *rig) {
			r.client.SetLinger(0)
			r.client.Close()
		}, tunnelEnd{By: byClient, Why: "reset"}, net.ErrClosed, syscall.ECONNRESET},
		{"the server's reset", time.Hour, func(r *rig) {
			r.server.SetLinger(0)
			r.server.Close()
		}, tunnelEnd{By: byServer, Why: "reset"}, syscall.ECONNRESET, net.ErrClosed},
		{"policy", time.Hour, func(r *rig) { r.cancel(&cutError{byPolicy, "port"}) },
			tunnelEnd{By: byPolicy, Why: "port"}, syscall.ECONNRESET, syscall.ECONNRESET},
		{"until", time.Hour, func(r *rig) { r.cancel(&cutError{byUntil, "expired"}) },
			tunnelEnd{By: byUntil, Why: "expired"}, syscall.ECONNRESET, syscall.ECONNRESET},
		{"stop", time.Hour, func(r *rig) { r.cancel(nil) },
			tunnelEnd{By: byStop}, syscall.ECONNRESET, syscall.ECONNRESET},
		{"idle", time.Second, func(*rig) {},
			tunnelEnd{By: byIdle}, syscall.ECONNRESET, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := parkingFor(t)
			r := newRestingRig(t, p, "", tt.idle)
			if tt.idle == time.Hour {
				r.atRest()
			}
			tt.end(r)
			if got := r.wait(t); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			hearAll(t, r.client, "", tt.client)
			hearAll(t, r.server, "", tt.server)
		})
	}
}

// A tunnel that can't be parked goes on, and one that can't be woken is woken later.
func TestRestWithoutDescriptors(t *testing.T) {
	for _, fails := range []int{1, 2} { // the client's, the server's
		p := parkingFor(t)
		tried, dup := make(chan bool), p.dup
		calls := 0
		p.dup = func(c *net.TCPConn) (int, error) {
			if calls++; calls == fails {
				close(tried)
				return -1, unix.EMFILE
			}
			return dup(c)
		}
		r := newRestingRig(t, p, "", time.Hour)
		<-tried
		say(t, r.client, "ping")
		hear(t, r.server, "ping")
		say(t, r.server, "pong")
		hear(t, r.client, "pong")
		if p.resting() > 0 {
			t.Error("it rests")
		}

		p = parkingFor(t)
		conn := p.conn
		calls = 0
		p.conn = func(fd int) (*net.TCPConn, error) {
			if calls++; calls == fails || calls == 2*fails { // with the spares, too
				return nil, unix.EMFILE
			}
			return conn(fd)
		}
		r = newRestingRig(t, p, "", time.Hour)
		r.atRest()
		say(t, r.client, "ping") // which is told once
		hear(t, r.server, "ping")
		say(t, r.server, "pong")
		hear(t, r.client, "pong")
	}

	p := parkingFor(t)
	p.conn = func(int) (*net.TCPConn, error) { return nil, unix.EMFILE }
	r := newRestingRig(t, p, "", 2*time.Second)
	r.atRest()
	say(t, r.client, "ping")
	if got, want := r.wait(t), (tunnelEnd{By: byIdle}); got != want {
		t.Errorf("never woken: %+v, want %+v", got, want)
	}
}

// Tunnels that rest go on, and end, when there is no descriptor left in the process.
func TestRestSpareDescriptors(t *testing.T) {
	p := parkingFor(t)
	var rigs []*rig
	for range 4 {
		rigs = append(rigs, newRestingRig(t, p, "", 10*time.Second))
	}
	for _, r := range rigs {
		r.atRest()
	}

	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = min(low.Cur, 1024)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var taken []int
	t.Cleanup(func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	})
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	ends, talk := rigs[0], rigs[1:]
	for _, r := range talk {
		say(t, r.client, "ping")
		hear(t, r.server, "ping")
		say(t, r.server, "pong")
		hear(t, r.client, "pong")
	}
	ends.client.Close()
	ends.server.Close()
	if got := ends.wait(t); got.By == byIdle {
		t.Errorf("not ended before its time: %+v", got)
	}
}

// A tunnel that has rested asks its peers no more often than before whether they are there.
func TestRestKeepsAlive(t *testing.T) {
	p := parkingFor(t)
	conn := p.conn
	p.conn = func(fd int) (*net.TCPConn, error) {
		c, err := conn(fd)
		control(c, func(fd int) {
			idle, err := unix.GetsockoptInt(fd, unix.SOL_TCP, unix.TCP_KEEPIDLE)
			if got := time.Duration(idle) * time.Second; err != nil || got != keepAlive.Idle {
				t.Errorf("asks after %v, %v", got, err)
			}
		})
		return c, err
	}
	r := newRestingRig(t, p, "", time.Hour)
	r.atRest()
	say(t, r.client, "ping")
	hear(t, r.server, "ping")
}

func TestRestBulk(t *testing.T) {
	size := 16 << 20
	p := parkingFor(t)
	r := newRestingRig(t, p, "", time.Hour)
	r.atRest()
	want := make([]byte, size)
	rand.NewChaCha8([32]byte{2}).Read(want)
	failed := make(chan error, 1)
	go func() {
		_, err := r.server.Write(want)
		r.server.CloseWrite()
		failed <- err
	}()
	got, err := io.ReadAll(r.client)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), size, err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	r.client.Close()
	if end := r.wait(t); end != (tunnelEnd{Down: uint64(size), By: byServer}) {
		t.Errorf("%+v", end)
	}
}

// A side speaks when the tunnel has begun to go to rest, and is stuck: the other is not.
func TestRestUndone(t *testing.T) {
	p := newParking(time.Hour)
	t.Cleanup(p.close)
	r := newStuckRig(t)
	r.tunnel.server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	full, err := io.Copy(struct{ io.Writer }{r.tunnel.server}, endless{})
	if err == nil {
		t.Error("an endless request has ended")
	}
	r.tunnel.server.SetWriteDeadline(time.Time{})
	r.restIn(t, p)
	r.tunnel.mu.Lock()
	r.tunnel.resting.Store(true)
	say(t, r.client, "ping")
	for !r.tunnel.up.busy.Load() {
		runtime.Gosched()
	}
	r.tunnel.client.SetReadDeadline(longAgo)
	r.tunnel.server.SetReadDeadline(longAgo)
	r.tunnel.mu.Unlock()
	say(t, r.server, "go on")
	hear(t, r.client, "go on")
	if _, err := io.CopyN(io.Discard, r.server, full); err != nil {
		t.Error(err)
	}
	hear(t, r.server, "ping")
}

// newStuckRig returns a tunnel that is yet to start, in which less has room than stuckBy.
func newStuckRig(t *testing.T) *rig {
	r := newRig(t, "", time.Hour)
	r.client.SetWriteBuffer(256 << 10)
	r.tunnel.client.SetReadBuffer(256 << 10)
	r.tunnel.server.SetWriteBuffer(256 << 10)
	r.server.SetReadBuffer(256 << 10)
	return r
}

var stuckBy = strings.Repeat("x", 8<<20)

// One direction goes on while the other is stuck, and whatever the tunnel did before that.
func TestRestOneStuck(t *testing.T) {
	r := newStuckRig(t).restIn(t, parkingFor(t))
	for range 5 {
		r.atRest()
		wrote := make(chan error, 1)
		go func() {
			_, err := io.WriteString(r.client, stuckBy)
			wrote <- err
		}()
		for !r.tunnel.up.busy.Load() {
			runtime.Gosched()
		}
		for range 5 {
			say(t, r.server, "go on")
			hear(t, r.client, "go on")
		}
		hear(t, r.server, stuckBy)
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	}
}
