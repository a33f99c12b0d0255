package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"tillgate/policy"
)

// perAddress is how many addresses of a family are dialled, one after the other.
const perAddress = 2

// LookupFunc returns the addresses of a name. An error that is no [*Trouble] counts as
// [Unresolved].
type LookupFunc func(ctx context.Context, name string) ([]netip.Addr, error)

// direct is the way of the box itself.
type direct struct {
	cfg    Config
	lookup LookupFunc
}

// Direct returns a test from where the program runs.
func Direct(cfg Config, lookup LookupFunc) *Checker {
	c := newChecker(cfg)
	c.way = direct{c.cfg, lookup}
	return c
}

func (d direct) absolute() bool             { return false }
func (d direct) timePort(netip.Addr) uint16 { return ntpPort }

func (d direct) resolve(ctx context.Context, t Target) ([]netip.Addr, error) {
	addrs, err := d.lookup(ctx, t.Host)
	if err != nil {
		if trouble, ok := errors.AsType[*Trouble](err); ok {
			return nil, trouble
		}
		return nil, &Trouble{Unresolved, err.Error()}
	}
	if len(addrs) == 0 {
		return nil, &Trouble{NoName, "it has no address"}
	}
	if t.private {
		return addrs, nil
	}
	var special error
	public := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		err := policy.CheckAddr(a)
		if err != nil {
			special = fmt.Errorf("%s: %w", a, err)
		}
		return err != nil
	})
	if len(public) == 0 {
		return nil, &Trouble{PrivateAddr, special.Error()}
	}
	return public, nil
}

// connect dials both families at once: a line may have only one. The first that answers
// is taken; when none does, the more telling error.
func (d direct) connect(ctx context.Context, t Target, addrs []netip.Addr) (net.Conn, netip.AddrPort, error) {
	type outcome struct {
		conn net.Conn
		dest netip.AddrPort
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var families [2][]netip.AddrPort
	for _, a := range addrs {
		i := 0
		if a.Is4() {
			i = 1
		}
		if len(families[i]) < perAddress {
			families[i] = append(families[i], netip.AddrPortFrom(a, t.Port))
		}
	}
	came := make(chan outcome, len(families))
	for _, family := range families {
		go func() {
			var o outcome
			for i, dest := range family {
				ctx, cancel := share(ctx, len(family)-i)
				conn, err := d.cfg.Dial(ctx, "tcp", dest.String())
				cancel()
				if err == nil {
					came <- outcome{conn, dest, nil}
					return
				}
				o.err = moreTelling(o.err, at(connectTrouble(err), dest))
			}
			came <- o
		}()
	}
	var best outcome
	for range families {
		switch o := <-came; {
		case o.conn != nil && best.conn != nil:
			o.conn.Close()
		case o.conn != nil:
			best = o
			cancel() // the other ends at once
		case best.conn == nil && o.err != nil:
			best.err = moreTelling(best.err, o.err)
		}
	}
	return best.conn, best.dest, best.err
}

// share gives one of n attempts, one after the other, its part of the time that is left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// at says of a trouble where it was met.
func at(t *Trouble, dest netip.AddrPort) *Trouble {
	t.Detail = dest.String() + ": " + t.Detail
	return t
}

// telling are the faults of connecting, the most telling last: that there is no IPv6 here
// says nothing of the way by IPv4.
var telling = []Fault{"", Interrupted, Unreachable, TimedOut, Broken, Refused}

func moreTelling(a, b error) error {
	rank := func(err error) int {
		if err == nil {
			return 0
		}
		return slices.Index(telling, troubleOf(err).Fault)
	}
	if rank(a) >= rank(b) {
		return a
	}
	return b
}

// connectTrouble says what the kernel's error means.
func connectTrouble(err error) *Trouble {
	var no syscall.Errno
	var timeout net.Error
	errors.As(err, &no)
	switch no {
	case syscall.ECONNREFUSED:
		return &Trouble{Refused, no.Error()}
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT,
		syscall.EACCES, syscall.EPERM: // the last two are what a firewall's reject is
		return &Trouble{Unreachable, no.Error()}
	case syscall.ECONNRESET, syscall.EPIPE:
		return &Trouble{Broken, no.Error()}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &Trouble{Interrupted, "the test was ended"}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &Trouble{TimedOut, "timed out"}
	}
	return &Trouble{Broken, strings.ToLower(err.Error())}
}
