package resolver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"tillgate/internal/clock"
	"tillgate/internal/h2"
)

// A certificate is good at some time, and a box without a clock battery does not know the
// time: package clock has the rules. So crypto/tls verifies nothing here; for each
// handshake, a resumed one too, the clock does, and says what its proof is worth. One
// that is provisional (the chain is good at some time that may be now) makes a connection
// whose replies are believed only once the Date of one of them has told the time, but
// for those about time servers. Nothing that rests on such a proof outlives it.

// ErrUntimed is in an error of [Resolver.Lookup] when there is a reply that can't be
// believed, as nobody knows whether the server's certificate is good today.
var ErrUntimed = errors.New("the box does not know the time yet")

// judged is what the clock says of the certificates of one handshake.
type judged struct {
	proof clock.Proof
	certs []*x509.Certificate
}

// dialTLS connects, and has the clock judge who answers.
func (u *upstream) dialTLS(ctx context.Context, addr netip.AddrPort) (_ net.Conn, j judged, err error) {
	raw, err := u.dialTCP(ctx, "tcp", addr.String())
	if err != nil {
		return nil, j, err
	}
	conn := tls.Client(raw, u.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, j, err
	}
	// Not in tls.Config.VerifyConnection: that is called before the server has shown that
	// it has the key, and the clock learns from what it judges. Certificates are public.
	cs := conn.ConnectionState()
	j.certs = cs.PeerCertificates
	if j.proof, err = u.verify(j.certs); err == nil && cs.NegotiatedProtocol != "h2" {
		// A server that knows no ALPN would be spoken to in HTTP/1.1, one question
		// at a time.
		err = errUpstreamHTTP2
	}
	if err != nil {
		raw.Close()
		return nil, j, err
	}
	return conn, j, nil
}

// verify has the clock judge certificates. The error is the one of crypto/tls.
func (u *upstream) verify(certs []*x509.Certificate) (clock.Proof, error) {
	proof, err := u.clock.Verify(u.url.Hostname(), certs, u.roots)
	if err != nil {
		return proof, &tls.CertificateVerificationError{UnverifiedCertificates: certs, Err: err}
	}
	return proof, nil
}

// stands reports whether what j was judged by still holds. A provisional proof ends when
// the time is known, a proof by a time that is not believed any more ends with that, and
// a clock that was corrected may have gone beyond the certificate.
func (u *upstream) stands(j judged) bool {
	if u.clock.Level() == clock.None {
		return j.proof.Provisional
	}
	now := u.clock.Now()
	return !j.proof.Provisional && !now.Before(j.proof.NotBefore) && !now.After(j.proof.NotAfter)
}

// believe decides whether a reply about name that came on a connection may be believed,
// and hands its Date to the clock where that wants one.
func (u *upstream) believe(j judged, resp *h2.Response, name string) error {
	if j.proof.Provisional && u.clock.Level() > clock.None {
		// Since then the time became known: what was good then may not be now.
		proof, err := u.verify(j.certs)
		if err != nil {
			return err
		}
		j.proof = proof
	}
	if !j.proof.Provisional {
		if u.clock.Level() == clock.Coarse {
			u.dated(j.proof, resp) // a Coarse time that is by a Date is corrected by the next
		}
		return nil
	}
	err := u.dated(j.proof, resp)
	if err == nil || u.timeServer(name) {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUntimed, err)
}

// dated hands the Date of a reply to the clock.
func (u *upstream) dated(p clock.Proof, resp *h2.Response) error {
	header := resp.Get("date")
	if header == "" {
		return errors.New("the reply has no Date")
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return fmt.Errorf("the reply's Date is %.64q", header)
	}
	return u.clock.Dated(p, date)
}

// timeChanged drops what does not stand any more, when the clock says that something has
// changed. Connections are looked at again before each use: this is so that none is kept
// for nothing.
func (u *upstream) timeChanged(c clock.Change) {
	if c.Was != c.Level && (c.Was == clock.None || c.Level == clock.None) {
		// A session is judged when it is resumed, so this is not what keeps it from
		// being misused; but who could be trusted for a moment need not be remembered.
		u.tls.ClientSessionCache.Put("", nil)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.life.Err() != nil {
		return // close has them all
	}
	for _, s := range u.servers {
		if s.conn != nil && !u.stands(s.conn.judged) {
			u.drop(s, s.conn)
		}
	}
}

// tlsSession is a [tls.ClientSessionCache] of one session: all addresses share a name.
type tlsSession struct {
	mu    sync.Mutex
	state *tls.ClientSessionState
}

func (s *tlsSession) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.state != nil
}

func (s *tlsSession) Put(_ string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// tlsConfig is that of all connections. Sessions age by the clock too, so a step of
// years costs a whole handshake.
func tlsConfig(host string, now func() time.Time) *tls.Config {
	return &tls.Config{
		ServerName:         host,
		NextProtos:         []string{"h2"},
		MinVersion:         tls.VersionTLS12,
		Time:               now,
		ClientSessionCache: new(tlsSession),
		InsecureSkipVerify: true, // dialTLS does, when the handshake is over
	}
}
