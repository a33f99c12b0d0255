package clock

import (
	"testing"
	"time"
)

func TestLeapAt(t *testing.T) {
	const end = 24 * time.Hour // of the month, by raw
	base := date(t, "2027-06-30 00:00:00")
	for _, tt := range []struct {
		name string
		leap Leap
		raw  time.Duration
		want string
		tell Leap
	}{
		{"none", LeapNone, end, "2027-07-01 00:00:00.0", LeapNone},
		{"insert: the day before", LeapInsert, -time.Second, "2027-06-29 23:59:59.0", LeapNone},
		{"insert: the day begins", LeapInsert, 0, "2027-06-30 00:00:00.0", LeapInsert},
		{"insert: the last regular second", LeapInsert, end - time.Second, "2027-06-30 23:59:59.0", LeapInsert},
		{"insert: its end", LeapInsert, end - 100*time.Millisecond, "2027-06-30 23:59:59.9", LeapInsert},
		{"insert: it begins", LeapInsert, end, "2027-06-30 23:59:59.0", LeapNone},
		{"insert: it ends", LeapInsert, end + time.Second - 100*time.Millisecond, "2027-06-30 23:59:59.9", LeapNone},
		{"insert: the new day", LeapInsert, end + time.Second, "2027-07-01 00:00:00.0", LeapNone},
		{"delete: the last second", LeapDelete, end - 2*time.Second, "2027-06-30 23:59:58.0", LeapDelete},
		{"delete: the new day", LeapDelete, end - time.Second, "2027-07-01 00:00:00.0", LeapNone},
	} {
		e := &Estimate{Level: Fine, Leap: tt.leap, base: base, maxError: time.Second, leapAt: monthEnd(base)}
		if got := e.At(tt.raw).Format("2006-01-02 15:04:05.0"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if got := e.LeapAt(tt.raw); got != tt.tell {
			t.Errorf("%s: tells %v, want %v", tt.name, got, tt.tell)
		}
		e.Level = Coarse
		if got := e.LeapAt(tt.raw); got != Unsynchronised {
			t.Errorf("%s: below Fine it tells %v", tt.name, got)
		}
	}
}

func TestMonthEnd(t *testing.T) {
	for in, want := range map[string]string{
		"2027-06-30 23:59:59": "2027-07-01 00:00:00",
		"2027-07-01 00:00:00": "2027-08-01 00:00:00",
		"2027-12-31 12:00:00": "2028-01-01 00:00:00",
		"2100-02-28 12:00:00": "2100-03-01 00:00:00",
		"2028-02-28 12:00:00": "2028-03-01 00:00:00",
	} {
		if got := monthEnd(date(t, in)).Format(time.DateTime); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestVoteLeap(t *testing.T) {
	for _, tt := range []struct {
		leaps []Leap
		want  Leap
	}{
		{nil, LeapNone},
		{[]Leap{LeapInsert}, LeapInsert},
		{[]Leap{LeapInsert, LeapNone}, LeapNone},
		{[]Leap{LeapInsert, LeapInsert, LeapNone}, LeapInsert},
		{[]Leap{LeapInsert, LeapDelete, LeapDelete}, LeapDelete},
		{[]Leap{LeapInsert, LeapDelete, LeapNone}, LeapNone},
	} {
		var chosen []*source
		for _, l := range tt.leaps {
			chosen = append(chosen, &source{leap: l})
		}
		if got := voteLeap(chosen); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.leaps, got, tt.want)
		}
	}
}

// The truth makes a leap second, with the servers at once. The bound holds before,
// during and after, whether somebody asks then or not.
func TestLeapPasses(t *testing.T) {
	for _, tt := range []struct {
		name string
		leap Leap
		by   time.Duration
	}{
		{"insert", LeapInsert, -time.Second},
		{"delete", LeapDelete, time.Second},
	} {
		for _, busy := range []bool{false, true} {
			s := newSim(t, 7, "2027-06-30 12:00:00", Config{})
			s.drift, s.leap, s.leapAt = 20/million, tt.by, date(t, "2027-07-01 00:00:00")
			if tt.leap == LeapDelete {
				s.leapAt = s.leapAt.Add(-time.Second)
			}
			s.add(good, good, good, good)
			for _, server := range s.servers[:3] { // one does not know
				server.leap = tt.leap
			}
			for s.truth.Before(date(t, "2027-06-30 23:50:00")) {
				s.poll()
				s.pass(5 * time.Minute)
			}
			if got := s.told(LeapChanged); len(got) != 1 {
				t.Fatalf("%s: told %+v", tt.name, got)
			}
			for s.truth.Before(date(t, "2027-07-01 00:10:00")) {
				if busy {
					s.poll()
				}
				s.pass(100 * time.Millisecond)
				if e := s.clock.Estimate(); s.truth.Sub(s.leapAt).Abs() > 200*time.Millisecond || e.At(s.raw).Sub(s.truth).Abs() > 2*time.Second {
					s.honest() // within 0.2 s of the leap nobody can tell which side it is
				}
				if busy {
					s.clock.Check()
				}
			}
			for _, server := range s.servers {
				server.leap = LeapNone
			}
			for range 80 {
				s.poll()
				s.pass(5 * time.Minute)
			}
			s.level(Fine)
			if drift := s.clock.State().Drift; drift < 19 || drift > 21 {
				t.Errorf("%s: a drift of %v ppm was made of it", tt.name, drift)
			}
			if got := s.clock.Estimate().LeapAt(s.raw); got != LeapNone {
				t.Errorf("%s: still tells %v", tt.name, got)
			}
			passed := 0
			for _, c := range s.changes {
				switch c.Kind {
				case Stepped, Falseticker, LeapChanged:
					t.Errorf("%s: %+v", tt.name, c)
				case LeapPassed:
					passed++
				}
			}
			if passed != 1 {
				t.Errorf("%s: it passed %d times", tt.name, passed)
			}
		}
	}
}

// Servers that announce a leap second which never comes are found out afterwards.
func TestLeapThatIsNone(t *testing.T) {
	s := newSim(t, 8, "2027-06-30 20:00:00", Config{})
	s.add(good, good, good)
	for _, server := range s.servers {
		server.leap = LeapInsert
	}
	for s.truth.Before(date(t, "2027-06-30 23:58:00")) {
		s.poll()
		s.pass(64 * time.Second)
	}
	s.pass(10 * time.Minute)
	s.clock.Check()
	for _, server := range s.servers {
		server.leap = LeapNone
	}
	for range 3 {
		for _, server := range s.servers {
			s.clock.Observe(s.ask(server))
		}
		s.pass(64 * time.Second)
	}
	if off := s.off().Abs(); off > 20*time.Millisecond {
		t.Errorf("wrong by %v", off)
	}
	if got := s.told(Stepped); len(got) != 1 {
		t.Errorf("told %+v", got)
	}
}

// Within two seconds of a leap second nobody can tell what a server means.
func TestLeapMargin(t *testing.T) {
	s := newSim(t, 9, "2027-06-30 23:50:00", Config{})
	s.add(good, good, good)
	for _, server := range s.servers {
		server.leap = LeapInsert
	}
	s.poll()
	s.leap, s.leapAt = -time.Second, date(t, "2027-07-01 00:00:00")
	for _, tt := range []struct{ until, want string }{
		{"2027-06-30 23:59:57", "chosen"},
		{"2027-06-30 23:59:59", "unfit"},
		{"2027-07-01 00:00:01", "unfit"},
		{"2027-07-01 00:00:03", "chosen"},
	} {
		for s.truth.Before(date(t, tt.until)) {
			s.pass(10 * time.Millisecond)
		}
		s.clock.Observe(s.ask(s.servers[0]))
		s.honest()
		if got := s.clock.Sources()[0]; got.State.String() != tt.want || (tt.want == "unfit") != (got.Why != "") {
			t.Errorf("%s: %+v, want %s", tt.until, got, tt.want)
		}
	}
}
