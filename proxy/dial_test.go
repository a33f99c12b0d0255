package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
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

func addrs(list string) (addrs []netip.Addr) {
	for _, s := range strings.Fields(list) {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs
}

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

func TestInterleave(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"8.8.0.1 8.8.0.2", "8.8.0.1 8.8.0.2"},
		{"2a00::1 2a00::2 8.8.0.1 8.8.0.2", "2a00::1 8.8.0.1 2a00::2 8.8.0.2"},
		{"8.8.0.1 8.8.0.2 8.8.0.3 2a00::1", "8.8.0.1 2a00::1 8.8.0.2 8.8.0.3"},
		{"8.8.0.1 8.8.0.1 8.8.0.2", "8.8.0.1 8.8.0.2"},
	} {
		if diff := cmp.Diff(addrs(tt.want), interleave(addrs(tt.in)), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestCheckDestination(t *testing.T) {
	own := addrs("10.20.0.1 198.18.0.5 93.184.215.14 2a00:1450::5")
	const public, special, box, many = "", "special", "the box's own address", "no unicast address"
	for _, tt := range []struct {
		addr     string
		want     string // of any rule
		withRule string // private: true
	}{
		{"8.8.8.8", public, public},
		{"2a00:1450::1", public, public},
		{"64:ff9b::808:808", public, public},
		{"10.20.5.7", special, public},
		{"192.168.1.1", special, public},
		{"100.64.0.1", special, public},
		{"169.254.169.254", special, public},
		{"fd00::1", special, public},
		{"192.0.2.1", special, public},
		{"64:ff9b::a14:507", special, public},
		{"::ffff:8.8.8.8", special, public},
		{"2002:a14:507::1", special, public},
		{"93.184.215.14", box, box},
		{"2a00:1450::5", box, box},
		{"10.20.0.1", box, box},
		{"::ffff:10.20.0.1", box, box},
		{"127.0.0.1", box, box},
		{"127.8.9.10", box, box},
		{"::1", box, box},
		{"::ffff:127.0.0.1", box, box},
		{"0.0.0.0", box, box},
		{"::", box, box},
		{"::ffff:0.0.0.0", box, box},
		{"224.0.0.1", special, many},
		{"ff02::1", special, many},
		{"255.255.255.255", special, many},
	} {
		for _, c := range []struct {
			private bool
			want    string
		}{{false, tt.want}, {true, tt.withRule}} {
			err := checkDestination(netip.MustParseAddr(tt.addr), own, c.private)
			ok := false
			switch c.want {
			case public:
				ok = err == nil
			case special:
				ok = err != nil && err.Error() == policy.CheckAddr(netip.MustParseAddr(tt.addr)).Error()
			default:
				ok = err != nil && err.Error() == c.want
			}
			if !ok {
				t.Errorf("%s, private %v: %v, want %q", tt.addr, c.private, err, c.want)
			}
		}
	}
}

func TestReach(t *testing.T) {
	private := policy.Decision{Verdict: policy.Allow, Rule: &policy.Rule{Private: true}}
	observed := policy.Decision{Verdict: policy.WouldDeny, Rule: &policy.Rule{Private: true}}
	many := ""
	for i := range 2 * maxAddresses {
		many += fmt.Sprintf("8.8.1.%d ", i+1)
	}
	for _, tt := range []struct {
		name     string
		decision policy.Decision
		addrs    string
		lookup   error
		calls    int
		fault    dialFault
		err      string
		detail   string
	}{
		{name: "private alone", addrs: "10.20.5.7 fd00::7", fault: privateAddress,
			err: "10.20.5.7: private use (10.0.0.0/8, RFC 1918)"},
		{name: "private among public", addrs: "10.20.5.7 8.8.0.2", calls: 1, fault: refused,
			err: "connecting to 8.8.0.2: connection refused", detail: "left out: 10.20.5.7: private use (10.0.0.0/8, RFC 1918)"},
		{name: "private with a rule for it", decision: private, addrs: "10.20.5.7", calls: 1, fault: refused,
			err: "connecting to 10.20.5.7: connection refused"},
		{name: "observed, so no rule allows it", decision: observed, addrs: "10.20.5.7", fault: privateAddress,
			err: "10.20.5.7: private use (10.0.0.0/8, RFC 1918)"},
		{name: "the box", decision: private, addrs: "10.20.0.1", fault: privateAddress,
			err: "10.20.0.1: the box's own address"},
		{name: "too many addresses", addrs: many, calls: maxAddresses, fault: refused},
		{name: "no address", addrs: "", fault: lookupFailed, err: "the name has no address"},
		{name: "look-up fails", lookup: errors.New("SERVFAIL"), fault: lookupFailed, err: "SERVFAIL"},
		{name: "look-up takes too long", lookup: fmt.Errorf("asking: %w", context.DeadlineExceeded), fault: lookupTimeout,
			err: "asking: context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			p := New(Config{ConnectTimeout: time.Minute}, Deps{
				Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
					if name != "x.example" {
						t.Errorf("asked for %q", name)
					}
					return addrs(tt.addrs), tt.lookup
				},
			})
			p.own = func() ([]netip.Addr, error) { return addrs("10.20.0.1"), nil }
			p.dialTCP = func(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
				calls++
				if addr.Port() != 8443 {
					t.Errorf("dialled %v", addr)
				}
				return nil, syscall.ECONNREFUSED
			}
			a := &attempt{name: "x.example", port: 8443, decision: tt.decision}
			_, err := p.reach(t.Context(), a)
			if faultOf(err) != tt.fault || tt.err != "" && err.Error() != tt.err {
				t.Errorf("error %v %q, want %v %q", faultOf(err), err, tt.fault, tt.err)
			}
			if calls != tt.calls || a.detail != tt.detail {
				t.Errorf("%d calls, detail %q, want %d, %q", calls, a.detail, tt.calls, tt.detail)
			}
		})
	}
}

func TestReachAbandoned(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	p := New(Config{ConnectTimeout: time.Minute}, Deps{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		cancel(errStopping)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	_, err := p.reach(ctx, &attempt{})
	if faultOf(err) != abandoned || !errors.Is(err, errStopping) {
		t.Errorf("error %v %v", faultOf(err), err)
	}
}

// The guards hold for the address that a nameless flow was meant for.
func TestReachOriginal(t *testing.T) {
	p := New(Config{ConnectTimeout: time.Minute}, Deps{})
	p.own = func() ([]netip.Addr, error) { return addrs("93.184.215.14"), nil }
	p.dialTCP = func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	for _, tt := range []struct {
		addr string
		want dialFault
	}{{"8.8.8.8", refused}, {"10.0.0.1", privateAddress}, {"127.0.0.1", privateAddress}, {"93.184.215.14", privateAddress}} {
		_, err := p.reach(t.Context(), &attempt{original: netip.MustParseAddr(tt.addr)})
		if faultOf(err) != tt.want {
			t.Errorf("%s: %v %v, want %v", tt.addr, faultOf(err), err, tt.want)
		}
	}
}

// A real refusal by the kernel is told from a failure of the box's own.
func TestDialRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	_, _, err = race(t.Context(), []netip.AddrPort{addr}, dialTCP)
	if faultOf(err) != refused {
		t.Errorf("error %v %v, want %v", faultOf(err), err, refused)
	}
}

func TestDialFaults(t *testing.T) {
	for f := abandoned; f <= overLimit; f++ {
		if f.String() == "" {
			t.Errorf("fault %d has no error type", f)
		}
	}
	if f := faultOf(errNoAddress); f != localFault {
		t.Errorf("an error of another kind is %v", f)
	}
	if !timedOut.timeout() || !lookupTimeout.timeout() || refused.timeout() {
		t.Error("a matter of time is told wrongly")
	}
}

func TestOwnAddresses(t *testing.T) {
	own, err := ownAddresses()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(own, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("loopback is not among %v", own)
	}
}

// Whoever can't tell the box from others dials nobody.
func TestOwnUnknown(t *testing.T) {
	p := New(Config{ConnectTimeout: time.Minute}, Deps{})
	p.own = func() ([]netip.Addr, error) { return nil, syscall.ENOBUFS }
	p.dialTCP = nil
	if _, err := p.reach(t.Context(), &attempt{original: netip.MustParseAddr("8.8.8.8")}); faultOf(err) != localFault {
		t.Errorf("error %v", err)
	}
}
