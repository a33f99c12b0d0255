package resolver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/clock"
)

// Certificates are public, old ones too. Who shows the upstream's without having its key
// teaches the clock nothing, whatever the clock believes.
func TestUpstreamCertificateWithoutKey(t *testing.T) {
	now := june
	for _, tt := range []struct {
		name  string
		wall  time.Time
		learn func(*clock.Clock)
		level clock.Level
	}{
		{"nothing is known", now.AddDate(-5, 0, 0), func(*clock.Clock) {}, clock.None},
		{"by the system's clock, with which it agrees", april.AddDate(0, 0, -1), func(*clock.Clock) {}, clock.None},
		{"by time servers", now, func(c *clock.Clock) { quorum(c, now) }, clock.Fine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(t)
				h := n.serve("192.0.2.1", dating(""))
				old := n.ca.issueFor(t, "dns.test", april.AddDate(0, -2, 0), april)
				old.PrivateKey = n.ca.issue(t, "dns.test").PrivateKey
				h.present(old)
				c := wakeUp(tt.wall)
				tt.learn(c)
				u := n.upstreamBy(c, "192.0.2.1")
				if _, err := u.exchange(t.Context(), "time.test", dns.TypeA); err == nil {
					t.Error("there was an answer")
				}
				if c.Level() != tt.level {
					t.Errorf("level %v (%s), want %v", c.Level(), c.Why(), tt.level)
				}
				quorum(c, now) // which the certificate contradicts
				if c.Level() != clock.Fine {
					t.Errorf("time servers are not believed: level %v", c.Level())
				}
			})
		})
	}
}
