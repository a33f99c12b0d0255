package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/clock"
	"tillgate/policy"
)

// woken is a bench in a bubble whose box has just been switched on, its clock two years
// back, with a DoH server at 192.0.2.1 that says date (empty: no Date).
func woken(t *testing.T, date func() string, change ...func(*Config)) (*bench, *clock.Clock) {
	t.Helper()
	n := newLabNet(t)
	h := n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) { dating(date())(w, r) })
	h.present(n.ca.issueFor(t, "dns.test", april, august))
	c := wakeUp(june.AddDate(-2, 0, 0))
	b := newBench(t)
	cfg := b.cfg
	cfg.URL, cfg.Roots, cfg.TimeServers = labURL, n.ca.pool(), []string{"ntp.chosen.example"}
	cfg.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for _, f := range change {
		f(&cfg)
	}
	b.now = time.Now()
	deps := b.deps
	deps.Clock = c
	deps.Log = slog.New(slog.DiscardHandler)
	var err error
	if b.Resolver, err = New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	b.upstream.dialTCP = n.dial
	t.Cleanup(b.upstream.close)
	return b, c
}

// Until the time is known a client hears that it is not, for all but time servers' names;
// and the moment that it is known, what failed works.
func TestBeforeTheTimeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := woken(t, func() string { return "" })
		m := b.query(till, queryFor(known, dns.TypeA))
		if got, want := gist(m), "SERVFAIL opt ede14"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if ede := m.IsEdns0().Option[0].(*dns.EDNS0_EDE).ExtraText; !strings.Contains(ede, "the box does not know the time yet") {
			t.Errorf("told %q", ede)
		}
		rec := b.records.last()
		if rec.Verdict != policy.Deny || rec.Reason != policy.TimeUntrusted || rec.Rule == "" || !strings.Contains(rec.Detail, "no Date") {
			t.Errorf("recorded %+v", rec)
		}

		// A denial needs no time, and a time server's name is resolved, for a while.
		if got := gist(b.query(till, queryFor("example.com", dns.TypeA))); !strings.HasPrefix(got, "NXDOMAIN") {
			t.Errorf("a denied name: %s", got)
		}
		if got, want := gist(b.query(till, queryFor("pool.ntp.org", dns.TypeA))), "NOERROR pool.ntp.org./30/A/192.0.9.1 opt"; got != want {
			t.Errorf("a time server: %s, want %s", got, want)
		}
		for name, want := range map[string]bool{"pool.ntp.org": true, "ntp.chosen.example": true, known: false, "central.payxpert.com": false} {
			_, err := b.Lookup(t.Context(), name)
			b.fetches.running.Wait()
			if (err == nil) != want {
				t.Errorf("looking up %s: %v", name, err)
			}
		}
		if got := b.cache.get(key{"ntp.chosen.example", dns.TypeA}, b.now); got.state != fresh || got.ttl != untimedTTL {
			t.Errorf("in the cache: %+v", got)
		}

		quorum(c, june)
		if got, want := gist(b.query(till, queryFor(known, dns.TypeA))), "NOERROR "+known+"./300/A/192.0.9.1 opt"; got != want {
			t.Errorf("when the time is known: %s, want %s", got, want)
		}
	})
}

// With a Date the very first question is answered.
func TestFirstQuestionTellsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := woken(t, func() string { return header(june) })
		if got, want := gist(b.query(till, queryFor(known, dns.TypeA))), "NOERROR "+known+"./300/A/192.0.9.1 opt"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if c.Level() != clock.Coarse {
			t.Errorf("level %v", c.Level())
		}
	})
}

// A chain and a quorum that contradict each other leave the box without the time.
func TestContradictionIsNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := woken(t, func() string { return "" })
		quorum(c, june.AddDate(2, 0, 0)) // before any chain was seen
		if c.Level() != clock.Fine {
			t.Fatalf("level %v", c.Level())
		}
		m := b.query(till, queryFor(known, dns.TypeA))
		if got, want := gist(m), "SERVFAIL opt ede14"; got != want || c.Level() != clock.None {
			t.Errorf("%s, want %s; level %v", got, want, c.Level())
		}
		if got := b.Health().Text; !strings.Contains(got, "somebody intercepts TLS or NTP") {
			t.Errorf("health %q", got)
		}
	})
}

// What was saved is given while the time is not known: after an attempt, and no longer
// than for stale after its end, by the clock that never steps.
func TestSavedAnswersBeforeTheTimeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cache")
		saved := june.Add(-time.Hour)
		text := fmt.Appendf(nil, `{"version":1,"saved":%q,"answers":[{"name":%q,"type":"A","addrs":["192.0.9.7"],"expires":%q,"asked":%q}]}`,
			saved.Format(time.RFC3339), known, saved.Add(time.Minute).Format(time.RFC3339), saved.Format(time.RFC3339))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var date atomic.Value
		date.Store("")
		b, _ := woken(t, func() string { return date.Load().(string) }, func(c *Config) { c.CacheFile = file })
		b.restoreCache()
		for _, tt := range []struct {
			later time.Duration
			want  string
		}{
			{0, "NOERROR " + known + "./30/A/192.0.9.7 opt ede3"},
			{6 * time.Hour, "NOERROR " + known + "./30/A/192.0.9.7 opt ede3"},
			{6*time.Hour + 2*time.Minute, "SERVFAIL opt ede14"},
		} {
			b.now = time.Now().Add(tt.later)
			if got := gist(b.query(till, queryFor(known, dns.TypeA))); got != tt.want {
				t.Errorf("after %v: %s, want %s", tt.later, got, tt.want)
			}
		}
		date.Store(header(june))
		b.now = b.now.Add(failTTL * time.Second)
		if got, want := gist(b.query(till, queryFor(known, dns.TypeA))), "NOERROR "+known+"./300/A/192.0.9.1 opt"; got != want {
			t.Errorf("with a Date: %s, want %s", got, want)
		}
	})
}

// A server that hangs costs a box without the time no more than any other.
func TestBeforeTheTimeIsKnownNobodyWaitsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := woken(t, func() string { return "" })
		b.upstream.dialTCP = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		began := time.Now()
		m := b.query(till, queryFor(known, dns.TypeA))
		if took := time.Since(began); took != b.cfg.Timeout || m.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s after %v", gist(m), took)
		}
	})
}

// What a box saves that does not know the time is not dated before it can have been.
func TestSavedBeforeTheTimeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cache")
		b, c := woken(t, func() string { return "" }, func(c *Config) { c.CacheFile = file })
		if _, err := b.Lookup(t.Context(), "pool.ntp.org"); err != nil {
			t.Fatal(err)
		}
		b.fetches.running.Wait()
		b.saveCache()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		later := newCache(10, 6*time.Hour)
		if err := later.decode(data, b.now, c.Floor().Add(time.Hour)); err != nil || later.len() == 0 {
			t.Errorf("an hour later: %d answers, %v, of %s", later.len(), err, data)
		}
	})
}

// A box that starts before its network is there asks each second, not each five.
func TestFailuresBeforeTheTimeIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := woken(t, func() string { return "" })
		asked := 0
		b.ask = func(context.Context, string, uint16) (*dns.Msg, error) {
			asked++
			return nil, errUpstreamTimeout
		}
		for i, want := range []int{1, 1, 2} {
			b.query(till, queryFor("pool.ntp.org", dns.TypeA))
			if asked != want {
				t.Fatalf("query %d: asked %d times, want %d", i, asked, want)
			}
			b.now = b.now.Add(untimedFailTTL * time.Second / 2)
		}
		quorum(c, june)
		for i, want := range []int{3, 3, 3, 4} {
			b.query(till, queryFor("pool.ntp.org", dns.TypeA))
			if asked != want {
				t.Fatalf("query %d when the time is known: asked %d times, want %d", i, asked, want)
			}
			b.now = b.now.Add(failTTL*time.Second/3 + 1)
		}
	})
}
