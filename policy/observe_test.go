package policy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// twoClasses is a policy of an enforced and an observed class.
const twoClasses = `version: 1
packs: []
classes:
  pos: {networks: [10.20.0.0/24], interfaces: [eth0.20], services: [local/a]}
  pc: {networks: [10.20.9.0/24], services: [local/a], mode: observe}
` + aService

// verdictOf is what a client is told of a name that no rule has.
func verdictOf(s *Set, client, iface string) Verdict {
	return s.Decide(Request{Plane: Connect, Client: netip.MustParseAddr(client), Interface: iface, Name: "b.example", Port: 443, Proto: TCP}).Verdict
}

func TestSetObserve(t *testing.T) {
	set := mustCompile(t, twoClasses)
	observed := set.observe([]Observation{{Class: "pos"}, {Class: "pc"}, {Class: "gone"}})
	for _, tt := range []struct {
		set    *Set
		client string
		iface  string
		want   Verdict
	}{
		{set, "10.20.0.7", "", Deny},
		{set, "10.20.9.7", "", WouldDeny},
		{observed, "10.20.0.7", "", WouldDeny},
		{observed, "192.168.1.1", "eth0.20", WouldDeny},
		{observed, "10.20.9.7", "", WouldDeny},
		{observed, "192.168.1.1", "", Deny}, // in no class
		{set, "10.20.0.7", "", Deny},        // as before
	} {
		if got := verdictOf(tt.set, tt.client, tt.iface); got != tt.want {
			t.Errorf("%s%%%s: %v, want %v", tt.client, tt.iface, got, tt.want)
		}
	}
	r := Request{Plane: Connect, Client: netip.MustParseAddr("10.20.0.7"), Name: "a.example", Port: 443, Proto: TCP}
	if d := observed.Decide(r); d.Verdict != Allow || d.Rule == nil {
		t.Errorf("what is allowed is %+v", d)
	}
	if r.Name = "10.0.0.1"; observed.Decide(r).Verdict != Deny {
		t.Error("a guard is off")
	}
	if n := testing.AllocsPerRun(100, func() { observed.Decide(r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if observed.Hash() != set.Hash() || set.observe(nil) != set || set.observe([]Observation{{Class: "pc"}}) != set {
		t.Error("the set is another though its files are not")
	}
}

// ask asks for an observation; the answer is an error, or "".
func (s *storeTest) ask(class string, d time.Duration, reason string) string {
	s.t.Helper()
	o, err := s.Observe(s.t.Context(), ObserveRequest{Class: class, For: d, Reason: reason, By: "root"})
	if err != nil {
		return err.Error()
	}
	if o.Class != class || d > 0 && !o.Until.Equal(time.Now().Add(d)) {
		s.t.Errorf("it began %+v", o)
	}
	synctest.Wait()
	return ""
}

// observing is whom the store lets through, and until when.
func (s *storeTest) observing() (list []string) {
	for _, o := range s.Observations() {
		list = append(list, o.Class+" until "+o.Until.UTC().Format(time.TimeOnly)+" by "+o.By+": "+o.Reason)
	}
	return list
}

// openTwo opens a store of twoClasses.
func (s *storeTest) openTwo() {
	s.t.Helper()
	s.write("policy.yaml", twoClasses)
	s.expect(s.open())
}

// The tests' clock begins at midnight.
func TestObserveForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.openTwo()
		s.follow(func() {
			time.Sleep(time.Second - defaultQuiet)
			files := s.Set()
			s.expect([]string{s.ask("pos", 2*time.Hour, "  till 4 cannot pay\n")}, "")
			s.expect(s.told(), "observe: pos by root: class pos is observed until 2000-01-01T02:00:01Z: till 4 cannot pay")
			s.expect(s.observing(), "pos until 02:00:01 by root: till 4 cannot pay")
			if got := verdictOf(s.Set(), "10.20.0.7", ""); got != WouldDeny {
				t.Errorf("observed: %v", got)
			}

			// It goes on over an edit, a bad one and a good one; neither tells of it.
			s.expect(s.edit(func() { s.write("policy.yaml", broken) }), "file: bad: "+brokenPolicy)
			s.expect(s.edit(func() { s.write("policy.yaml", twoClasses+"deny: [{host: c.example}]\n") }), "file: deny added: c.example")
			if got := verdictOf(s.Set(), "10.20.0.7", ""); got != WouldDeny {
				t.Errorf("after an edit: %v", got)
			}

			// Another of the same class takes its place.
			s.expect([]string{s.ask("pos", time.Hour, "less")}, "")
			s.expect(s.observing(), "pos until 01:00:01 by root: less")

			// It ends to the moment.
			before := len(s.told())
			time.Sleep(time.Hour - 2*defaultQuiet - 1)
			synctest.Wait()
			s.expect(s.told()[before:])
			time.Sleep(1 + 2*defaultQuiet)
			synctest.Wait()
			s.expect(s.told()[before:], "observe: pos by until: observing class pos (less) has ended after 1h0m0s: its time is over")
			s.expect(s.observing())
			if got := verdictOf(s.Set(), "10.20.0.7", ""); got != Deny {
				t.Errorf("afterwards: %v", got)
			}
			if files.Hash() == s.Set().Hash() {
				t.Error("the edit is lost")
			}
		})
	})
}

func TestObserveEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.openTwo()
		s.follow(func() {
			s.expect([]string{s.ask("pos", time.Hour, "a test")}, "")
			time.Sleep(10 * time.Minute)
			s.expect([]string{s.ask("pos", 0, "")}, "")
			s.expect(s.told()[1:], "observe: pos by root: observing class pos (a test) has ended after 10m0s: ended early")
			if got := verdictOf(s.Set(), "10.20.0.7", ""); got != Deny {
				t.Errorf("afterwards: %v", got)
			}
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			if n := len(s.told()); n != 2 {
				t.Errorf("it ended again: %q", s.told())
			}
		})
	})
}

// A class that the files no longer have cannot be observed; one that they themselves
// observe is so afterwards, too.
func TestObserveOverEdits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.openTwo()
		s.follow(func() {
			s.expect([]string{s.ask("pos", time.Hour, "a test")}, "")
			got := s.edit(func() { s.write("policy.yaml", strings.Replace(twoClasses, "pos:", "tills:", 1)) })
			if len(got) != 2 || !strings.HasPrefix(got[0], "file: class removed: pos; class added: tills") {
				t.Fatalf("%q", got)
			}
			s.expect(got[1:], "observe: pos by file: observing class pos (a test) has ended after 0s: the policy has no such class any more")
			s.expect(s.observing())
			if got := verdictOf(s.Set(), "10.20.0.7", ""); got != Deny {
				t.Errorf("a class of another name: %v", got)
			}

			s.expect([]string{s.ask("tills", time.Hour, "a test")}, "")
			s.edit(func() { s.write("policy.yaml", strings.ReplaceAll(twoClasses, "pos: {", "tills: {mode: observe, ")) })
			time.Sleep(time.Hour)
			synctest.Wait()
			if got := verdictOf(s.Set(), "10.20.0.7", ""); got != WouldDeny {
				t.Errorf("observed by the files: %v", got)
			}
		})
	})
}

func TestObserveRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.openTwo()
		s.follow(func() {
			long := strings.Repeat("x", maxReason)
			for _, tt := range []struct {
				class  string
				d      time.Duration
				reason string
				want   string
			}{
				{"tills", time.Hour, "a test", `the policy has no class "tills"; it has pos, pc`},
				{"tills", 0, "", `the policy has no class "tills"; it has pos, pc`},
				{"pc", time.Hour, "a test", "class pc is observed already, by policy.yaml:5"},
				{"pc", 0, "", "class pc is observed by policy.yaml:5; it ends there"},
				{"pos", 0, "", "class pos is not observed"},
				{"pos", -time.Hour, "a test", "a class can be observed for at most 24h0m0s; for longer, write mode: observe into policy.yaml"},
				{"pos", MaxObserve + 1, "a test", "a class can be observed for at most 24h0m0s; for longer, write mode: observe into policy.yaml"},
				{"pos", time.Hour, " \n", "a reason is missing, which an auditor asks for"},
				{"pos", time.Hour, long + "x", "the reason is not text of at most 400 bytes"},
				{"pos", time.Hour, "\xff", "the reason is not text of at most 400 bytes"},
			} {
				if got := s.ask(tt.class, tt.d, tt.reason); got != tt.want {
					t.Errorf("%s for %v, %q: %s, want %s", tt.class, tt.d, tt.reason, got, tt.want)
				}
			}
			s.expect(s.told())
			s.expect([]string{s.ask("pos", MaxObserve, long)}, "")
		})
	})
}

// The clock that people read may end an observation early, but not make it longer.
func TestObserveByTwoClocks(t *testing.T) {
	for name, tt := range map[string]struct {
		step  time.Duration // of the clock, after ten minutes
		ended time.Duration // after the beginning
	}{
		"set forward": {2 * time.Hour, 10*time.Minute + slowPoll},
		"set back":    {-2 * time.Hour, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStoreTest(t)
			s.openTwo()
			var step atomic.Int64 // a timer that fires orders nothing before it
			s.config.Now = func() time.Time { return time.Now().Add(time.Duration(step.Load())) }
			s.follow(func() {
				s.expect([]string{s.ask("pos", time.Hour, "a test")}, "")
				var after time.Duration
				for ; len(s.told()) < 2 && after < 3*time.Hour; after += time.Minute {
					if after == 10*time.Minute {
						step.Store(int64(tt.step))
					}
					time.Sleep(time.Minute)
					synctest.Wait()
				}
				if after != tt.ended {
					t.Errorf("%s: ended after %v, want %v", name, after, tt.ended)
				}
			})
		})
	}
}

// Without a folder the embedded policy serves, and a class of it can be observed.
func TestObserveTheEmbedded(t *testing.T) {
	s, err := OpenStore(StoreConfig{})
	must(t, err)
	changes := make(chan Change, 9)
	s.OnChange(func(c Change) { changes <- c })
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	s.Reload()
	if c := <-changes; !cmp.Equal(c.Summary, []string{"nothing changed"}) || c.Cause != CauseReload {
		t.Errorf("read again: %+v", c)
	}
	_, err = s.Observe(t.Context(), ObserveRequest{Class: "terminal", For: time.Hour, Reason: "a test"})
	must(t, err)
	if c := <-changes; c.Cause != CauseObserve || c.New != s.Set() || c.Old == c.New {
		t.Errorf("observed: %+v", c)
	}
	if got := verdictOf(s.Set(), "10.20.0.7", ""); got != WouldDeny {
		t.Errorf("observed: %v", got)
	}

	// Once nobody ends it, nothing is begun.
	cancel()
	must(t, <-served)
	if _, err := s.Observe(t.Context(), ObserveRequest{Class: "terminal", For: time.Hour, Reason: "a test"}); !errors.Is(err, errNotServed) {
		t.Errorf("after the end: %v", err)
	}
	if n := len(s.Observations()); n != 1 {
		t.Errorf("%d observations after the end, want what there was", n)
	}
}

// Nobody waits for longer than he wants to.
func TestObserveBeforeServe(t *testing.T) {
	s, err := OpenStore(StoreConfig{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Observe(ctx, ObserveRequest{Class: "terminal", For: time.Hour, Reason: "a test"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
