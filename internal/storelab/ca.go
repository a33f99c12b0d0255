package storelab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A CA signs the certificates of a store's Internet. The box trusts it alone.
type CA struct {
	File string         // its certificate, in PEM: for SSL_CERT_FILE, curl --cacert and the like
	Pool *x509.CertPool // the same, for tls.Config.RootCAs

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

// NewCA makes a CA whose files are in a folder.
func NewCA(dir string) (*CA, error) {
	ca := &CA{File: filepath.Join(dir, "ca.pem"), Pool: x509.NewCertPool(), dir: dir}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "storelab CA"},
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	begins, expires := today()
	der, key, err := ca.sign(template, begins, expires)
	if err != nil {
		return nil, err
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	ca.key = key
	ca.Pool.AddCert(ca.cert)
	return ca, writePEM(ca.File, 0o644, "CERTIFICATE", der)
}

// Certificate makes a certificate for names (or addresses) and returns the
// files that hold it and its key, in PEM.
func (ca *CA) Certificate(names ...string) (certFile, keyFile string, err error) {
	begins, expires := today()
	return ca.certificate(begins, expires, names...)
}

// today is when certificates are good: a day before and after now.
func today() (begins, expires time.Time) {
	return time.Now().Add(-24 * time.Hour), time.Now().Add(24 * time.Hour)
}

func (ca *CA) certificate(begins, expires time.Time, names ...string) (certFile, keyFile string, err error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, key, err := ca.sign(template, begins, expires)
	if err != nil {
		return "", "", fmt.Errorf("making a certificate for %s: %w", names[0], err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	base := filepath.Join(ca.dir, fmt.Sprintf("%x", template.SerialNumber))
	certFile, keyFile = base+".pem", base+".key"
	if err := writePEM(certFile, 0o644, "CERTIFICATE", der); err != nil {
		return "", "", err
	}
	return certFile, keyFile, writePEM(keyFile, 0o600, "PRIVATE KEY", keyDER)
}

// sign makes a key and a certificate of it. The CA's own, while it has none, is signed
// by itself.
func (ca *CA) sign(template *x509.Certificate, begins, expires time.Time) (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64)); err != nil {
		return nil, nil, err
	}
	template.NotBefore, template.NotAfter = begins, expires
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	return der, key, err
}

func writePEM(file string, mode os.FileMode, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
