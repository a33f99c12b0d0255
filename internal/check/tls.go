package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// askTLS shakes hands as a terminal would, and judges the certificate by the time of the
// test. What crypto/tls says of a bad one is taken apart, since what there is to do about
// it differs.
func (c *Checker) askTLS(ctx context.Context, conn net.Conn, r *Result) error {
	t := tls.Client(conn, &tls.Config{ServerName: r.Host, Time: c.cfg.Now, RootCAs: c.cfg.Roots})
	err := t.HandshakeContext(ctx)
	if err == nil {
		leaf := t.ConnectionState().PeerCertificates[0]
		r.Stage, r.Issuer, r.Expires = Answered, issuer(leaf), leaf.NotAfter.UTC()
		return nil
	}
	var failed *tls.CertificateVerificationError
	if errors.As(err, &failed) && len(failed.UnverifiedCertificates) > 0 {
		leaf := failed.UnverifiedCertificates[0]
		r.Issuer, r.Expires = issuer(leaf), leaf.NotAfter.UTC()
		return c.certificateTrouble(failed, r.Host)
	}
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &record):
		return &Trouble{NotTLS, "it does not speak TLS"}
	case errors.As(err, &alert), strings.HasPrefix(err.Error(), "remote error: "):
		return &Trouble{BadTLS, "the server ended the handshake: " + strings.TrimPrefix(err.Error(), "remote error: ")}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Trouble{Broken, "closed during the TLS handshake"}
	case strings.HasPrefix(err.Error(), "tls: "):
		return &Trouble{BadTLS, err.Error()}
	}
	trouble := connectTrouble(err)
	if trouble.Fault == TimedOut {
		trouble = &Trouble{Broken, "silent during the TLS handshake"}
	}
	return trouble
}

// certificateTrouble says what is wrong with a certificate. Go looks at the dates first;
// but a certificate of somebody who is not trusted is that at any time.
func (c *Checker) certificateTrouble(failed *tls.CertificateVerificationError, host string) *Trouble {
	certs := failed.UnverifiedCertificates
	leaf, cause := certs[0], failed.Err
	invalid, dated := errors.AsType[x509.CertificateInvalidError](cause)
	if dated = dated && invalid.Reason == x509.Expired; dated {
		if _, ok := errors.AsType[x509.UnknownAuthorityError](verifyThen(certs, host, c.cfg.Roots)); ok {
			cause, dated = x509.UnknownAuthorityError{Cert: leaf}, false
		}
	}
	if dated {
		const day = "2006-01-02 15:04"
		return &Trouble{WrongDate, fmt.Sprintf("its certificate, signed by %s, is valid from %s to %s, and by this test's clock it is %s, UTC",
			issuer(leaf), invalid.Cert.NotBefore.UTC().Format(day), invalid.Cert.NotAfter.UTC().Format(day), c.cfg.Now().UTC().Format(day))}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](cause); ok {
		return &Trouble{Intercepted, "its certificate is signed by " + issuer(leaf) + ", which is not trusted"}
	}
	if _, ok := errors.AsType[x509.HostnameError](cause); ok {
		names := strings.Join(leaf.DNSNames, ", ")
		if names == "" {
			names = leaf.Subject.String()
		}
		return &Trouble{WrongName, fmt.Sprintf("its certificate is for %.100s, signed by %s", names, issuer(leaf))}
	}
	return &Trouble{BadTLS, cause.Error()}
}

// verifyThen verifies a chain at a time at which all of it may be valid.
func verifyThen(certs []*x509.Certificate, host string, roots *x509.CertPool) error {
	opts := x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: x509.NewCertPool()}
	for i, cert := range certs {
		if cert.NotBefore.After(opts.CurrentTime) {
			opts.CurrentTime = cert.NotBefore.Add(time.Second)
		}
		if i > 0 {
			opts.Intermediates.AddCert(cert)
		}
	}
	_, err := certs[0].Verify(opts)
	return err
}

// issuer is who signed a certificate, as it says itself.
func issuer(cert *x509.Certificate) string {
	name := cert.Issuer.CommonName
	if org := strings.Join(cert.Issuer.Organization, ", "); org != "" && org != name {
		if name != "" {
			name += " "
		}
		name += "(" + org + ")"
	}
	if name == "" {
		name = "nobody that it names"
	}
	return fmt.Sprintf("%.120s", name)
}
