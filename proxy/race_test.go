package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A hostFunc is how the hosts of a test's Internet answer: after how long, with what.
type hostFunc func(netip.Addr) (time.Duration, error)

// dial is a dialTCP to such hosts. It notes who was called when.
func (h hostFunc) dial(calls *[]string) func(context.Context, netip.AddrPort) (net.Conn, error) {
	began := time.Now()
	var mu sync.Mutex
	return func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		mu.Lock()
		*calls = append(*calls, fmt.Sprintf("%v %v", time.Since(began), addr))
		mu.Unlock()
		after, err := h(addr.Addr())
		select {
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		case <-time.After(after):
		}
		if err != nil {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}
		}
		return &fakeConn{addr: addr}, nil
	}
}

// fakeConn is a connection that only knows where it goes.
type fakeConn struct {
	net.Conn
	addr   netip.AddrPort
	closed bool
}

func (c *fakeConn) Close() error { c.closed = true; return nil }

func TestRace(t *testing.T) {
	const never = time.Hour
	hosts := func(addr netip.Addr) (time.Duration, error) {
		switch addr.String() {
		case "8.8.0.1", "2a00::1":
			return 10 * time.Millisecond, nil
		case "8.8.0.2", "2a00::2":
			return 10 * time.Millisecond, syscall.ECONNREFUSED
		case "2a00::3":
			return 0, syscall.ENETUNREACH
		case "8.8.0.4", "2a00::4":
			return never, nil
		case "8.8.0.5":
			return 300 * time.Millisecond, nil
		case "8.8.0.6":
			return 0, syscall.EMFILE
		}
		panic(addr)
	}
	for _, tt := range []struct {
		name  string
		addrs string
		won   string
		took  time.Duration
		calls []string
		fault dialFault
		err   string
	}{
		{
			name: "the first answers", addrs: "2a00::1 8.8.0.1",
			won: "2a00::1", took: 10 * time.Millisecond,
			calls: []string{"0s [2a00::1]:443"},
		},
		{
			name: "the first refuses, the next begins at once", addrs: "2a00::2 8.8.0.1",
			won: "8.8.0.1", took: 20 * time.Millisecond,
			calls: []string{"0s [2a00::2]:443", "10ms 8.8.0.1:443"},
		},
		{
			name: "no IPv6 here", addrs: "2a00::3 8.8.0.1",
			won: "8.8.0.1", took: 10 * time.Millisecond,
			calls: []string{"0s [2a00::3]:443", "0s 8.8.0.1:443"},
		},
		{
			name: "the first is silent, the next begins beside it", addrs: "2a00::4 8.8.0.1",
			won: "8.8.0.1", took: 260 * time.Millisecond,
			calls: []string{"0s [2a00::4]:443", "250ms 8.8.0.1:443"},
		},
		{
			name: "a slow one still wins over later ones that are silent", addrs: "8.8.0.5 8.8.0.4",
			won: "8.8.0.5", took: 300 * time.Millisecond,
			calls: []string{"0s 8.8.0.5:443", "250ms 8.8.0.4:443"},
		},
		{
			name: "all refuse", addrs: "2a00::2 8.8.0.2", took: 20 * time.Millisecond,
			calls: []string{"0s [2a00::2]:443", "10ms 8.8.0.2:443"},
			fault: refused, err: "connecting to 2a00::2: connection refused, 8.8.0.2: connection refused",
		},
		{
			name: "no way to one, the other refuses", addrs: "8.8.0.2 2a00::3", took: 10 * time.Millisecond,
			calls: []string{"0s 8.8.0.2:443", "10ms [2a00::3]:443"},
			fault: refused, err: "connecting to 8.8.0.2: connection refused, 2a00::3: network is unreachable",
		},
		{
			name: "no way to any", addrs: "2a00::3", took: 0,
			calls: []string{"0s [2a00::3]:443"},
			fault: unroutable, err: "connecting to 2a00::3: network is unreachable",
		},
		{
			name: "all are silent", addrs: "2a00::4 8.8.0.4", took: 10 * time.Second,
			calls: []string{"0s [2a00::4]:443", "250ms 8.8.0.4:443"},
			fault: timedOut, err: "connecting to 2a00::4: no answer, 8.8.0.4: no answer",
		},
		{
			name: "one refuses, one is silent", addrs: "8.8.0.4 2a00::2", took: 10 * time.Second,
			calls: []string{"0s 8.8.0.4:443", "250ms [2a00::2]:443"},
			fault: refused, err: "connecting to 8.8.0.4: no answer, 2a00::2: connection refused",
		},
		{
			name: "the box has no descriptors left", addrs: "8.8.0.6", took: 0,
			calls: []string{"0s 8.8.0.6:443"},
			fault: localFault, err: "connecting to 8.8.0.6: too many open files",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var list []netip.AddrPort
				for _, a := range addrs(tt.addrs) {
					list = append(list, netip.AddrPortFrom(a, 443))
				}
				var calls []string
				began := time.Now()
				conn, dest, err := race(ctx, list, hostFunc(hosts).dial(&calls))
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if diff := cmp.Diff(tt.calls, calls); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				switch {
				case err != nil:
					if faultOf(err) != tt.fault || err.Error() != tt.err {
						t.Errorf("error %v %q, want %v %q", faultOf(err), err, tt.fault, tt.err)
					}
				case conn.(*fakeConn).addr != dest || dest.Addr().String() != tt.won:
					t.Errorf("connected to %v, said to be %v, want %v", conn.(*fakeConn).addr, dest, tt.won)
				}
			})
		})
	}
}

// Two connections may come about at once; the one that is not used is closed.
func TestRaceClosesTheLoser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &fakeConn{addr: netip.MustParseAddrPort("[2a00::1]:443")}
		second := &fakeConn{addr: netip.MustParseAddrPort("8.8.0.1:443")}
		dial := func(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
			time.Sleep(time.Second) // both are under way, and neither looks at its context
			if addr == first.addr {
				return first, nil
			}
			return second, nil
		}
		won, _, err := race(t.Context(), []netip.AddrPort{first.addr, second.addr}, dial)
		if err != nil || won != first || first.closed {
			t.Fatalf("got %v, %v, want the first, open", won, err)
		}
		if !second.closed {
			t.Errorf("the second connection is left open")
		}
	})
}

func TestRaceAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		var calls []string
		silent := hostFunc(func(netip.Addr) (time.Duration, error) { return time.Hour, nil })
		_, _, err := race(ctx, []netip.AddrPort{netip.MustParseAddrPort("8.8.0.1:443")}, silent.dial(&calls))
		if faultOf(err) != abandoned {
			t.Errorf("error %v %q, want %v", faultOf(err), err, abandoned)
		}
		_, _, err = race(ctx, []netip.AddrPort{netip.MustParseAddrPort("8.8.0.2:443")}, silent.dial(&calls))
		if faultOf(err) != abandoned || len(calls) != 1 {
			t.Errorf("already abandoned: error %v, calls %q", err, calls)
		}
	})
}

// A look-up may have left no time to connect.
func TestRaceTooLate(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	_, _, err := race(ctx, []netip.AddrPort{netip.MustParseAddrPort("8.8.0.1:443")}, nil)
	if faultOf(err) != timedOut {
		t.Errorf("error %v %v", faultOf(err), err)
	}
}
