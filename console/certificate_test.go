package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newPair is a certificate for a host and its key, as PEM.
func newPair(t *testing.T, host string, from, until time.Time) (chain, key []byte) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, form, form, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

var (
	today    = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	tomorrow = today.AddDate(0, 0, 1)
)

func noHosts() []string { return []string{boxName, "10.20.0.1", "fd00::1"} }

// put writes a file with a mode, whatever the umask is. Without text there is none.
func put(t *testing.T, dir, name string, text []byte, mode os.FileMode) {
	t.Helper()
	if text == nil {
		return
	}
	path := filepath.Join(dir, name)
	if err := errors.Join(os.WriteFile(path, text, mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateMade(t *testing.T) {
	c := certificate{state: t.TempDir()}
	if c.fingerprint() != "" || c.covers(boxName) {
		t.Error("there is one before it is needed")
	}
	if err := c.load(noHosts); err != nil {
		t.Fatal(err)
	}
	print := c.fingerprint()
	if len(print) != 95 || strings.Trim(print, "0123456789ABCDEF:") != "" {
		t.Errorf("fingerprint %q", print)
	}
	for _, host := range noHosts() {
		if !c.covers(host) {
			t.Errorf("it is not for %s", host)
		}
	}
	if c.covers("rebind.example") || c.expired(today) != "" || c.expired(time.Time{}) != "" {
		t.Errorf("it is for everybody, or %q", c.expired(today))
	}
	if info, err := os.Stat(filepath.Join(c.state, keyFile)); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key: %v, %v", info.Mode(), err)
	}
	again := certificate{state: c.state}
	if err := again.load(nil); err != nil || again.fingerprint() != print {
		t.Errorf("after a restart it is another: %v", err)
	}
}

func TestCertificateOwn(t *testing.T) {
	chain, key := newPair(t, "till.example", today, tomorrow)
	_, other := newPair(t, "till.example", today, tomorrow)
	for _, tt := range []struct {
		name       string
		chain, key []byte
		mode       os.FileMode
		want       string
	}{
		{"good", chain, key, 0o600, ""},
		{"the key of another", chain, other, 0o600, "console.key is not the key of the first certificate in console.crt"},
		{"a key that the group can read", chain, key, 0o640, "console.key can be read by others (mode 0640): give it to the user that the box runs as, alone, with chmod 600 "},
		{"no key", chain, nil, 0, "has no console.key beside its console.crt; put the key there"},
		{"no certificate", nil, key, 0o600, "has no console.crt beside its console.key; put the certificate there"},
		{"two certificates", chain, chain, 0o600, "are not a certificate and its key, as PEM"},
		{"no PEM", []byte("a certificate\n"), key, 0o600, "are not a certificate and its key, as PEM"},
		{"nothing in it", []byte{}, key, 0o600, "are not a certificate and its key, as PEM"},
		{"too long a key", chain, make([]byte, maxPrivate+1), 0o600, "console.key is longer than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := certificate{config: t.TempDir(), state: t.TempDir()}
			put(t, c.config, certFile, tt.chain, 0o644)
			put(t, c.config, keyFile, tt.key, tt.mode)
			err := c.load(noHosts)
			if (err == nil) != (tt.want == "") || !strings.Contains(errorText(err), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err == nil && !c.covers("till.example") {
				t.Error("another certificate is shown")
			}
		})
	}
}

// A certificate is renewed without a restart; one that is renewed badly stays.
func TestCertificateRenewed(t *testing.T) {
	c := certificate{config: t.TempDir(), state: t.TempDir()}
	renew := func(host string, mode os.FileMode) error {
		chain, key := newPair(t, host, today, tomorrow)
		put(t, c.config, certFile, chain, 0o644)
		put(t, c.config, keyFile, key, mode)
		return c.load(noHosts)
	}
	if err := renew("one.example", 0o600); err != nil || !c.covers("one.example") {
		t.Errorf("the first: %v", err)
	}
	if err := renew("two.example", 0o600); err != nil || !c.covers("two.example") || c.covers("one.example") {
		t.Errorf("the second: %v", err)
	}
	if err := renew("three.example", 0o644); err == nil || !c.covers("two.example") {
		t.Errorf("a bad one: %v", err)
	}
}

func TestCertificateExpired(t *testing.T) {
	c := certificate{config: t.TempDir(), state: t.TempDir()}
	chain, key := newPair(t, "till.example", today, tomorrow)
	put(t, c.config, certFile, chain, 0o644)
	put(t, c.config, keyFile, key, 0o600)
	if err := c.load(noHosts); err != nil {
		t.Fatal(err)
	}
	for now, want := range map[time.Time]string{
		{}:                          "",
		today.Add(time.Hour):        "",
		tomorrow.Add(time.Second):   "the certificate ended on 2026-11-23: put a new one into " + filepath.Join(c.config, certFile),
		today.Add(-2 * time.Second): "the certificate begins on 2026-11-22 only",
	} {
		if got := c.expired(now); got != want {
			t.Errorf("at %v: %q, want %q", now, got, want)
		}
	}
}

// A bad certificate is told by the part's health, and closes what needs one.
func TestWebBadCertificate(t *testing.T) {
	state, config := t.TempDir(), t.TempDir()
	chain, key := newPair(t, "till.example", today, tomorrow)
	put(t, config, certFile, chain, 0o644)
	put(t, config, keyFile, key, 0o640)
	if err := writePassword(state, quick("correct horse")); err != nil {
		t.Fatal(err)
	}
	c, at := serveWeb(t, Config{
		Now: func() time.Time { return tomorrow.Add(time.Hour) },
		Web: WebConfig{Listen: []string{"127.0.0.1:0", "0.0.0.0:0"}, State: state, Config: config},
	})
	if h := c.Health(); len(at) != 1 || h.State.String() != "bad" || !strings.Contains(h.Text, "not at 0.0.0.0:0: "+filepath.Join(config, keyFile)+" can be read by others") {
		t.Errorf("bound %v; %+v", at, h)
	}
	put(t, config, keyFile, key, 0o600)
	settle := func() {
		c.web.mu.Lock()
		defer c.web.mu.Unlock()
		c.web.settle(t.Context())
	}
	settle()
	if h := c.Health(); len(c.Addrs()) != 2 || h.State.String() != "warn" || !strings.Contains(h.Text, "the certificate ended on 2026-11-23") {
		t.Errorf("bound %v; %+v", c.Addrs(), h)
	}
	put(t, config, keyFile, key, 0o640)
	settle()
	if h := c.Health(); len(c.Addrs()) != 2 || h.State.String() != "warn" || !strings.Contains(h.Text, "the certificate stays the old one: ") {
		t.Errorf("bound %v; %+v", c.Addrs(), h)
	}
}
