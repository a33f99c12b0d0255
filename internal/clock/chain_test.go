package clock

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// An authority signs chains.
type authority struct {
	root  *x509.Certificate
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{roots: x509.NewCertPool()}
	a.root, a.key = certify(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: date(t, "2000-01-01 00:00:00"), NotAfter: date(t, "2120-01-01 00:00:00")}, nil, nil)
	a.roots.AddCert(a.root)
	return a
}

// chain makes one for dns.google: its leaf is valid from and to, its intermediate
// certificate for ten years around.
func (a *authority) chain(t testing.TB, from, to string) []*x509.Certificate {
	t.Helper()
	notBefore, notAfter := date(t, from), date(t, to)
	middle, key := certify(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Intermediate"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: notBefore.AddDate(-5, 0, 0), NotAfter: notAfter.AddDate(5, 0, 0)}, a.root, a.key)
	leaf, _ := certify(t, &x509.Certificate{DNSNames: []string{"dns.google"}, NotBefore: notBefore, NotAfter: notAfter}, middle, key)
	return []*x509.Certificate{leaf, middle}
}

// certify signs a certificate; itself if there is no parent.
func certify(t testing.TB, c, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(1)
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed, key
}

// A boot is a world with an upstream.
type boot struct {
	*sim
	ca    *authority
	chain []*x509.Certificate
}

// newBoot is a box that starts when it truly is 2027-03-01. The upstream's chain is
// valid from February to April.
func newBoot(t testing.TB, cfg Config) *boot {
	b := &boot{sim: newSim(t, 1, startAt, cfg), ca: newAuthority(t)}
	b.chain = b.ca.chain(t, "2027-02-01 00:00:00", "2027-04-20 00:00:00")
	return b
}

func (b *boot) verify() (Proof, error) { return b.clock.Verify("dns.google", b.chain, b.ca.roots) }

// near fails unless the clock is right to within d.
func (b *boot) near(d time.Duration) {
	b.t.Helper()
	if off := b.off(); off.Abs() > d {
		b.t.Fatalf("wrong by %v, want less than %v", off, d)
	}
}

// provisional takes a provisional proof.
func (b *boot) provisional() Proof {
	b.t.Helper()
	p, err := b.verify()
	if err != nil || !p.Provisional {
		b.t.Fatalf("proof %+v, %v, want a provisional one", p, err)
	}
	return p
}

// proved takes a proof that is none.
func (b *boot) proved() {
	b.t.Helper()
	if p, err := b.verify(); err != nil || p.Provisional {
		b.t.Fatalf("proof %+v, %v, want one by the time that is known", p, err)
	}
}
