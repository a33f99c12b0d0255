package proxy

import (
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTunnelIdle(t *testing.T) {
	r := newRig(t, "", 10*time.Millisecond).start(t)
	if got, want := r.wait(t), (tunnelEnd{By: byIdle}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	hearAll(t, r.client, "", syscall.ECONNRESET)
	hearAll(t, r.server, "", syscall.ECONNRESET)
}

// A peer that reads nothing is as good as one that says nothing.
func TestTunnelIdleBlocked(t *testing.T) {
	for _, early := range []string{"", strings.Repeat("x", 8<<20)} {
		r := newRig(t, early, 50*time.Millisecond).start(t)
		if early == "" {
			if _, err := io.Copy(struct{ io.Writer }{r.server}, endless{}); err == nil {
				t.Error("an endless answer has ended")
			}
		}
		if got := r.wait(t); got.By != byIdle || got.Up > uint64(len(early)) {
			t.Errorf("%+v", got)
		}
	}
}

func TestTunnelDrain(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", time.Hour)
	r.tunnel.quiet.drain = aWhile
	r.start(t)
	r.server.CloseWrite()
	hearAll(t, r.client, "", nil)
	if got, want := r.wait(t), (tunnelEnd{By: byServer, Why: "half-closed for too long"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	hearAll(t, r.server, "", syscall.ECONNRESET)
}

// A tunnel is as old as its last byte, either way.
func TestTunnelLast(t *testing.T) {
	r := newRig(t, "early", time.Hour).start(t)
	hear(t, r.server, "early")
	for _, way := range [][2]*net.TCPConn{{r.client, r.server}, {r.server, r.client}} {
		before := time.Since(r.tunnel.start)
		say(t, way[0], "text")
		hear(t, way[1], "text")
		for time.Duration(r.tunnel.last.Load()) < before {
			runtime.Gosched()
		}
	}
	r.cancel(nil)
	r.wait(t)
}

// descriptors counts this process's files of a kind.
func descriptors(t testing.TB, kind string) (n int) {
	t.Helper()
	const dir = "/proc/self/fd/"
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		to, err := os.Readlink(dir + f.Name())
		if err == nil && strings.HasPrefix(to, kind) {
			n++
		}
	}
	return n
}

// pipesWithoutUse counts the pipes that are left when the runtime has closed
// those that it keeps for the next to splice.
func pipesWithoutUse(t testing.TB) int {
	n := descriptors(t, "pipe:")
	for range 20 {
		runtime.GC()
		n = min(n, descriptors(t, "pipe:"))
	}
	return n
}

// An idle tunnel holds its two sockets. The few pipes that were used in turn
// are the runtime's to keep, until the next collections.
func TestTunnelIdleDescriptors(t *testing.T) {
	const n = 100
	pipes := pipesWithoutUse(t)
	before := descriptors(t, "socket:")
	var rigs []*rig
	for range n {
		r := newRig(t, "early", time.Hour).start(t)
		hear(t, r.server, "early")
		for range 3 {
			say(t, r.client, "ping")
			hear(t, r.server, "ping")
			say(t, r.server, "pong")
			hear(t, r.client, "pong")
		}
		rigs = append(rigs, r)
	}
	if got := pipesWithoutUse(t) - pipes; got > 0 {
		t.Errorf("%d idle tunnels hold %d pipe descriptors", n, got)
	}
	if got := descriptors(t, "socket:") - before; got != n*(2+2) {
		t.Errorf("%d tunnels and their two peers have %d sockets", n, got)
	}
	for _, r := range rigs {
		r.cancel(nil)
		r.wait(t)
	}
}
