package resolver

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/h2"
)

// upstreamServer is one pinned address of the server. upstream.mu guards it, but for
// addr.
type upstreamServer struct {
	addr    netip.AddrPort
	conn    *upstreamConn // what new requests go to; nil: none
	dialing *upstreamDial // under way; nil: none

	rtt      time.Duration // smoothed, of requests on a connection that stood; 0: unknown
	answered time.Time     // last; zero: never
	failed   time.Time     // last, if that was after the last answer; zero: not
	since    time.Time     // of the first failure after the last answer
	err      *upstreamError
}

// upstreamConn is a connection, shared by the requests on it. upstream.mu guards it.
type upstreamConn struct {
	judged  // never changes
	http    *h2.Conn
	users   int       // requests under way
	retired bool      // gets no new ones, and is closed after the last
	replied time.Time // when it last brought an answer
}

// upstreamDial is an attempt to connect, shared by the requests that wait for it.
type upstreamDial struct {
	done chan struct{}
	conn *upstreamConn // valid after done, as err
	err  error
}

// attempt is a query that was sent to one server.
type attempt struct {
	conn     *upstreamConn // not released yet
	exchange *h2.Exchange
	start    time.Time
}

func newAttempt(c *upstreamConn, q *dohQuery) *attempt {
	return &attempt{c, c.http.Ask(q.wire), time.Now()}
}

// begin sends the query to a server if there is a connection to it, else it returns nil.
func (u *upstream) begin(s *upstreamServer, q *dohQuery) *attempt {
	u.mu.Lock()
	c := u.standing(s)
	u.mu.Unlock()
	if c == nil {
		return nil
	}
	return newAttempt(c, q)
}

// answered reports whether there is a response.
func (a *attempt) answered() bool {
	select {
	case <-a.exchange.Done():
		_, err := a.exchange.Result()
		return err == nil
	default:
		return false
	}
}

// ask sends the query to one server, unless it was sent by an attempt, and returns its
// answer, an [upstreamError], or the context's error when it was cancelled.
func (u *upstream) ask(ctx context.Context, s *upstreamServer, q *dohQuery, a *attempt) (*dns.Msg, error) {
	for retried := false; ; retried = true {
		if a == nil {
			c, err := u.acquire(ctx, s)
			if err != nil {
				return nil, err
			}
			a = newAttempt(c, q)
		}
		c := a.conn
		m, err := u.await(ctx, a, q)
		if err == nil {
			u.succeeded(s, c, time.Since(a.start))
			u.release(c)
			return m, nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			u.release(c)
			return nil, ctx.Err()
		}
		fault, err := upstreamAskFault(err)
		if fault == upstreamBroken || fault == upstreamBadTLS || fault == upstreamNoAnswer && u.silent(c, a.start) ||
			errors.Is(err, dohStatusError(http.StatusMisdirectedRequest)) { // RFC 9110 §15.5.20
			u.retire(s, c)
		}
		u.release(c)
		// A connection that rested may have been closed by the server, by a lost
		// ping or for resting, and a DNS query may be repeated: no failure yet.
		if fault != upstreamBroken || retried {
			return nil, u.failed(s, fault, err)
		}
		a = nil
	}
}

// await returns the answer to an attempt.
func (u *upstream) await(ctx context.Context, a *attempt, q *dohQuery) (*dns.Msg, error) {
	select {
	case <-a.exchange.Done():
	case <-ctx.Done():
		a.exchange.Cancel()
		return nil, ctx.Err()
	}
	resp, err := a.exchange.Result()
	if err != nil {
		return nil, err
	}
	if err := u.believe(a.conn.judged, resp, q.name); err != nil {
		return nil, err
	}
	return q.read(resp)
}

// standing returns the server's connection, if there is one; it needs one release. Called
// with mu held.
func (u *upstream) standing(s *upstreamServer) *upstreamConn {
	c := s.conn
	if c == nil {
		return nil
	}
	if !c.http.Usable() || !u.stands(c.judged) {
		u.drop(s, c)
		return nil
	}
	c.users++
	return c
}

// acquire returns the server's connection, and makes one if there is none. Each needs
// one release.
func (u *upstream) acquire(ctx context.Context, s *upstreamServer) (*upstreamConn, error) {
	u.mu.Lock()
	if c := u.standing(s); c != nil {
		u.mu.Unlock()
		return c, nil
	}
	d := s.dialing
	if d == nil {
		d = &upstreamDial{done: make(chan struct{})}
		s.dialing = d
		u.running.Go(func() { u.dial(s, d) })
	}
	u.mu.Unlock()
	select {
	case <-d.done:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		fault, err := upstreamDialFault(ctx.Err())
		return nil, u.failed(s, fault, err)
	}
	if d.err != nil {
		return nil, d.err
	}
	u.mu.Lock()
	d.conn.users++
	u.mu.Unlock()
	return d.conn, nil
}

// dial connects. It belongs to no exchange: those that began it may have an answer
// from another server meanwhile, and the next one is glad of the connection.
func (u *upstream) dial(s *upstreamServer, d *upstreamDial) {
	ctx, cancel := context.WithTimeout(u.life, u.timeout)
	defer cancel()
	conn, j, err := u.dialTLS(ctx, s.addr)
	switch {
	case err == nil:
		d.conn = &upstreamConn{judged: j, http: h2.New(conn, u.http)}
	case u.life.Err() != nil:
		d.err = errUpstreamClosed
	default:
		fault, err := upstreamDialFault(err)
		d.err = u.failed(s, fault, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s.dialing = nil
	if d.conn != nil {
		s.conn = d.conn
		u.counts.Connections++
	}
	close(d.done)
}

// release ends a request on c.
func (u *upstream) release(c *upstreamConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c.users--
	u.closeUnused(c)
}

// closeUnused closes c after its last request, if it gets no new ones. Called with mu held.
func (u *upstream) closeUnused(c *upstreamConn) {
	if c.retired && c.users == 0 {
		// Closing can take a while when the other side is silent.
		u.running.Go(func() { c.http.Close() })
	}
}

// retire makes sure that c, on which a request is under way, gets no new ones. Those on
// it may still have luck.
func (u *upstream) retire(s *upstreamServer, c *upstreamConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.drop(s, c)
}

// drop is retire for any connection. Called with mu held.
func (u *upstream) drop(s *upstreamServer, c *upstreamConn) {
	c.retired = true
	if s.conn == c {
		s.conn = nil
	}
	u.closeUnused(c)
}

// silent reports whether no answer came on c since start. A router on the way may have
// forgotten such a connection, and then it stays silent for as long as the kernel
// repeats itself. If others were answered on it, it was the name that took its time.
func (u *upstream) silent(c *upstreamConn, start time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !c.replied.After(start)
}

// succeeded notes that s has answered on c.
func (u *upstream) succeeded(s *upstreamServer, c *upstreamConn, took time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.rtt == 0 {
		s.rtt = took
	}
	s.rtt += (took - s.rtt) / 8 // RFC 6298 §2
	now := time.Now()
	c.replied = now
	s.answered, s.failed, s.since, s.err = now, time.Time{}, time.Time{}, nil
}

// failed notes that s has failed, and returns it as an error.
func (u *upstream) failed(s *upstreamServer, fault upstreamFault, err error) *upstreamError {
	ue := &upstreamError{fault: fault, host: u.url.Hostname(), addr: s.addr.Addr(), err: err}
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
	}
	s.failed, s.err = time.Now(), ue
	return ue
}
