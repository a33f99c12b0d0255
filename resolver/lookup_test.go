package resolver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"
)

func TestLookup(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		up   func(name string, qtype uint16) (*dns.Msg, error)
		want string
		err  error
	}{
		{"both families", func(name string, qtype uint16) (*dns.Msg, error) {
			return reply(name, qtype, 60, "192.0.9.1", "2a00::1", "10.0.0.1"), nil
		}, "[2a00::1 192.0.9.1 10.0.0.1]", nil},
		{"one family fails", func(name string, qtype uint16) (*dns.Msg, error) {
			if qtype == dns.TypeAAAA {
				return nil, broken
			}
			return reply(name, qtype, 60, "192.0.9.1"), nil
		}, "[192.0.9.1]", nil},
		{"both fail", func(string, uint16) (*dns.Msg, error) { return nil, broken }, "[]", broken},
		{"no such name", func(name string, qtype uint16) (*dns.Msg, error) {
			m := reply(name, qtype, 60)
			m.Rcode = dns.RcodeNameError
			return m, nil
		}, "[]", ErrNoAddress},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) { return tt.up(name, qtype) }
			for range 2 { // from the upstream, and from the cache
				got, err := b.Lookup(t.Context(), known)
				if fmt.Sprint(got) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%s: %v, %v; want %s, %v", tt.name, got, err, tt.want, tt.err)
				}
			}
			if s := b.Stats(); s.Misses+s.Hits+s.Stale != 0 {
				t.Errorf("%s: the box's own look-ups are counted as queries: %+v", tt.name, s)
			}
		})
	}
}

// TestLookupDoesNotWaitForASlowFamily: IPv4 is there, IPv6 hangs.
func TestLookupDoesNotWaitForASlowFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		release := make(chan struct{})
		b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
			if qtype == dns.TypeAAAA {
				<-release
			}
			return reply(name, qtype, 60, "192.0.9.1", "2a00::1"), nil
		}
		got, err := b.Lookup(t.Context(), known)
		if err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Lookup(ctx, "other.example"); !errors.Is(err, context.Canceled) {
			t.Errorf("a look-up that is called off: %v", err)
		}
		close(release)
		b.fetches.running.Wait()
	})
}
