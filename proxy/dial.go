package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"tillgate/policy"
)

// A dialFault is why no connection came about.
type dialFault uint8

// The faults. The zero value is none.
const (
	noFault        dialFault = iota
	lookupFailed             // the resolver has no answer
	lookupTimeout            // nor in time
	noAddress                // the name has none that may be dialled
	privateAddress           // all that it has are special-purpose ones: a denial
	refused                  // the host says no
	unreachable              // there is no way to it
	timedOut                 // the host says nothing
	localFault               // the box has no descriptor or port left
)

// faultNames are the error types of RFC 9209, section 2.3.
var faultNames = [...]string{"", "dns_error", "dns_timeout", "dns_error", "destination_ip_prohibited",
	"connection_refused", "destination_ip_unroutable", "connection_timeout", "proxy_internal_error"}

// String is the error type of RFC 9209 (Proxy-Status).
func (f dialFault) String() string { return faultNames[f] }

// timeout reports whether the client is told 504, and not 502.
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
	var e *dialError
	if errors.As(err, &e) {
		return e.fault
	}
	return localFault
}

// dial connects to the attempt's host: at the addresses that the box's own resolver
// gives, and of these only at those that the policy lets a name lead to. All of it is
// bounded by ConnectTimeout. The error is a dialError.
func (p *Proxy) dial(ctx context.Context, a *attempt) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ConnectTimeout)
	defer cancel()
	addrs, err := p.deps.Lookup(ctx, a.name)
	if err != nil {
		fault := lookupFailed
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			fault = lookupTimeout
		}
		return nil, &dialError{fault, err}
	}
	var why error
	for _, addr := range addrs {
		if err := policy.CheckAddr(addr); err != nil && !a.private() {
			why = &dialError{privateAddress, fmt.Errorf("%v: %w", addr, err)}
			continue
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, a.port).String())
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		why = &dialError{dialFaultOf(err), err}
	}
	return nil, why
}

// dialFaultOf tells a fault of connecting by its error.
func dialFaultOf(err error) dialFault {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return timedOut
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return refused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return unreachable
	}
	return localFault
}
