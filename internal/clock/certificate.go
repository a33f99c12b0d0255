package clock

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ErrConflict is that of [Clock.Verify] when the upstream's chain and a quorum of time
// servers contradict each other, and the system's clock does not say that the chain is right.
var ErrConflict = errors.New("the certificate and the time servers contradict each other")

// Proof is that a chain is good, with the time in which it is.
type Proof struct {
	NotBefore, NotAfter time.Time
	// Provisional is a proof by a time that the chain itself has chosen: enough to
	// take a Date from the server (see [Clock.Dated]) or to find time servers.
	Provisional bool
}

// Verify judges the upstream's chain, the leaf first, for a host by the time that can
// be believed, and learns the time from it. Nil roots are the system's. Nobody but the
// upstream may be asked of here, and only when it has shown that it has the key of the
// leaf: what anybody's chain says would count as much, and chains are public.
//
//   - At Coarse and above it is verified at Now. If that fails, and the chain could be
//     good at another time, the present one is not believed any more: unless it is that
//     of time servers with which an earlier chain agrees. Where no earlier chain
//     does, the system's clock may tell that this chain is right; else neither is
//     believed until they agree ([ErrConflict]).
//   - At None, if it is good at the system's clock, that becomes Coarse.
//   - Else it is verified at the earliest time that is not before the floor and at
//     which all of it can be valid: the proof is provisional.
func (c *Clock) Verify(host string, certs []*x509.Certificate, roots *x509.CertPool) (Proof, error) {
	c.mu.Lock()
	defer c.unlock()
	now := c.machine.raw()
	c.check(now)
	if c.believed {
		v, err := verify(host, certs, roots, c.Now(), now)
		return v.proof(false), err
	}
	if c.claim != nil && now-c.claim.raw > claimLife {
		c.claim = nil
	}
	if c.claim != nil {
		p, err := c.verifyClaim(host, certs, roots, now)
		if err != nil {
			if wall, ok := c.verifyWall(host, certs, roots, now); ok {
				return wall, nil
			}
		}
		return p, err
	}
	if c.Level() >= Coarse {
		v, err := verify(host, certs, roots, c.Now(), now)
		if err == nil {
			c.believe(v, now)
			return v.proof(false), nil
		}
		early, earlyErr := c.verifyEarly(host, certs, roots, now)
		if earlyErr != nil {
			return Proof{}, err
		}
		if done, err := c.contradicted(early, now, err); done {
			if c.claim != nil {
				if p, ok := c.verifyWall(host, certs, roots, now); ok {
					return p, nil
				}
			}
			return Proof{}, err
		}
	}
	if p, ok := c.verifyWall(host, certs, roots, now); ok {
		return p, nil
	}
	v, err := c.verifyEarly(host, certs, roots, now)
	if err != nil {
		return Proof{}, err
	}
	c.seen = v
	return v.proof(true), nil
}

// verifyWall judges a chain by the system's clock, which is Coarse if it is good then.
func (c *Clock) verifyWall(host string, certs []*x509.Certificate, roots *x509.CertPool, now time.Duration) (Proof, bool) {
	wall := c.machine.wall()
	if wall.Before(c.Floor()) {
		return Proof{}, false
	}
	v, err := verify(host, certs, roots, wall, now)
	if err != nil {
		return Proof{}, false
	}
	c.seen, c.claim = v, nil
	e := &Estimate{Level: Coarse, Precision: precision, by: bySystem, raw: now, base: wall.Round(0).UTC(),
		residual: unknownDrift, within: v}
	c.publish(e, now, "by the system's clock, which agrees with "+v.String())
	return v.proof(false), true
}

// believe notes a chain that is good at Now.
func (c *Clock) believe(v validity, now time.Duration) {
	c.seen = v
	if e := c.now.Load(); e.by == bySystem {
		after := *e
		after.within = v
		c.now.Store(&after)
	}
	c.prove(now)
}

// contradicted decides what to do of a chain that is not good at Now, but could be at
// another time. It reports whether that is all; else the time is None, and the chain is
// to be judged as if nothing had been known.
func (c *Clock) contradicted(early validity, now time.Duration, err error) (done bool, _ error) {
	e := c.now.Load()
	switch {
	case e.by == byServers && c.seen.is() && !early.notBefore.After(e.At(now).Add(e.Error(now))):
		// The servers and an earlier chain agree: this one is old. (One from the future
		// nobody can have, so then the machine has slept, or both were wrong.)
		return true, err
	case e.by == byServers && !c.seen.is() && now-e.raw <= claimLife:
		c.claim, c.seen = e, early
		c.distrust("the time servers say that it is " + moment(e.At(now)) + ", which contradicts " + early.String() + ": neither is believed until they agree")
		return true, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	c.distrust("it was " + moment(c.Now()) + " " + c.why + ", but now contradicts " + early.String())
	return false, nil
}

// distrust begins again with nothing.
func (c *Clock) distrust(why string) {
	c.doubts = 0
	c.publish(&Estimate{base: c.machine.wall().Round(0).UTC(), raw: c.machine.raw(), Precision: precision}, 0, why)
}

// verifyClaim judges a chain by a quorum that another chain contradicted.
func (c *Clock) verifyClaim(host string, certs []*x509.Certificate, roots *x509.CertPool, now time.Duration) (Proof, error) {
	v, err := verify(host, certs, roots, c.claim.At(now), now)
	if err != nil {
		return Proof{}, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	e := *c.claim
	c.claim, c.refusal, c.seen = nil, "", v
	c.publish(&e, now, "the time servers agree with "+v.String())
	return v.proof(false), nil
}

// verifyEarly verifies a chain at the earliest time at which all of it can be valid
// that is not before the floor.
func (c *Clock) verifyEarly(host string, certs []*x509.Certificate, roots *x509.CertPool, now time.Duration) (validity, error) {
	at := c.Floor()
	for _, cert := range certs {
		if cert.NotBefore.After(at) {
			at = cert.NotBefore
		}
	}
	v, err := verify(host, certs, roots, at, now)
	if err != nil {
		return v, fmt.Errorf("at %s, the earliest that it can be: %w", moment(at), err)
	}
	return v, nil
}

// verify verifies a chain at a time. The validity is that of the whole chain which was
// found, up to the root; of several that which lasts longest.
func verify(host string, certs []*x509.Certificate, roots *x509.CertPool, at time.Time, now time.Duration) (validity, error) {
	if len(certs) == 0 {
		return validity{}, errors.New("no certificate")
	}
	opts := x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at, Intermediates: x509.NewCertPool()}
	for _, cert := range certs[1:] {
		opts.Intermediates.AddCert(cert)
	}
	chains, err := certs[0].Verify(opts)
	if err != nil {
		return validity{}, err
	}
	var best validity
	for _, chain := range chains {
		v := validity{host: host, raw: now, notBefore: chain[0].NotBefore, notAfter: chain[0].NotAfter}
		for _, cert := range chain[1:] {
			if cert.NotBefore.After(v.notBefore) {
				v.notBefore = cert.NotBefore
			}
			if cert.NotAfter.Before(v.notAfter) {
				v.notAfter = cert.NotAfter
			}
		}
		if !best.is() || v.notAfter.After(best.notAfter) {
			best = v
		}
	}
	return best, nil
}

func (v validity) proof(provisional bool) Proof {
	return Proof{NotBefore: v.notBefore, NotAfter: v.notAfter, Provisional: provisional && v.is()}
}

// Dated takes the Date header of a reply that came on a connection with proof p: it
// becomes the Coarse time if it is inside the validity of the chain and not before the
// floor. Where the Coarse time is by such a header already, a later one corrects it;
// else the proof must be provisional for anything to change.
func (c *Clock) Dated(p Proof, date time.Time) error {
	c.mu.Lock()
	defer c.unlock()
	now := c.machine.raw()
	c.check(now)
	switch e := c.now.Load(); {
	case date.Before(p.NotBefore) || date.After(p.NotAfter) || date.After(latest):
		return fmt.Errorf("the server says that it is %s, but its certificate is valid from %s to %s",
			moment(date), moment(p.NotBefore), moment(p.NotAfter))
	case date.Before(e.floor):
		return fmt.Errorf("the server says that it is %s, but %s has passed", moment(date), moment(e.floor))
	case c.claim != nil:
		return ErrConflict
	case c.seen.is() && !c.seen.holds(now, date):
		return fmt.Errorf("the server says that it is %s, which contradicts %v", moment(date), c.seen)
	case c.believed, c.levelOf(e) >= Coarse && e.by != byDate, e.by != byDate && !p.Provisional:
		return nil
	case e.by == byDate && e.At(now).Sub(date).Abs() < 2*time.Second:
		return nil
	}
	// The header has whole seconds, and was on its way for some time.
	date = date.Add(time.Second / 2).Round(0).UTC()
	c.publish(&Estimate{Level: Coarse, Precision: precision, by: byDate, raw: now, base: date,
		drift: c.drift.rate, residual: c.drift.residual, bound: time.Second}, now,
		"by the Date header of a reply from "+c.seen.host)
	return nil
}
