package resolver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"unicode"

	"tillgate/internal/clock"
)

// Errors of [upstream.exchange], besides [upstreamError] and those of the caller's
// context.
var (
	// errUpstreamBusy is an exchange that got no place, as too many are under way.
	errUpstreamBusy = errors.New("too many questions to the upstream at once")
	// errUpstreamTimeout is in every [upstreamError] that is about silence.
	errUpstreamTimeout = errors.New("timed out")
	// errUpstreamClosed is an exchange with an upstream that is closed.
	errUpstreamClosed = errors.New("the upstream is closed")

	errUpstreamHTTP2 = errors.New("it does not speak HTTP/2")
)

// upstreamFault is the way in which a server failed.
type upstreamFault uint8

// The faults, from the least telling to the most: of several servers' the greatest is
// the one to show. A network without IPv6 says nothing about the rest of it, and who
// presents a wrong certificate was reached at least.
const (
	upstreamNoRoute      upstreamFault = iota // this box has no network, or not this family
	upstreamNoConnection                      // connecting or the TLS handshake timed out
	upstreamNoAnswer                          // connected, then silence
	upstreamBroken                            // refused, reset or closed
	upstreamBadReply                          // HTTP, but no DNS
	upstreamBadStatus                         // HTTP status other than 200
	upstreamUntimed                           // replies, but the time is not known, and it does not tell it
	upstreamBadTLS                            // a certificate or handshake that is not the server's
)

// upstreamError is why a server gave no answer.
type upstreamError struct {
	fault upstreamFault
	host  string // as the URL names it
	addr  netip.Addr
	err   error
}

func (e *upstreamError) Error() string { return fmt.Sprintf("%s at %s: %s", e.host, e.addr, e.cause()) }
func (e *upstreamError) Unwrap() error { return e.err }

// cause is the text of what is wrapped, which may be the other side's (names in a
// certificate, the reason for a GOAWAY): of bounded length, and fit to print.
func (e *upstreamError) cause() string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, e.err.Error())
	return fmt.Sprintf("%.200s", text)
}

// upstreamTelling returns the more telling of two errors; a may be nil.
func upstreamTelling(a, b error) error {
	var ea, eb *upstreamError
	if !errors.As(a, &ea) || errors.As(b, &eb) && eb.fault > ea.fault {
		return b
	}
	return a
}

// upstreamDialFault sorts an error of connecting, up to the end of the TLS handshake.
func upstreamDialFault(err error) (upstreamFault, error) {
	var errno syscall.Errno
	switch {
	case upstreamTimedOut(err):
		return upstreamNoConnection, fmt.Errorf("connecting: %w", errUpstreamTimeout)
	case errors.As(err, &errno):
		switch errno {
		case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT:
			return upstreamNoRoute, errno
		}
		return upstreamBroken, errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return upstreamBroken, errors.New("the connection was closed during the TLS handshake")
	}
	return upstreamBadTLS, err
}

// upstreamAskFault sorts an error of a request on a connection that stands.
func upstreamAskFault(err error) (upstreamFault, error) {
	var status dohStatusError
	var failed *tls.CertificateVerificationError
	switch {
	case errors.Is(err, ErrUntimed):
		return upstreamUntimed, err
	case errors.As(err, &failed):
		return upstreamBadTLS, err
	case errors.As(err, &status):
		return upstreamBadStatus, err
	case errors.Is(err, errDoHReply):
		return upstreamBadReply, err
	case upstreamTimedOut(err):
		return upstreamNoAnswer, fmt.Errorf("waiting for the answer: %w", errUpstreamTimeout)
	}
	return upstreamBroken, err
}

func upstreamTimedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT)
}

// words says what is wrong, and what it means, to somebody who runs a store's network.
// addrs are all that failed in this way; c is what certificates are judged by.
func (e *upstreamError) words(addrs []netip.Addr, c *clock.Clock) string {
	names := make([]string, len(addrs))
	for i, a := range addrs {
		names[i] = a.String()
	}
	at := strings.Join(names, ", ")
	switch e.fault {
	case upstreamNoRoute:
		return fmt.Sprintf("no route to %s: the box has no Internet; look at its cable, address and router", at)
	case upstreamNoConnection:
		return fmt.Sprintf("no answer from %s on TCP 443: the Internet line is down, or something on the way stops it; look at the router, and have it let the box out to these", at)
	case upstreamNoAnswer:
		return fmt.Sprintf("connected to %s, but no answer came in time: the Internet line was lost just now, or is overloaded, or the service is in trouble; look at the router, tillgate check tells what else is reached", at)
	case upstreamBroken:
		return fmt.Sprintf("%s at %s: %s; a firewall on the way may do it: have it let the box out to TCP 443 there", e.host, at, e.cause())
	case upstreamBadReply:
		return fmt.Sprintf("%s at %s: %s; something else than DNS answers there: look at upstream.url in tillgate.yaml", e.host, at, e.cause())
	case upstreamBadStatus:
		return fmt.Sprintf("%s at %s: %s; the service is in trouble, or upstream.url in tillgate.yaml is wrong", e.host, at, e.cause())
	case upstreamUntimed:
		return fmt.Sprintf("%s at %s: %s; until time servers have told it, only their names are resolved; see the part ntp", e.host, at, e.cause())
	}
	return fmt.Sprintf("%s at %s: %s", e.host, at, e.tlsWords(c))
}

// tlsWords explains a failed handshake. What a certificate says of itself may come from
// anybody: it is quoted and cut.
func (e *upstreamError) tlsWords(c *clock.Clock) string {
	var (
		err     = e.err
		record  tls.RecordHeaderError
		failed  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		other   x509.HostnameError
	)
	switch {
	case errors.As(err, &record):
		return "what answers does not speak TLS: a captive portal or a proxy is in between; log in there, or have it let the box through"
	case !errors.As(err, &failed) || len(failed.UnverifiedCertificates) == 0:
		return "the TLS handshake failed: " + e.cause()
	}
	leaf := failed.UnverifiedCertificates[0]
	switch {
	case errors.As(err, &unknown):
		by := leaf.Issuer.CommonName
		if by == "" {
			by = leaf.Issuer.String()
		}
		return fmt.Sprintf("certificate signed by %.64q, not trusted: somebody intercepts TLS; have who runs the firewall leave the box alone", by)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		const day = "2006-01-02 15:04"
		cert := invalid.Cert
		now, from, to := c.Now().UTC().Format(day), cert.NotBefore.UTC().Format(day), cert.NotAfter.UTC().Format(day)
		switch {
		case errors.Is(err, clock.ErrConflict):
			return fmt.Sprintf("certificate valid only from %s to %s, UTC, but the time servers say otherwise, and which is true the box can't know: somebody intercepts TLS or NTP; have who runs the network end that", from, to)
		case cert.NotAfter.Before(c.Floor()):
			return fmt.Sprintf("certificate expired on %s, UTC, which has passed, as the box knows: somebody intercepts TLS, or the server's certificate was not renewed; or what the box has saved is wrong: tillgate time reset has it forget that", to)
		}
		return fmt.Sprintf("certificate not valid at the box's time, %s (only from %s to %s, UTC): the box's clock is wrong (see the parts time and ntp), or somebody intercepts TLS", now, from, to)
	case errors.As(err, &other):
		names := strings.Join(leaf.DNSNames, ", ")
		if names == "" {
			names = leaf.Subject.CommonName
		}
		return fmt.Sprintf("certificate is for %.64q: a captive portal, or somebody intercepts TLS; log in there, or have it let the box through", names)
	}
	return "certificate not accepted: " + e.cause()
}
