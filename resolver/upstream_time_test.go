package resolver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/clock"
	"tillgate/internal/h2"
)

// A server that says no Date is asked, and the next one too, which does.
func TestUpstreamOneOfTwoTellsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		for addr, date := range map[string]string{"192.0.2.1": "", "192.0.2.2": header(june)} {
			n.serve(addr, dating(date)).present(n.ca.issueFor(t, "dns.test", april, august))
		}
		c := wakeUp(june.AddDate(-2, 0, 0))
		u := n.upstreamBy(c, "192.0.2.1", "192.0.2.2")
		mustAsk(t, u)
		if c.Level() != clock.Coarse {
			t.Errorf("level %v", c.Level())
		}
	})
}

// What rests on a provisional proof ends when the time is known, whoever told it: the
// connection, and the session that it could be resumed by.
func TestUpstreamAfterTrust(t *testing.T) {
	// So near to the truth that a session would not be too old.
	wall := clock.New(clock.Config{}).Floor().AddDate(0, 0, -1)
	now := wall.AddDate(0, 0, 2)
	for _, tt := range []struct {
		name  string
		date  string
		learn func(*clock.Clock)
	}{
		{"by the Date", header(now), func(*clock.Clock) {}},
		{"by time servers", "", func(c *clock.Clock) { quorum(c, now) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(t)
				var resumed atomic.Int32
				h := n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) {
					if r.TLS.DidResume {
						resumed.Add(1)
					}
					dating(tt.date)(w, r)
				})
				h.present(n.ca.issueFor(t, "dns.test", now.AddDate(0, -1, 0), now.AddDate(0, 1, 0)))
				c := wakeUp(wall)
				u := n.upstreamBy(c, "192.0.2.1")
				for range 2 { // while nothing is known, one connection does
					if _, err := u.exchange(t.Context(), "time.test", dns.TypeA); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				if got := u.stats().Connections; tt.date == "" && (got != 1 || !u.servers[0].conn.proof.Provisional) {
					t.Errorf("%d connections, proof %+v", got, u.servers[0].conn.proof)
				}
				tt.learn(c)
				synctest.Wait()
				if first := h.links[0]; !first.down.broken {
					t.Error("the first connection still stands")
				}
				mustAsk(t, u)
				if got := u.stats(); got.Connections != 2 || got.Failures != 0 || resumed.Load() != 0 {
					t.Errorf("stats %+v, %d times resumed", got, resumed.Load())
				}
				if u.servers[0].conn.proof.Provisional {
					t.Error("a provisional proof when the time is known")
				}
				// From now on sessions are resumed.
				h.each(func(l *labLink) { l.cut() })
				synctest.Wait()
				mustAsk(t, u)
				if resumed.Load() != 1 {
					t.Error("the third connection took a whole handshake")
				}
			})
		})
	}
}

// A resumed session is judged as a new one is.
func TestUpstreamResumptionIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		h := n.serve("192.0.2.1", labAnswer)
		u := n.upstream("192.0.2.1")
		mustAsk(t, u)
		h.each(func(l *labLink) { l.cut() })
		synctest.Wait()
		u.roots = newLabCA(t, "Another").pool()
		_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
		if unknown := new(x509.UnknownAuthorityError); !errors.As(err, unknown) {
			t.Errorf("error %v", err)
		}
	})
}

// A certificate that ends while a connection stands takes it with it. The server has a
// new one by then, and the session that is left from the old one is no obstacle.
func TestUpstreamCertificateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		h := n.serve("192.0.2.1", labAnswer)
		h.present(n.ca.issueFor(t, "dns.test", april, june.Add(time.Minute)))
		c := wakeUp(june)
		u := n.upstreamBy(c, "192.0.2.1")
		mustAsk(t, u)
		h.present(n.ca.issueFor(t, "dns.test", april, august))
		time.Sleep(time.Minute + time.Second)
		mustAsk(t, u)
		if got := u.stats(); got.Connections != 2 || got.Failures != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

// A clock that is found to be wrong takes the connections that it judged with it.
func TestUpstreamTrustLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		h := n.serve("192.0.2.1", dating(""))
		h.present(n.ca.issueFor(t, "dns.test", april, august))
		wall := june
		c := clock.New(clock.Config{Servers: 4, Machine: clock.Machine{
			Raw:  func() time.Duration { return time.Since(time.Unix(0, 0)) },
			Wall: func() time.Time { return wall },
		}})
		u := n.upstreamBy(c, "192.0.2.1")
		mustAsk(t, u)
		wall = june.AddDate(5, 0, 0)
		if _, err := u.exchange(t.Context(), "api.example.test", dns.TypeA); !errors.Is(err, ErrUntimed) || c.Level() != clock.None {
			t.Errorf("error %v at level %v", err, c.Level())
		}
		if !u.servers[0].conn.proof.Provisional || u.stats().Connections != 2 {
			t.Errorf("proof %+v, stats %+v", u.servers[0].conn.proof, u.stats())
		}
	})
}

// Replies that were under way on a provisional connection when the time became known are
// judged by it.
func TestUpstreamReplyUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		release := make(chan struct{})
		h := n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) {
			<-release
			dating("")(w, r)
		})
		h.present(n.ca.issueFor(t, "dns.test", april, august))
		c := wakeUp(june.AddDate(-2, 0, 0))
		u := n.upstreamBy(c, "192.0.2.1")
		done := make(chan error)
		go func() {
			_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
			done <- err
		}()
		synctest.Wait()
		quorum(c, june)
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	// A chain that was good at the earliest time, and is not today.
	ca := newLabCA(t, "Test Root")
	u := &upstream{url: labAddress(t), roots: ca.pool(), clock: clock.System(func() time.Time { return june }, time.Time{})}
	old := ca.issueFor(t, "dns.test", april.AddDate(-1, 0, 0), april)
	leaf, err := x509.ParseCertificate(old.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	j := judged{clock.Proof{NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Provisional: true}, []*x509.Certificate{leaf}}
	err = u.believe(j, &h2.Response{Header: []h2.Field{{Name: "date", Value: header(june)}}}, "time.test")
	if failed := new(tls.CertificateVerificationError); !errors.As(err, &failed) {
		t.Errorf("error %v", err)
	}
}

// Where the time is by a Date, the next one corrects it.
func TestUpstreamDatesGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		now := june.AddDate(0, 1, 0)
		h := n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) { dating(header(now))(w, r) })
		h.present(n.ca.issueFor(t, "dns.test", april, august))
		c := wakeUp(june.AddDate(-2, 0, 0))
		u := n.upstreamBy(c, "192.0.2.1")
		mustAsk(t, u)
		now = june
		mustAsk(t, u)
		if off := c.Now().Sub(june).Abs(); off > time.Second {
			t.Errorf("now %v", c.Now())
		}
	})
}
