package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/internal/clock"
)

// A warm box has the time before it sees a certificate. The floor that rises then is on
// disk before an hour is over, or a box that is switched off each day would never have it.
func TestClockSavedWhenProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on, truth := time.Now(), time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)
		raw := func() time.Duration { return time.Since(on) }
		log := slog.New(slog.DiscardHandler)
		a := &appliance{where: places{state: t.TempDir()}, log: log, synced: make(chan struct{}, 1),
			clock: clock.New(clock.Config{Servers: 1, Machine: clock.Machine{Raw: raw, Wall: func() time.Time { return time.Unix(0, 0) }}})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { a.keepClock(ctx); close(done) }()
		saved := func() time.Time {
			synctest.Wait()
			return readClock(a.where.state, log).Trusted
		}

		a.clock.Observe(clock.Sample{Server: netip.MustParseAddr("192.0.2.1"), Raw: raw(), Time: truth, Stratum: 1, RefTime: truth})
		a.synced <- struct{}{}
		floor := a.clock.Floor()
		if got := saved(); !got.Equal(floor) {
			t.Fatalf("saved %v, the floor is %v", got, floor)
		}
		cert, roots := selfSigned(t, truth)
		if _, err := a.clock.Verify("dns.google", []*x509.Certificate{cert}, roots); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookClockEvery + time.Second)
		first := saved()
		if off := truth.Sub(first).Abs(); off > 2*lookClockEvery {
			t.Errorf("saved %v", first)
		}
		time.Sleep(saveClockEvery / 2)
		if got := saved(); !got.Equal(first) {
			t.Errorf("saved again at once: %v", got)
		}
		time.Sleep(saveClockEvery)
		if got := saved(); got.Sub(first) < saveClockEvery/2 {
			t.Errorf("not saved again: %v", got)
		}

		before := saved()
		cancel()
		<-done
		if got := saved(); !got.After(before) {
			t.Errorf("not saved at the end: %v", got)
		}
	})
}

// selfSigned makes a certificate for dns.google that is valid for a month around now.
func selfSigned(t *testing.T, now time.Time) (*x509.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"dns.google"}, NotBefore: now.AddDate(0, 0, -15), NotAfter: now.AddDate(0, 0, 15)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c)
	return c, roots
}
