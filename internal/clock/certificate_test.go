package clock

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"
)

// What is no chain for this host at any time after the floor gets nowhere, at any level.
func TestBadChains(t *testing.T) {
	other := newAuthority(t)
	for _, tt := range []struct {
		name  string
		chain func(b *boot)
		host  string
		want  string
	}{
		{"none", func(b *boot) { b.chain = nil }, "dns.google", "no certificate"},
		{"made up", func(b *boot) { b.chain = other.chain(t, "2027-02-01 00:00:00", "2027-04-20 00:00:00") }, "dns.google", "unknown authority"},
		{"without what signed it", func(b *boot) { b.chain = b.chain[:1] }, "dns.google", "unknown authority"},
		{"expired before the floor", func(b *boot) { b.chain = b.ca.chain(t, "2026-08-01 00:00:00", "2026-11-21 23:59:59") }, "dns.google", "expired"},
		{"for another host", func(b *boot) {}, "dns.example", "not dns.example"},
		{"valid at no time", func(b *boot) { b.chain = b.ca.chain(t, "2027-04-20 00:00:00", "2027-04-19 00:00:00") }, "dns.google", "expired"},
	} {
		for _, wall := range []time.Duration{0, -50 * year, 5 * year} {
			b := newBoot(t, Config{})
			b.wall = wall
			good := b.chain
			refuse := func() {
				t.Helper()
				tt.chain(b)
				if p, err := b.clock.Verify(tt.host, b.chain, b.ca.roots); err == nil || !strings.Contains(err.Error(), tt.want) || p != (Proof{}) {
					t.Errorf("%s: %+v, %v", tt.name, p, err)
				}
				b.chain = good
			}
			refuse()
			b.level(None)
			if err := b.clock.Dated(Proof{}, b.truth); err == nil {
				t.Errorf("%s: a Date without a proof is taken", tt.name)
			}
			b.add(0, 0, 0)
			b.poll()
			b.level(Fine)
			refuse()
			b.level(Fine)
			b.proved()
			refuse()
			b.level(Fine)
		}
	}
}

func TestBadDates(t *testing.T) {
	for _, tt := range []struct{ date, want string }{
		{"2027-01-31 23:59:59", "its certificate is valid from"},
		{"2027-04-20 00:00:01", "its certificate is valid from"},
		{"2026-11-21 00:00:00", "its certificate is valid from"},
		{"1970-01-01 00:00:00", "its certificate is valid from"},
		{"2027-02-14 23:59:59", "2027-02-15 00:00:00 UTC has passed"},
		{"2027-02-15 00:00:00", ""},
		{"2027-04-19 00:00:00", ""},
	} {
		b := newBoot(t, Config{Saved: State{Trusted: date(t, "2027-02-15 00:00:00")}})
		b.wall = -50 * year
		p := b.provisional()
		err := b.clock.Dated(p, date(t, tt.date))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.date, err)
			}
			b.level(Coarse)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.date, err, tt.want)
		}
		b.level(None)
	}
}

// With two chains that contradict each other the last one counts.
func TestDateOfOldProof(t *testing.T) {
	b := newBoot(t, Config{})
	b.wall = -50 * year
	p := b.provisional()
	b.chain = b.ca.chain(t, "2027-06-01 00:00:00", "2027-08-20 00:00:00")
	b.provisional()
	if err := b.clock.Dated(p, b.truth); err == nil || !strings.Contains(err.Error(), "contradicts dns.google's certificate") {
		t.Errorf("%v", err)
	}
	b.level(None)
}

// A proof is for the time in which all of the chain is valid.
func TestProofOfNarrowChain(t *testing.T) {
	ca := newAuthority(t)
	b := newBoot(t, Config{})
	middle, key := certify(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Intermediate"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: date(t, "2027-02-20 00:00:00"), NotAfter: date(t, "2027-03-10 00:00:00")}, ca.root, ca.key)
	leaf, _ := certify(t, &x509.Certificate{DNSNames: []string{"dns.google"},
		NotBefore: date(t, "2027-02-01 00:00:00"), NotAfter: date(t, "2027-04-20 00:00:00")}, middle, key)
	for _, wall := range []time.Duration{0, -50 * year} {
		b.wall = wall
		p, err := b.clock.Verify("dns.google", []*x509.Certificate{leaf, middle}, ca.roots)
		if err != nil || !p.NotBefore.Equal(middle.NotBefore) || !p.NotAfter.Equal(middle.NotAfter) || p.Provisional != (wall != 0) {
			t.Errorf("%+v, %v", p, err)
		}
	}
}

// A later Date corrects an earlier one, and nothing else.
func TestDateAgain(t *testing.T) {
	b := newBoot(t, Config{})
	b.wall, b.drift = -2*year, 100/million
	p := b.provisional()
	if err := b.clock.Dated(p, b.truth); err != nil {
		t.Fatal(err)
	}
	b.pass(7 * 24 * time.Hour)
	p, err := b.verify()
	if err != nil || p.Provisional {
		t.Fatal(p, err)
	}
	if b.off().Abs() < 50*time.Second {
		t.Fatalf("the oscillator of the test is too good: %v", b.off())
	}
	if err := b.clock.Dated(p, b.truth); err != nil {
		t.Fatal(err)
	}
	b.near(time.Second)
	b.level(Coarse)
	b.add(good, good, good)
	b.poll()
	if err := b.clock.Dated(p, b.truth.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	b.near(20 * time.Millisecond)
	b.level(Fine)

	b = newBoot(t, Config{}) // the time was lost since the proof
	b.proved()
	b.wall = -50 * year
	b.level(None)
	if err := b.clock.Dated(Proof{NotBefore: p.NotBefore, NotAfter: p.NotAfter}, b.truth); err != nil {
		t.Fatal(err)
	}
	b.level(None)

	b = newBoot(t, Config{}) // by the system's clock
	b.proved()
	if err := b.clock.Dated(Proof{NotBefore: p.NotBefore, NotAfter: p.NotAfter}, b.truth.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	b.near(time.Second)
}
