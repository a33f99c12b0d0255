package clock

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// states is what is held of the servers, in their order.
func (s *sim) states() string {
	var all []string
	for _, source := range s.clock.Sources() {
		all = append(all, source.State.String())
	}
	return strings.Join(all, " ")
}

func TestSources(t *testing.T) {
	s := newSim(t, 1, startAt, Config{})
	s.add(good, good, good, 3*time.Second)
	want := func(states string) {
		t.Helper()
		if got := s.states(); got != states {
			t.Errorf("%s, want %s", got, states)
		}
	}
	s.clock.Observe(s.ask(s.servers[0]))
	s.clock.Observe(s.ask(s.servers[1]))
	want("pending pending")
	s.level(None)
	s.poll()
	want("chosen chosen chosen falseticker")
	if got := s.told(Falseticker); len(got) != 1 || got[0].Server != "192.0.2.4 (t4.example)" {
		t.Errorf("told %+v", got)
	}
	liar := s.clock.Sources()[3]
	if (liar.Offset-3*time.Second).Abs() > 50*time.Millisecond || liar.Samples != 1 || liar.Stratum != 2 ||
		liar.Delay < 20*time.Millisecond || liar.Distance < liar.Delay/2+5*time.Millisecond || liar.Age > time.Minute {
		t.Errorf("%+v", liar)
	}
	s.servers[3].wrong = 0
	s.poll()
	s.poll()
	want("chosen chosen chosen chosen")
	if got := s.told(Truechimer); len(got) != 1 {
		t.Errorf("told %+v", got)
	}

	// What a server may say that makes it useless.
	for _, tt := range []struct {
		name   string
		change func(*Sample)
		want   string
	}{
		{"unsynchronised", func(s *Sample) { s.Leap = Unsynchronised }, "not synchronised"},
		{"stratum 0", func(s *Sample) { s.Stratum = 0 }, "not synchronised"},
		{"stratum 15", func(s *Sample) { s.Stratum = 15 }, "stratum is 15"},
		{"stratum 16", func(s *Sample) { s.Stratum = 16 }, "not synchronised"},
		{"no dispersion", func(s *Sample) { s.RootDispersion = -1 }, "no sense"},
		{"of the future", func(s *Sample) { s.Raw += time.Hour }, "no sense"},
		{"of the far past", func(s *Sample) { s.Time = time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC) }, "the year 1936"},
		{"of the far future", func(s *Sample) { s.Time = time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC) }, "the year 2300"},
	} {
		sample := s.ask(s.servers[3])
		tt.change(&sample)
		s.clock.Observe(sample)
		want("chosen chosen chosen unfit")
		if got := s.clock.Sources()[3].Why; !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
		s.poll()
		want("chosen chosen chosen chosen")
	}
	s.clock.Forget(netip.MustParseAddr("::ffff:192.0.2.4"))
	want("chosen chosen chosen")

	// Too far away to prove anything, from its first sample on.
	s.servers[3].out = 4 * time.Second
	s.poll()
	want("chosen chosen chosen unfit")
	if got := s.clock.Sources()[3].Why; !strings.Contains(got, "1.5s") {
		t.Errorf("%q", got)
	}

	// One falls silent. Then there is no quorum of the others: three are needed.
	dead := s.servers[2]
	s.servers = s.servers[:2]
	for range 5 {
		s.pass(1024 * time.Second)
		s.poll()
	}
	want("pending pending silent silent")
	s.pass(time.Hour)
	want("silent silent silent silent")
	s.servers = append(s.servers, dead)
	s.poll()
	want("chosen chosen chosen silent")
}

// All where fewer than the quorum exist, a majority where more do.
func TestQuorum(t *testing.T) {
	for _, tt := range []struct {
		servers, good, bad int
		want               Level
	}{
		{1, 1, 0, Fine},
		{2, 1, 0, None},
		{2, 2, 0, Fine},
		{2, 1, 1, None},
		{3, 2, 0, None},
		{3, 3, 0, Fine},
		{3, 2, 1, None},
		{4, 3, 0, Fine},
		{4, 3, 1, Fine},
		{5, 3, 2, Fine},
		{6, 2, 2, None},
		{7, 3, 1, Fine},
	} {
		s := newSim(t, 1, startAt, Config{Quorum: 3})
		for i := range tt.good + tt.bad {
			wrong := time.Duration(0)
			if i >= tt.good {
				wrong = time.Duration(i+1) * time.Hour
			}
			s.add(wrong)
		}
		s.lied = tt.bad >= tt.good
		s.clock.SetServers(tt.servers)
		s.poll()
		if got := s.clock.Level(); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// The table of servers is bounded.
func TestManySources(t *testing.T) {
	s := newSim(t, 1, startAt, Config{})
	for range 100 {
		s.add(good)
	}
	s.poll()
	if got := len(s.clock.Sources()); got != maxSources {
		t.Errorf("%d servers are kept, want %d", got, maxSources)
	}
	s.level(Fine)
}

// What our own clients are told of whom we follow (RFC 5905 §7.3).
func TestReference(t *testing.T) {
	for _, tt := range []struct {
		addr string
		want string
	}{
		{"192.0.2.7", "c0000207"},
		{"::ffff:192.0.2.7", "c0000207"},
		{"2001:db8::1", "39ab9b37"},
	} {
		if got := fmt.Sprintf("%08x", refID(netip.MustParseAddr(tt.addr))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.addr, got, tt.want)
		}
	}
	s := newSim(t, 1, startAt, Config{})
	s.add(good, good, good)
	s.servers[1].root, s.servers[1].rootDelay, s.servers[1].stratum = 0, time.Millisecond, 1
	if e := s.clock.Estimate(); e.Stratum != 0 || !e.RefTime().IsZero() || e.LeapAt(s.raw) != Unsynchronised || e.Precision != precision {
		t.Errorf("before any answer: %+v", e)
	}
	s.poll()
	e := s.clock.Estimate()
	if e.Stratum != 2 || e.RefID != 0xc0000202 || e.RootDelay() < 21*time.Millisecond || e.RootDelay() > 22*time.Millisecond {
		t.Errorf("the best server is not followed: %+v", e)
	}
	s.pass(time.Hour)
	if at := e.RefTime(); s.truth.Sub(at) < time.Hour || s.truth.Sub(at) > time.Hour+10*time.Second {
		t.Errorf("last corrected at %v", at)
	}
	if grown := e.RootDispersion(s.raw) - e.RootDispersion(s.raw-time.Hour); grown < 200*time.Millisecond {
		t.Errorf("the dispersion grows by %v in an hour", grown)
	}
}
