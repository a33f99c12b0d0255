package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// attemptDelay is how long one address has before the next is tried beside it
	// (RFC 8305 §5, Connection Attempt Delay).
	attemptDelay = 250 * time.Millisecond
	// maxAddresses is how many of a name's addresses are tried.
	maxAddresses = 8
)

// A dialFault is why no connection came about.
type dialFault uint8

// The faults. Where each address has another, the last in this list tells most of what
// the matter is.
const (
	noFault        dialFault = iota
	abandoned                // nobody waits for it any more
	unroutable               // there is no way to the host
	localFault               // the box has no descriptor or port left
	timedOut                 // the host says nothing
	refused                  // the host says no
	privateAddress           // the name leads to special-purpose addresses only: a denial
	lookupTimeout            // the resolver has no answer in time
	lookupFailed             // the resolver has no answer
	overLimit                // there are too many connections already: a denial
)

// String is the fault's error type of RFC 9209, section 2.3.
func (f dialFault) String() string {
	return [...]string{
		noFault:        "",
		abandoned:      "connection_terminated",
		unroutable:     "destination_ip_unroutable",
		localFault:     "proxy_internal_error",
		timedOut:       "connection_timeout",
		refused:        "connection_refused",
		privateAddress: "destination_ip_prohibited",
		lookupTimeout:  "dns_timeout",
		lookupFailed:   "dns_error",
		overLimit:      "connection_limit_reached",
	}[f]
}

// timeout reports whether it was a matter of time: for HTTP that is 504, the rest 502.
func (f dialFault) timeout() bool { return f == timedOut || f == lookupTimeout }

// A dialError is the error of dial. Its text is for records: it tells addresses, which
// are no business of the client's.
type dialError struct {
	fault dialFault
	err   error
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// faultOf returns why dial failed.
func faultOf(err error) dialFault {
	if e, ok := errors.AsType[*dialError](err); ok {
		return e.fault
	}
	return localFault
}

// dial connects to the attempt's host: at the addresses that the box's own resolver
// gives, and of these only at those that the policy lets a name lead to. Config's
// ConnectTimeout bounds it. The error is a *dialError.
func (p *Proxy) dial(ctx context.Context, a *attempt) (*net.TCPConn, error) {
	if err := p.admit(a); err != nil {
		fault := overLimit
		if errors.Is(err, errStopping) {
			fault = abandoned
		}
		return nil, &dialError{fault, err}
	}
	slot := a.peer.slot
	timed, cancel := context.WithTimeout(slot.ctx, p.cfg.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	conn, err := p.reach(timed, a)
	switch {
	case err == nil:
		slot.connected(a.dest)
	case faultOf(err) == abandoned && ctx.Err() != nil:
		err = gaveUp(ctx) // which tells more
	}
	return conn, err
}

// reach connects without asking for a place, as long as ctx lasts.
func (p *Proxy) reach(ctx context.Context, a *attempt) (*net.TCPConn, error) {
	if a.original.IsValid() {
		return p.connect(ctx, a, []netip.Addr{a.original})
	}
	addrs, err := p.deps.Lookup(ctx, a.name)
	switch {
	case err == nil && len(addrs) == 0:
		err = errNoAddress
	case err == nil:
		return p.connect(ctx, a, addrs)
	case ctx.Err() == context.Canceled:
		return nil, gaveUp(ctx)
	case isTimeout(err):
		return nil, &dialError{lookupTimeout, err}
	}
	return nil, &dialError{lookupFailed, err}
}

// connect dials those of the addresses that pass the guards.
func (p *Proxy) connect(ctx context.Context, a *attempt, addrs []netip.Addr) (*net.TCPConn, error) {
	own, err := p.own()
	if err != nil {
		return nil, unlisted(err)
	}
	var good []netip.AddrPort
	var bad error
	for _, addr := range interleave(addrs) {
		if err := a.guard(addr, own); err != nil {
			bad = cmp.Or(bad, err)
		} else if len(good) < maxAddresses {
			good = append(good, netip.AddrPortFrom(addr, a.port))
		}
	}
	if len(good) == 0 {
		return nil, &dialError{privateAddress, bad}
	}
	if bad != nil {
		a.detail = "left out: " + bad.Error()
	}
	conn, dest, err := race(ctx, good, p.dialTCP)
	if err != nil {
		return nil, err
	}
	// That takes seconds where a host is slow. If the box has got its address meanwhile, the
	// next SYN has reached the box.
	if own, err = p.own(); err != nil {
		err = unlisted(err)
	} else if err = a.guard(dest.Addr(), own); err != nil {
		err = &dialError{privateAddress, err}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	a.dest = dest
	return conn.(*net.TCPConn), nil
}

var errNoAddress = errors.New("the name has no address")

// unlisted is the error of who does not know the box's own addresses: nobody is dialled then.
func unlisted(err error) error {
	return &dialError{localFault, fmt.Errorf("listing the box's own addresses: %w", err)}
}

// dialTCP connects to one address.
func dialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	// Not DialTCP, which binds before it connects: each connection would then have a port
	// that no other has, whatever the host.
	return d.DialContext(ctx, "tcp", addr.String())
}

// interleave orders addresses so that the families take turns, that of the first one
// first (RFC 8305 §4), each but once.
func interleave(addrs []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr
	for _, a := range addrs {
		i := 0
		if a.Is4() != addrs[0].Is4() {
			i = 1
		}
		if !slices.Contains(families[i], a) {
			families[i] = append(families[i], a)
		}
	}
	var order []netip.Addr
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				order = append(order, f[i])
			}
		}
	}
	return order
}

// race returns the first connection to any of the addresses, and to which. One after the other is
// tried; the next begins when one has failed, or has said nothing for attemptDelay
// (RFC 8305 §5). When it returns, nothing that it started is left.
func race(ctx context.Context, addrs []netip.AddrPort, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, netip.AddrPort, error) {
	if len(addrs) == 1 && ctx.Err() == nil { // nothing to start, then
		conn, err := dial(ctx, addrs[0])
		if err == nil {
			return conn, addrs[0], nil
		}
		return nil, netip.AddrPort{}, lost(ctx, []error{err}, addrs)
	}
	type result struct {
		i    int // of addrs
		conn net.Conn
		err  error
	}
	inner, cancel := context.WithCancel(ctx)
	results := make(chan result)
	started, ended := 0, 0
	start := func() {
		i := started
		started++
		go func() {
			conn, err := dial(inner, addrs[i])
			results <- result{i, conn, err}
		}()
	}
	defer func() {
		cancel()
		for ; ended < started; ended++ {
			if r := <-results; r.err == nil {
				r.conn.Close()
			}
		}
	}()

	errs := make([]error, len(addrs))
	next := time.NewTimer(0)
	defer next.Stop()
	for ended < started || started < len(addrs) && ctx.Err() == nil {
		select {
		case <-next.C:
			if started < len(addrs) {
				start()
				next.Reset(attemptDelay)
			}
		case r := <-results:
			ended++
			if r.err == nil {
				return r.conn, addrs[r.i], nil
			}
			errs[r.i] = r.err
			if ctx.Err() == nil {
				next.Reset(0)
			}
		}
	}
	return nil, netip.AddrPort{}, lost(ctx, errs[:started], addrs)
}

// lost is the error of a race in which the first of the addresses were tried, and each failed.
func lost(ctx context.Context, errs []error, addrs []netip.AddrPort) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return gaveUp(ctx)
	case len(errs) == 0: // the look-up took all the time
		return &dialError{timedOut, fmt.Errorf("connecting: %w", ctx.Err())}
	}
	fault := noFault
	causes := make([]string, len(errs))
	for i, err := range errs {
		f, why := faultOfConnect(err)
		fault = max(fault, f)
		causes[i] = addrs[i].Addr().String() + ": " + why
	}
	return &dialError{fault, fmt.Errorf("connecting to %s", strings.Join(causes, ", "))}
}

// gaveUp is the error of what nobody waits for any more.
func gaveUp(ctx context.Context) error {
	cause := context.Cause(ctx)
	if cause == context.Canceled {
		cause = errors.New("the client is gone, or the box stops")
	}
	return &dialError{abandoned, fmt.Errorf("given up: %w", cause)}
}

// faultOfConnect tells what kind of failure one address had, and in the fewest words why.
func faultOfConnect(err error) (dialFault, string) {
	errno, ok := errors.AsType[syscall.Errno](err)
	switch {
	case isTimeout(err):
		return timedOut, "no answer"
	case !ok:
		return localFault, err.Error()
	case errno == syscall.ECONNREFUSED, errno == syscall.ECONNRESET:
		return refused, errno.Error()
	case errno == syscall.ENETUNREACH, errno == syscall.EHOSTUNREACH, errno == syscall.ENONET,
		errno == syscall.EACCES, errno == syscall.EPERM, // a firewall's reject
		errno == syscall.EAFNOSUPPORT: // no IPv6 here
		return unroutable, errno.Error()
	}
	return localFault, errno.Error()
}

// isTimeout reports whether err is that something took too long.
func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout() || errors.Is(err, context.DeadlineExceeded)
}
