package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
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
