package ntprelay

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/decision"
)

// What status says of the servers, in words.
func TestSourcesHealth(t *testing.T) {
	names := []string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example"}
	for _, tt := range []struct {
		name  string
		edit  func(w *world)
		after time.Duration
		state decision.State
		want  string
	}{
		{"at the start", func(w *world) { w.netDown = true }, time.Second, decision.OK, "asking 6 time servers"},
		{"all well", func(*world) {}, time.Minute, decision.OK, "6 of 6 time servers agree"},
		{"no names", func(w *world) { w.dnsDown = true }, time.Minute, decision.Bad,
			"no address of a time server is known: network is unreachable; see the part upstream"},
		{"no answers", func(w *world) { w.netDown = true }, time.Minute, decision.Bad,
			"none of 6 time servers answers: no answer within 3s; let the box out to udp/123"},
		{"one is gone", func(w *world) { w.server("5.5.5.2").dead = true }, time.Hour, decision.OK, "5 of 6 time servers agree"},
		{"some lie", func(w *world) {
			w.server("5.5.5.1").wrong = -3 * 366 * 24 * time.Hour
			w.server("5.5.5.2").wrong = 90 * time.Second
		}, time.Minute, decision.Warn,
			"4 of 6 time servers agree; 5.5.5.1 (a.example): it is 3 years behind; 5.5.5.2 (b.example): it is 1m30s ahead"},
		{"kisses", func(w *world) {
			w.server("5.5.5.1").kiss = &kissError{code: "DENY"}
			w.server("5.5.5.2").kiss = &kissError{code: "RATE"}
		}, time.Minute, decision.Warn,
			"4 of 6 time servers agree; 5.5.5.1 (a.example): it said DENY; 5.5.5.2 (b.example): it said RATE"},
		{"no majority", func(w *world) {
			for i := range 6 {
				w.server(fmt.Sprintf("5.5.5.%d", i+1)).wrong = time.Duration(i) * time.Hour
			}
		}, time.Minute, decision.Bad, "the time is not known, as too few agree: 6 of 6 time servers are heard; let the box out to udp/123 of all of them, or name others in time.servers"},
		{"all of them deny", func(w *world) {
			for _, s := range w.servers {
				s.kiss = &kissError{code: "RSTR"}
			}
		}, time.Minute, decision.Bad, "the time is not known, as too few agree: 0 of 6 time servers are heard; let the box out to udp/123 of all of them, or name others in time.servers; 5.5.5.1 (a.example): it said RSTR; " +
			"5.5.5.2 (b.example): it said RSTR; 5.5.5.3 (c.example): it said RSTR; and 3 more"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, worldStart, Config{Servers: names})
			for i, name := range names {
				w.add(name, fmt.Sprintf("5.5.5.%d", i+1))
			}
			tt.edit(w)
			w.serve()
			defer w.end()
			w.pass(tt.after, time.Minute)
			if h := w.relay.sourcesHealth(); h.State != tt.state || h.Text != tt.want || h.Part != "ntp" {
				t.Errorf("%s: %v: %s\nwant %v: %s", tt.name, h.State, h.Text, tt.state, tt.want)
			}
		})
	}
}

func TestHealthSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		w.serve()
		defer w.end()
		w.pass(6*time.Hour, time.Minute) // so that the drift is known
		if h := w.relay.sourcesHealth(); !h.Since.IsZero() {
			t.Errorf("well since %v", h.Since)
		}
		w.change(func() { w.netDown = true })
		w.pass(2*time.Hour, time.Minute)
		if h := w.relay.sourcesHealth(); h.State != decision.Warn || w.truth().Sub(h.Since).Abs() > time.Second {
			t.Errorf("%v since %v; it is %v", h.State, h.Since, w.truth())
		}
		w.pass(time.Hour, time.Minute)
		if h := w.relay.sourcesHealth(); (w.truth().Sub(h.Since) - time.Hour).Abs() > time.Second {
			t.Errorf("%v since %v; it is %v", h.State, h.Since, w.truth())
		}
	})
}

func TestRough(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"}, {1499 * time.Microsecond, "1ms"}, {2340 * time.Millisecond, "2.3s"}, {12340 * time.Millisecond, "12s"},
		{10 * time.Minute, "10m"}, {26*time.Hour + 3*time.Second, "26h0m3s"}, {48 * time.Hour, "2 days"},
		{400 * 24 * time.Hour, "400 days"}, {50 * 366 * 24 * time.Hour, "50 years"},
	} {
		if got := rough(tt.d); got != tt.want {
			t.Errorf("%d ns: %s, want %s", tt.d, got, tt.want)
		}
	}
}
