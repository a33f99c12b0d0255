package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// connect returns both ends of a connection to l, closed with the test.
func connect(t testing.TB, l net.Listener) (far, near *net.TCPConn) {
	t.Helper()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return d.(*net.TCPConn), a.(*net.TCPConn)
}

// A rig is a tunnel and those whom it connects.
type rig struct {
	client, server *net.TCPConn
	tunnel         *tunnel
	cancel         context.CancelCauseFunc
	ended          chan tunnelEnd
}

// newRig returns a tunnel that is yet to start.
func newRig(t testing.TB, early string, idle time.Duration) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := &rig{ended: make(chan tunnelEnd, 1)}
	var client, server *net.TCPConn
	r.client, client = connect(t, l)
	r.server, server = connect(t, l)
	r.tunnel = newTunnel(client, server, []byte(early), idle)
	return r
}

func (r *rig) start(t testing.TB) *rig {
	ctx, cancel := context.WithCancelCause(t.Context())
	r.cancel = cancel
	go func() { r.ended <- r.tunnel.run(ctx) }()
	return r
}

// wait returns how the tunnel went, without the duration.
func (r *rig) wait(t testing.TB) tunnelEnd {
	t.Helper()
	end := <-r.ended
	if end.Duration <= 0 {
		t.Errorf("a tunnel of %v", end.Duration)
	}
	end.Duration = 0
	return end
}

func say(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("heard %q, %v, want %q", got, err, want)
	}
}

// hearAll hears to the end.
func hearAll(t testing.TB, c net.Conn, want string, end error) {
	t.Helper()
	got, err := io.ReadAll(c)
	if string(got) != want || !errors.Is(err, end) {
		t.Errorf("heard %q, %v, want %q, %v", got, err, want, end)
	}
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

func TestTunnelHalfClose(t *testing.T) {
	for _, who := range []party{byClient, byServer} {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		r := newRig(t, "early ", time.Hour).start(t)
		first, second := r.client, r.server
		toSecond, toFirst := "early request", "response"
		if who == byServer {
			first, second = second, first
			hear(t, r.server, "early ")
			toSecond = "request"
		}
		say(t, first, "request")
		first.CloseWrite()
		hearAll(t, second, toSecond, nil)
		say(t, second, toFirst) // after the other end is closed
		hear(t, first, toFirst)
		second.Close()
		hearAll(t, first, "", nil)

		want := tunnelEnd{Up: 13, Down: 8, By: byClient}
		if who == byServer {
			want = tunnelEnd{Up: 14, Down: 7, By: byServer}
		}
		if got := r.wait(t); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestTunnelReset(t *testing.T) {
	for _, who := range []party{byClient, byServer} {
		r := newRig(t, "", time.Hour).start(t)
		first, second := r.client, r.server
		if who == byServer {
			first, second = second, first
		}
		// Each acknowledges what the other said.
		say(t, first, "ping")
		hear(t, second, "ping")
		say(t, second, "pong")
		hear(t, first, "pong")
		first.SetLinger(0)
		first.Close()
		hearAll(t, second, "", syscall.ECONNRESET)
		if got, want := r.wait(t), (tunnelEnd{Up: 4, Down: 4, By: who, Why: "reset"}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// What was said arrives, however late, after a FIN and before a reset.
func TestTunnelSlowReader(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*rig)
		want tunnelEnd
	}{
		{"reset", func(r *rig) {
			for unsettled(r.server) > 0 {
				runtime.Gosched()
			}
			r.server.SetLinger(0)
			r.server.Close()
		}, tunnelEnd{Down: 40 << 10, By: byServer, Why: "reset"}},
		{"FIN", func(r *rig) {
			r.server.CloseWrite()
			hearAll(t, r.server, "", nil)
			r.server.Close()
		}, tunnelEnd{Down: 40 << 10, By: byClient}},
	} {
		r := newRig(t, "", time.Hour)
		r.client.SetReadBuffer(4 << 10)
		r.tunnel.client.SetWriteBuffer(1 << 20)
		r.start(t)
		if tt.want.By == byClient {
			r.client.CloseWrite()
			hearAll(t, r.server, "", nil)
		}
		text := strings.Repeat("x", 40<<10)
		say(t, r.server, text)
		tt.end(r)
		if got := r.wait(t); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		hearAll(t, r.client, text, nil)
	}
}

// A server that answers early and closes, with most of the request unread, is
// heard.
func TestTunnelAnswerBeforeReset(t *testing.T) {
	r := newRig(t, "request", time.Hour).start(t)
	go func() {
		upload := make([]byte, 1<<16)
		for {
			if _, err := r.client.Write(upload); err != nil {
				return
			}
		}
	}()
	hear(t, r.server, "request")
	hear(t, r.server, "\x00") // the upload goes on
	say(t, r.server, "too large")
	r.server.Close()
	hear(t, r.client, "too large")
	got := r.wait(t)
	if got.Down != 9 || got.By != byServer || got.Why != "reset" {
		t.Errorf("%+v", got)
	}
}

// What a client says before it goes, without listening any more, is passed on.
func TestTunnelLastWords(t *testing.T) {
	r := newRig(t, "", time.Hour).start(t)
	say(t, r.client, "bye")
	r.client.Close()
	hearAll(t, r.server, "bye", nil)
	for {
		if _, err := r.server.Write([]byte("are you there?")); err != nil {
			break
		}
	}
	if got := r.wait(t); got.Up != 3 || got.By != byClient || got.Why != "reset" {
		t.Errorf("%+v", got)
	}
}

func TestTunnelEarlyToDeadServer(t *testing.T) {
	r := newRig(t, strings.Repeat("early", 1000), time.Hour)
	r.server.SetLinger(0)
	r.server.Close()
	r.start(t)
	if got := r.wait(t); got.By != byServer || got.Why != "reset" {
		t.Errorf("%+v", got)
	}
	hearAll(t, r.client, "", syscall.ECONNRESET)
}

func TestTunnelCut(t *testing.T) {
	type ends struct{ client, server error } // as their readers see them
	quiet := func(*testing.T, *rig) ends { return ends{syscall.ECONNRESET, syscall.ECONNRESET} }
	half := func(t *testing.T, r *rig) ends {
		r.client.CloseWrite()
		hearAll(t, r.server, "", nil)
		return ends{syscall.ECONNRESET, nil} // the server's has ended already
	}
	stuck := func(t *testing.T, r *rig) ends { // both have said more than the other reads
		for _, c := range []*net.TCPConn{r.client, r.server} {
			wrote := make(chan error, 1)
			go func() {
				_, err := io.Copy(struct{ io.Writer }{c}, endless{})
				wrote <- err
			}()
			t.Cleanup(func() {
				if err := <-wrote; !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the writer's end was %v", err)
				}
			})
		}
		for !r.tunnel.up.busy.Load() || !r.tunnel.down.busy.Load() {
			runtime.Gosched()
		}
		return ends{} // it is the writers that are told
	}
	for _, tt := range []struct {
		name  string
		state func(*testing.T, *rig) ends
		cause error
		want  tunnelEnd
	}{
		{"policy", quiet, &cutError{byPolicy, "not-documented"}, tunnelEnd{By: byPolicy, Why: "not-documented"}},
		{"until", quiet, &cutError{byUntil, "expired"}, tunnelEnd{By: byUntil, Why: "expired"}},
		{"stop", quiet, nil, tunnelEnd{By: byStop}},
		{"half-closed", half, &cutError{byPolicy, "port"}, tunnelEnd{By: byPolicy, Why: "port"}},
		{"while it waits for both to read", stuck, &cutError{byPolicy, "port"}, tunnelEnd{By: byPolicy, Why: "port"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, "", time.Hour).start(t)
			ends := tt.state(t, r)
			r.cancel(tt.cause)
			got := r.wait(t)
			if got.Up, got.Down = 0, 0; got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			if ends != (struct{ client, server error }{}) {
				hearAll(t, r.client, "", ends.client)
				hearAll(t, r.server, "", ends.server)
			}
		})
	}

	r := newRig(t, "early", time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := r.tunnel.run(ctx); got.By != byStop {
		t.Errorf("begun when it had ended: %+v", got)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

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

// Urgent data is no place to get stuck at: its byte is left out.
func TestTunnelUrgent(t *testing.T) {
	r := newRig(t, "", time.Hour).start(t)
	urgent := func(text string) {
		control(r.client, func(fd int) {
			if _, err := unix.SendmsgN(fd, []byte(text), nil, nil, unix.MSG_OOB); err != nil {
				t.Error(err)
			}
		})
	}
	say(t, r.client, "ab")
	urgent("!")
	say(t, r.client, "cd")
	hear(t, r.server, "abcd")
	urgent("!")
	urgent("ef!")
	hear(t, r.server, "ef")
	say(t, r.client, "gh")
	r.client.CloseWrite()
	hearAll(t, r.server, "gh", nil)
	r.server.Close()
	if got, want := r.wait(t), (tunnelEnd{Up: 8, By: byClient}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTunnelOptions(t *testing.T) {
	r := newRig(t, "early", time.Hour)
	r.tunnel.client.SetDeadline(time.Now()) // of the hello
	r.start(t)
	hear(t, r.server, "early")
	say(t, r.client, "late")
	hear(t, r.server, "late")
	for _, c := range []*net.TCPConn{r.tunnel.client, r.tunnel.server} {
		control(c, func(fd int) {
			for _, o := range []struct{ level, option, want int }{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.SOL_TCP, unix.TCP_KEEPIDLE, 120},
				{unix.SOL_TCP, unix.TCP_KEEPINTVL, 120},
				{unix.SOL_TCP, unix.TCP_KEEPCNT, 3},
				{unix.SOL_TCP, unix.TCP_NODELAY, 1},
			} {
				if got, err := unix.GetsockoptInt(fd, o.level, o.option); err != nil || got != o.want {
					t.Errorf("option %d is %d, %v, want %d", o.option, got, err, o.want)
				}
			}
		})
	}
	r.cancel(nil)
	if got, want := r.wait(t), (tunnelEnd{Up: 9, By: byStop}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
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

// noise is what a seed makes of n bytes, and their sum.
func noise(n int64) (io.Reader, hash.Hash) {
	sum := sha256.New()
	return io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), n), sum), sum
}

func TestTunnelBulk(t *testing.T) {
	size := int64(2 << 30)
	if testing.Short() || raceDetector() {
		size = 256 << 20
	}
	before, pipes := pipesWithoutUse(t), 0
	r := newRig(t, "", time.Hour).start(t)
	from, sent := noise(size)
	failed := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{r.server}, from, make([]byte, 1<<20))
		r.server.CloseWrite()
		failed <- err
	}()
	got := sha256.New()
	var n int64
	var err error
	for err == nil {
		var more int64
		more, err = io.CopyN(got, r.client, size/16)
		n += more
		pipes = max(pipes, descriptors(t, "pipe:"))
	}
	r.client.Close()
	if err == io.EOF {
		err = nil
	}
	if pipes <= before {
		t.Error("no pipe: the bytes were not spliced")
	}
	if err != nil || n != size {
		t.Errorf("%d bytes of %d, %v", n, size, err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Error("what arrived is not what was sent")
	}
	if end := r.wait(t); end != (tunnelEnd{Down: uint64(size), By: byServer}) {
		t.Errorf("%+v", end)
	}
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

// To pass on a message makes no garbage.
func TestTunnelAllocs(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector allocates")
	}
	r := newRig(t, "", time.Hour).start(t)
	buf := make([]byte, 1000)
	turn := func() {
		for _, way := range [][2]*net.TCPConn{{r.client, r.server}, {r.server, r.client}} {
			if _, err := way[0].Write(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(way[1], buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.cancel(nil)
	r.wait(t)
}

func BenchmarkTunnel(b *testing.B) {
	for _, through := range []bool{false, true} {
		name := "direct"
		if through {
			name = "tunnel"
		}
		b.Run(name, func(b *testing.B) {
			var from, to *net.TCPConn
			if through {
				r := newRig(b, "", time.Hour).start(b)
				from, to = r.server, r.client
			} else {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				from, to = connect(b, l)
			}
			chunk := make([]byte, 1<<20)
			b.SetBytes(int64(len(chunk)))
			go func() {
				for range b.N {
					from.Write(chunk)
				}
				from.CloseWrite()
			}()
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{to}, make([]byte, 1<<20)); err != nil || n != int64(b.N)<<20 {
				b.Error(n, err)
			}
		})
	}
}
