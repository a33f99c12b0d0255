package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// ErrNoAddress is a name that has no address, or does not exist.
var ErrNoAddress = errors.New("the name has no address")

// resolutionDelay is how long the answer for one family waits for the other's
// (RFC 8305 §3).
const resolutionDelay = 50 * time.Millisecond

// Probe asks the upstream for its own name, past the cache: whether it answers now. What is
// wrong is in [Resolver.Health] then.
func (r *Resolver) Probe(ctx context.Context) error {
	_, err := r.ask(ctx, r.upstream.url.Hostname(), dns.TypeA)
	return err
}

// Lookup returns the addresses of a canonical name for the box itself, those of IPv6
// first. It asks no policy, steers nothing and leaves no address out: that is the
// caller's. The upstream's timeout bounds it.
func (r *Resolver) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	type family struct {
		got cached
		v6  bool
	}
	came := make(chan family, 2)
	for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
		r.find(key{name, qtype}, netip.Addr{}, r.deps.Now(), func(got cached) { came <- family{got, qtype == dns.TypeAAAA} })
	}
	var v4, v6 []netip.Addr
	var failed error
	var patience <-chan time.Time
wait:
	for range 2 {
		select {
		case f := <-came:
			switch {
			case f.got.answer == nil:
				failed = f.got.cause
			case f.v6:
				v6 = f.got.answer.addrs
			default:
				v4 = f.got.answer.addrs
			}
			if len(v4)+len(v6) > 0 && patience == nil {
				patience = time.After(resolutionDelay)
			}
		case <-patience:
			break wait
		case <-ctx.Done():
			return nil, fmt.Errorf("looking up %s: %w", name, context.Cause(ctx))
		}
	}
	addrs := append(v6[:len(v6):len(v6)], v4...)
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case failed != nil:
		return nil, fmt.Errorf("looking up %s: %w", name, failed)
	}
	return nil, fmt.Errorf("looking up %s: %w", name, ErrNoAddress)
}
