package resolver

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/clock"
)

// The lab of these tests is in June 2027, and its server's certificate is good from April
// to August; the box's clock on the wall says what the test wants.
var (
	june   = time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)
	april  = time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC)
	august = time.Date(2027, 8, 1, 0, 0, 0, 0, time.UTC)
)

// wakeUp is the clock of a box that has just been switched on in a bubble, whose own
// says wall, with four time servers to ask.
func wakeUp(wall time.Time) *clock.Clock {
	on := time.Now()
	return clock.New(clock.Config{
		Machine: clock.Machine{
			Raw:  func() time.Duration { return time.Since(on) },
			Wall: func() time.Time { return wall.Add(time.Since(on)) },
		},
		Servers: 4,
	})
}

// quorum has three time servers say that it is now.
func quorum(c *clock.Clock, now time.Time) {
	for _, server := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"} {
		c.Observe(clock.Sample{
			Server: netip.MustParseAddr(server), Raw: c.Raw(), Time: now,
			Delay: 20 * time.Millisecond, Stratum: 2, RefTime: now.Add(-time.Minute), Precision: time.Microsecond,
		})
	}
}

// dating answers like a DoH server that says it is date, or nothing of it.
func dating(date string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if w.Header()["Date"] = nil; date != "" {
			w.Header().Set("Date", date)
		}
		labAnswer(w, r)
	}
}

func header(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// The first question of a box that has just been switched on.
func TestUpstreamBoot(t *testing.T) {
	back2, back50, ahead5 := june.AddDate(-2, 0, 0), june.AddDate(-50, 0, 0), june.AddDate(5, 0, 0)
	for _, tt := range []struct {
		name     string
		wall     time.Time
		date     string
		from, to time.Time // of the certificate; zero: April to August
		ask      string    // empty: api.example.test
		change   func(*testing.T, *labNet, *labHost)
		level    clock.Level
		want     string // of the error; empty: an answer. A * at the end: and more
		health   string // after "dns.test at 192.0.2.1: "
		as       any
	}{
		{name: "the clock is right", wall: june, level: clock.Coarse},
		{name: "the clock is right, whatever the Date", wall: june, date: header(june.AddDate(0, 1, 0)), level: clock.Coarse},
		{name: "2 years back", wall: back2, date: header(june), level: clock.Coarse},
		{name: "50 years back", wall: back50, date: header(june), level: clock.Coarse},
		{name: "5 years ahead", wall: ahead5, date: header(june), level: clock.Coarse},
		{name: "after the floor, before the certificate", wall: april.AddDate(0, -1, 0), date: header(june), level: clock.Coarse},

		{name: "no Date", wall: back2, want: "the box does not know the time yet: the reply has no Date",
			health: "the box does not know the time yet: the reply has no Date; until time servers have told it, only their names are resolved; see the part ntp"},
		{name: "5 years ahead, no Date", wall: ahead5, want: "the box does not know the time yet: the reply has no Date"},
		{name: "no Date, a time server's name", wall: back50, ask: "time.test"},
		{name: "a Date that is none", wall: back2, date: "yesterday", want: `the box does not know the time yet: the reply's Date is "yesterday"`},
		{name: "a Date after the certificate", wall: back2, date: header(august.AddDate(0, 0, 1)),
			want: "the box does not know the time yet: the server says that it is 2027-08-02 *"},
		{name: "the same, a time server's name", wall: back2, date: header(august.AddDate(0, 0, 1)), ask: "time.test"},
		{name: "a Date before the certificate", wall: back2, date: header(april.AddDate(0, 0, -1)),
			want: "the box does not know the time yet: the server says that it is 2027-03-31 *"},
		{name: "a Date before the floor", wall: back2, date: header(back2), from: back2.AddDate(-1, 0, 0), to: august,
			want: "the box does not know the time yet: the server says that it is 2025-06-01 *"},

		{name: "a chain that expired before the floor", wall: back2, date: header(back2), from: back2.AddDate(0, -1, 0), to: back2.AddDate(0, 1, 0),
			want: "tls: failed to verify certificate: *", as: new(x509.CertificateInvalidError),
			health: "certificate expired on 2025-07-01 12:00, UTC, which has passed, as the box knows: somebody intercepts TLS, or the server's certificate was not renewed; or what the box has saved is wrong: tillgate time reset has it forget that"},
		{name: "the same, a time server's name", wall: back2, from: back2.AddDate(0, -1, 0), to: back2.AddDate(0, 1, 0), ask: "time.test",
			want: "tls: failed to verify certificate: *"},
		{name: "a made-up chain", wall: back50, date: header(june), change: func(t *testing.T, n *labNet, h *labHost) {
			h.present(newLabCA(t, "Shop").issueFor(t, "dns.test", april, august))
		}, ask: "time.test", want: "tls: failed to verify certificate: *", as: new(x509.UnknownAuthorityError),
			health: `certificate signed by "Shop", not trusted: somebody intercepts TLS; have who runs the firewall leave the box alone`},
		{name: "another host's", wall: back50, date: header(june), change: func(t *testing.T, n *labNet, h *labHost) {
			h.present(n.ca.issueFor(t, "portal.test", april, august))
		}, ask: "time.test", want: "tls: failed to verify certificate: *", as: new(x509.HostnameError),
			health: `certificate is for "portal.test": a captive portal, or somebody intercepts TLS; log in there, or have it let the box through`},
		{name: "a client's", wall: back50, date: header(june), change: func(t *testing.T, n *labNet, h *labHost) {
			h.present(n.ca.issueFor(t, "dns.test", april, august, x509.ExtKeyUsageClientAuth))
		}, ask: "time.test", want: "tls: failed to verify certificate: *", as: new(x509.CertificateInvalidError)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(t)
				h := n.serve("192.0.2.1", dating(tt.date))
				if tt.from.IsZero() {
					tt.from, tt.to = april, august
				}
				h.present(n.ca.issueFor(t, "dns.test", tt.from, tt.to))
				if tt.change != nil {
					tt.change(t, n, h)
				}
				c := wakeUp(tt.wall)
				u := n.upstreamBy(c, "192.0.2.1")
				if tt.ask == "" {
					tt.ask = "api.example.test"
				}
				_, err := u.exchange(t.Context(), tt.ask, dns.TypeA)
				want, more := strings.CutSuffix("dns.test at 192.0.2.1: "+tt.want, "*")
				if got := errorText(err); tt.want == "" && err != nil || tt.want != "" && got != want && !(more && strings.HasPrefix(got, want)) {
					t.Errorf("error %q, want %q", got, tt.want)
				}
				if tt.as != nil && !errors.As(err, tt.as) {
					t.Errorf("no %T in error %v", tt.as, err)
				}
				if got := u.health().Text; tt.health != "" && got != "dns.test at 192.0.2.1: "+tt.health {
					t.Errorf("health %q, want %q", got, tt.health)
				}
				if c.Level() != tt.level {
					t.Errorf("level %v, want %v: %s", c.Level(), tt.level, c.Why())
				}
				if off := c.Now().Sub(june).Abs(); tt.level == clock.Coarse && off > 2*time.Second && !tt.wall.Equal(june) && tt.wall.Year() != 2027 {
					t.Errorf("now %v", c.Now())
				}
			})
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
