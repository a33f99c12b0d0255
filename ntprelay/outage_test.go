package ntprelay

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/decision"
	"tillgate/internal/clock"
)

// A week and an hour without a network, and with an oscillator that follows the warmth: the time is served with a bound that holds until it might be
// wrong by a second, then it is not, and when the network is back so is the time.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(12*time.Hour, time.Minute)
		w.change(func() { w.netDown, w.dnsDown = true, true })
		down := w.elapsed()

		w.pass(time.Hour, 10*time.Second)
		if w.unsynced > 0 {
			t.Errorf("after an hour %d answers were that there is no time", w.unsynced)
		}
		if h := w.relay.sourcesHealth(); h.State != decision.Warn || !strings.HasPrefix(h.Text, "none of 4 time servers answers any more; the time is still known to ") {
			t.Errorf("health after an hour: %v: %s", h.State, h.Text)
		}
		for i := range 7 {
			w.drift([]float64{40, 50, 30, 45}[i%4]) // the store is warm by day
			w.pass(24*time.Hour, 5*time.Minute)
		}
		if w.level() == clock.Fine || w.unsynced == 0 {
			t.Error("after a week the time is still thought to be known")
		}
		if h := w.relay.sourcesHealth(); h.State != decision.Bad || !strings.HasPrefix(h.Text, "none of 4 time servers answers: ") {
			t.Errorf("health after a week: %v: %s", h.State, h.Text)
		}
		for addr, s := range w.servers {
			if n := s.between(down, down+7*24*time.Hour); n > 7*24*64 {
				t.Errorf("%v was asked %d times in the week", addr, n)
			}
			if n := s.between(down+6*24*time.Hour, down+6*24*time.Hour+time.Hour); n > 64 || n < 45 {
				t.Errorf("%v was asked %d times in an hour of the seventh day", addr, n)
			}
		}

		w.change(func() { w.netDown, w.dnsDown = false, false })
		// One of the four is asked within 64 s, usually much sooner, and when it answers
		// the others are, too.
		if took := w.untilFine(2 * time.Minute); took > 71*time.Second {
			t.Errorf("the time was known again after %v", took)
		}
		unsynced := w.unsynced
		w.pass(12*time.Hour, time.Minute)
		if w.unsynced > unsynced {
			t.Errorf("%d answers were that there is no time", w.unsynced-unsynced)
		}
	})
}

// A start without a network: what is lost is no more than a quarter of the outage, and
// the longest wait between two exchanges.
func TestDeadStart(t *testing.T) {
	for _, outage := range []time.Duration{5 * time.Second, 20 * time.Second, time.Minute, 10 * time.Minute, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := four(t, worldStart)
			w.netDown, w.dnsDown = true, true
			w.serve()
			defer w.end()
			w.pass(outage, time.Second)
			w.change(func() { w.netDown, w.dnsDown = false, false })
			most := min(max(outage/4, time.Second), minInterval)*11/10 + time.Second
			if took := w.untilFine(2 * time.Minute); took > most {
				t.Errorf("after an outage of %v the time was known %v later; that should be within %v", outage, took, most)
			}
		})
	}
}

// The same, with servers that were known and names that can be looked up.
func TestSilentStart(t *testing.T) {
	for _, outage := range []time.Duration{5 * time.Second, 20 * time.Second, time.Minute, 10 * time.Minute, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := four(t, worldStart)
			w.netDown = true
			w.serve()
			defer w.end()
			w.pass(outage, time.Second)
			w.change(func() { w.netDown = false })
			most := min(max(outage/4, burstEvery), minInterval)*11/10 + exchangeTimeout + time.Second
			if took := w.untilFine(2 * time.Minute); took > most {
				t.Errorf("after an outage of %v the time was known %v later; that should be within %v", outage, took, most)
			}
			for name, n := range w.lookups {
				if n > 2+min(int(outage/relookEvery), 4)+11+int(outage/time.Hour) || outage < 20*time.Minute && n > 1+int(outage/relookEvery) {
					t.Errorf("%s was looked up %d times in %v", name, n, outage)
				}
			}
		})
	}
}

// The system's clock is stepped and slewed by others all the time: that changes nothing.
func TestWallSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		for i := range 600 {
			if i == 120 {
				w.worst = 0 // the drift is known now
			}
			w.change(func() { w.wall = time.Duration(i%7-3) * 365 * 24 * time.Hour })
			w.pass(time.Minute, 20*time.Second)
		}
		if w.unsynced > 0 || w.worst > 5*time.Millisecond {
			t.Errorf("worst off by %v; %d answers without the time", w.worst, w.unsynced)
		}
	})
}

// The machine was suspended, or its virtual machine was: raw stood still for an hour.
// Nobody can know before a server is asked; from then on it takes seconds.
func TestSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(6*time.Hour, time.Minute)
		w.change(func() { w.slept = time.Hour })
		w.wrong = true
		asked := func() (n int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, s := range w.servers {
				n += len(s.at)
			}
			return n
		}
		for before := asked(); asked() == before; {
			w.pass(time.Second, time.Second)
		}
		w.pass(15*time.Second, time.Second)
		w.wrong = false
		w.pass(6*time.Hour, time.Minute)
	})
}

// A leap second is inserted at the end of June, as the servers announce on its last day.
func TestLeap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, "2027-06-30 06:00:00")
		w.leapAt = time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)
		for _, s := range w.servers {
			s.leap = clock.LeapInsert
		}
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(2*time.Hour, time.Minute)
		w.worst = 0
		w.pass(16*time.Hour-2*time.Minute, time.Minute)
		if got := w.relay.deps.Clock.Estimate().LeapAt(w.raw()); got != clock.LeapInsert {
			t.Errorf("two minutes before the leap second %v is announced", got)
		}
		w.pass(2*time.Minute-time.Second, time.Second)
		w.wrong = true // in the second itself POSIX has no time
		w.pass(3*time.Second, time.Second)
		w.wrong = false
		w.change(func() {
			for _, s := range w.servers {
				s.leap = clock.LeapNone
			}
		})
		w.pass(6*time.Hour, 10*time.Second)
		if got := w.relay.deps.Clock.Estimate().LeapAt(w.raw()); got != clock.LeapNone || w.unsynced > 0 || w.worst > 5*time.Millisecond {
			t.Errorf("afterwards %v is announced; worst off by %v; %d answers without the time", got, w.worst, w.unsynced)
		}
	})
}

// NTP's seconds begin again at zero on 2036-02-07: while the box runs, and before it starts.
func TestEra(t *testing.T) {
	for _, begin := range []string{"2036-02-07 00:00:00", "2036-02-07 06:28:15", "2036-02-08 00:00:00", "2099-12-31 23:00:00"} {
		synctest.Test(t, func(t *testing.T) {
			w := four(t, begin)
			w.wall = -60 * 365 * 24 * time.Hour
			w.serve()
			defer w.end()
			w.untilFine(time.Second)
			w.pass(2*time.Hour, 10*time.Second)
			w.worst = 0
			w.pass(10*time.Hour, 10*time.Second)
			if w.unsynced > 0 || w.answers < 4000 || w.worst > 5*time.Millisecond {
				t.Errorf("from %s: %d answers, worst off by %v; %d without the time", begin, w.answers, w.worst, w.unsynced)
			}
		})
	}
}
