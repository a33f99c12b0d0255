package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
)

func addrs(list string) (addrs []netip.Addr) {
	for _, s := range strings.Fields(list) {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs
}

// networks are addresses with the lengths of their networks.
func networks(list string) (networks []netip.Prefix) {
	for _, s := range strings.Fields(list) {
		networks = append(networks, netip.MustParsePrefix(s))
	}
	return networks
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
	own := networks("10.20.0.1/24 198.18.0.5/32 93.184.215.14/24 2a00:1450::5/64")
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
		{name: "observed, near the box", decision: observed, addrs: "8.8.4.9 2a00:1450:7::9", fault: privateAddress,
			err: "8.8.4.9: in a network of the box, and so of the store"},
		{name: "observed, one of them near the box", decision: observed, addrs: "2a00:1450:7::9 2a00:1450:8::9", calls: 1, fault: refused,
			detail: "left out: 2a00:1450:7::9: in a network of the box, and so of the store"},
		{name: "near the box, with a rule", decision: policy.Decision{Verdict: policy.Allow, Rule: &policy.Rule{}}, addrs: "8.8.4.9", calls: 1, fault: refused},
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
			p.own = func() ([]netip.Prefix, error) { return networks("10.20.0.1/24 8.8.4.1/24 2a00:1450:7::1/64"), nil }
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

// A resolver that says nothing has as long as a connection may take.
func TestDialTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{ConnectTimeout: 10 * time.Second}, Deps{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		allow := func(flow) policy.Decision { return policy.Decision{Verdict: policy.Allow} }
		p.registry = newRegistry(limit{}, limit{1, 1}, allow, nil)
		a, start := &attempt{peer: new(peer)}, time.Now()
		if _, err := p.dial(t.Context(), a); faultOf(err) != lookupTimeout || time.Since(start) != 10*time.Second {
			t.Errorf("error %v %v after %v", faultOf(err), err, time.Since(start))
		}
		a.peer.giveUpPlace()
	})
}

// What has become the box's own while it was dialled is the box, and is left at once. So is
// all when that can't be told any more.
func TestReachNewlyOwn(t *testing.T) {
	private := policy.Decision{Verdict: policy.Allow, Rule: &policy.Rule{Private: true}}
	for _, tt := range []struct {
		decision policy.Decision
		own      string
		err      error
		want     dialFault
	}{
		{own: "8.8.0.2/32", want: privateAddress},
		{own: "8.8.0.2/32", decision: private, want: privateAddress},
		{own: "8.8.0.1/24", decision: policy.Decision{Verdict: policy.WouldDeny}, want: privateAddress},
		{err: syscall.ENOBUFS, want: localFault},
	} {
		own, err := networks("10.20.0.1/24"), error(nil)
		near, far := net.Pipe()
		p := New(Config{ConnectTimeout: time.Minute}, Deps{
			Lookup: func(context.Context, string) ([]netip.Addr, error) { return addrs("8.8.0.2"), nil },
		})
		p.own = func() ([]netip.Prefix, error) { return own, err }
		p.dialTCP = func(context.Context, netip.AddrPort) (net.Conn, error) {
			own, err = networks(tt.own), tt.err
			return near, nil
		}
		if _, err := p.reach(t.Context(), &attempt{name: "x.example", port: 443, decision: tt.decision}); faultOf(err) != tt.want {
			t.Errorf("%s: error %v, want %v", tt.own, err, tt.want)
		}
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: the connection is left open", tt.own)
		}
	}
}

// The guards hold for the address that a nameless flow was meant for.
func TestReachOriginal(t *testing.T) {
	p := New(Config{ConnectTimeout: time.Minute}, Deps{})
	p.own = func() ([]netip.Prefix, error) { return networks("93.184.215.14/24"), nil }
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

// Whoever can't tell the box from others dials nobody.
func TestOwnUnknown(t *testing.T) {
	p := New(Config{ConnectTimeout: time.Minute}, Deps{})
	p.own = func() ([]netip.Prefix, error) { return nil, syscall.ENOBUFS }
	p.dialTCP = nil
	if _, err := p.reach(t.Context(), &attempt{original: netip.MustParseAddr("8.8.8.8")}); faultOf(err) != localFault {
		t.Errorf("error %v", err)
	}
}
