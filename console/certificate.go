package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"

	"tillgate/policy"
)

const (
	certFile = "console.crt"
	keyFile  = "console.key"
)

// A certificate is what the console shows of itself by TLS: that which its admin has put
// into the configuration, else one that the box made for itself, which nobody vouches for:
// it is known by its fingerprint.
type certificate struct {
	config string // folder; empty: none
	state  string // folder

	now atomic.Pointer[tls.Certificate]
}

// load reads the files again. If they are bad, what was read before stays. hosts are the
// names and addresses of one that is to be made.
func (c *certificate) load(hosts func() []string) error {
	cert, err := c.own()
	if err == nil && cert == nil {
		cert, err = c.made(hosts)
	}
	if err != nil {
		return err
	}
	c.now.Store(cert)
	return nil
}

// own is that of the configuration, or nil where there is none.
func (c *certificate) own() (*tls.Certificate, error) {
	if c.config == "" {
		return nil, nil
	}
	chain, err := policy.ReadFile(c.config, certFile)
	key, keyErr := readPrivate(c.config, keyFile)
	noChain, noKey := errors.Is(err, fs.ErrNotExist), errors.Is(keyErr, fs.ErrNotExist)
	switch {
	case noChain && noKey:
		return nil, nil
	case noChain:
		return nil, fmt.Errorf("%s has no %s beside its %s; put the certificate there", c.config, certFile, keyFile)
	case noKey:
		return nil, fmt.Errorf("%s has no %s beside its %s; put the key there", c.config, keyFile, certFile)
	case err != nil:
		return nil, err
	case keyErr != nil:
		return nil, keyErr
	}
	return pair(c.config, chain, key)
}

// pair reads a certificate, with those that vouch for it, and its key.
func pair(dir string, chain, key []byte) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(chain, key)
	switch {
	case err == nil:
		return &cert, nil
	case strings.Contains(err.Error(), "does not match"):
		return nil, fmt.Errorf("in %s, %s is not the key of the first certificate in %s; put the pair there that belongs together, the box's own certificate first",
			dir, keyFile, certFile)
	}
	return nil, fmt.Errorf("%s and %s in %s are not a certificate and its key, as PEM: %w", certFile, keyFile, dir, err)
}

// made is that of the state. It is made the first time that it is needed.
func (c *certificate) made(hosts func() []string) (*tls.Certificate, error) {
	chain, err := os.ReadFile(filepath.Join(c.state, certFile))
	key, keyErr := readPrivate(c.state, keyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(keyErr, fs.ErrNotExist):
		return c.make(hosts())
	case err != nil:
		return nil, err
	case keyErr != nil:
		return nil, keyErr
	}
	cert, err := pair(c.state, chain, key)
	if err != nil {
		err = fmt.Errorf("%w; remove both, and new ones are made", err)
	}
	return cert, err
}

// The dates of a certificate that the box makes say nothing: it may not know the time.
var (
	madeFrom  = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	madeUntil = time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC) // the last year of UTCTime (RFC 5280, 4.1.2.5)
)

func (c *certificate) make(hosts []string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	serial[0] &= 0x7f // positive in as many bytes
	form := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: boxName},
		NotBefore:             madeFrom,
		NotAfter:              madeUntil,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			form.IPAddresses = append(form.IPAddresses, ip)
		} else {
			form.DNSNames = append(form.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if err := renameio.WriteFile(filepath.Join(c.state, keyFile), private, 0o600, renameio.IgnoreUmask()); err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(filepath.Join(c.state, certFile), chain, 0o644); err != nil {
		return nil, err
	}
	return pair(c.state, chain, private)
}

// get is for [tls.Config].
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := c.now.Load(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("there is no certificate")
}

// covers reports whether the certificate is for a host.
func (c *certificate) covers(host string) bool {
	cert := c.now.Load()
	return cert != nil && cert.Leaf.VerifyHostname(host) == nil
}

// fingerprint is the SHA-256 of the certificate, as browsers show it.
func (c *certificate) fingerprint() string {
	cert := c.now.Load()
	if cert == nil {
		return ""
	}
	sum := sha256.Sum256(cert.Leaf.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// expired says that browsers refuse the certificate, if it is so. A time of zero is not known.
func (c *certificate) expired(now time.Time) string {
	cert := c.now.Load()
	switch {
	case cert == nil || now.IsZero():
	case now.After(cert.Leaf.NotAfter):
		return fmt.Sprintf("the certificate ended on %s: put a new one into %s", cert.Leaf.NotAfter.UTC().Format(time.DateOnly), filepath.Join(c.config, certFile))
	case now.Before(cert.Leaf.NotBefore):
		return fmt.Sprintf("the certificate begins on %s only", cert.Leaf.NotBefore.UTC().Format(time.DateOnly))
	}
	return ""
}
