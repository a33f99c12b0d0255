package policy

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// scaled makes a policy of n rules by hand, since no file may be that large:
// services of ten hosts, of which one is a wildcard and one an s-*.x, two
// classes that share them, and a deny rule for each hundred.
func scaled(n int) *Set {
	s := &Set{classes: []*Class{
		{Name: "a", Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		{Name: "b", Networks: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}},
	}}
	ports := []Port{{TCP, 443}}
	var service *Service
	for i := range n {
		if i%10 == 0 {
			service = &Service{ID: fmt.Sprintf("big/s%d", i), Row: 1}
			s.services = append(s.services, service)
			s.classes[i/10%2].Services = append(s.classes[i/10%2].Services, service)
		}
		host := fmt.Sprintf("host-%d.site-%d.example", i, i/10)
		switch {
		case i%100 == 99:
			s.rules = append(s.rules, &Rule{Host: host})
			continue
		case i%10 == 8:
			host = "*." + host
		case i%10 == 7:
			host = "s-*." + host
		}
		r := &Rule{Service: service, Host: host, Ports: ports}
		service.Destinations = append(service.Destinations, r)
		s.rules = append(s.rules, r)
	}
	s.seal()
	return s
}

// questions are asked of every scaled set: they touch each kind of node. The
// number of look-ups is that of labels; a name below s-*.x costs one more.
var questions = []struct {
	name    string
	lookups int
	reason  Reason
}{
	{"host-5.site-0.example", 3, Documented},
	{"a.b.host-8.site-0.example", 5, Documented},
	{"s-77.host-7.site-0.example", 5, Documented},
	{"host-15.site-1.example", 3, OtherClass},
	{"host-5.site-0.exampl", 3, NotDocumented},
	{"a.very.long.name.of.the.other.kind.that.no.rule.is.for.example.org", 15, NotDocumented},
	{"site-0.example", 2, NotDocumented},
	{"", 1, NotDocumented},
}

func checkLookups(t testing.TB, n int, s *Set) {
	for _, q := range questions {
		r := Request{Client: netip.MustParseAddr("10.1.0.1"), Name: q.name}
		if f := s.index.find(&r, 1); f.lookups != q.lookups {
			t.Errorf("%d rules: %q took %d look-ups, want %d", n, q.name, f.lookups, q.lookups)
		}
		if d := s.Decide(r); d.Reason != q.reason {
			t.Errorf("%d rules: %q: %s, want %s", n, q.name, d.Reason, q.reason)
		}
	}
}

// The benchmark checks a million.
func TestLookupsDoNotGrow(t *testing.T) {
	for _, n := range []int{40, 100_000} {
		checkLookups(t, n, scaled(n))
	}
}

func TestDecideAllocates(t *testing.T) {
	set := mustCompile(t, decidePolicy)
	now := time.Now()
	for _, client := range []string{"10.20.1.5", "10.20.9.5", "fd00:20:1::1", "fe80::1%eth0", "192.0.2.1"} {
		for _, plane := range []Plane{DNS, Connect, NTP} {
			for _, name := range []string{"api.sunmi.com", "s-eu-1.shards.example", "a.t1.deep.example", "com", "", "example.org",
				"a..b", "192.0.2.1", "2001:db8::1", "printer.example"} {
				r := Request{Plane: plane, Client: netip.MustParseAddr(client), Interface: "eth7", Name: name, Proto: TCP, Port: 443, Now: now}
				if n := testing.AllocsPerRun(20, func() { set.Decide(r) }); n != 0 {
					t.Errorf("%s %s %q: %v allocations", plane, client, name, n)
				}
			}
		}
	}
	if n := testing.AllocsPerRun(20, func() { set.Suggest("s-usc1-nss-2000.firebaseio.com") }); n != 0 {
		t.Errorf("Suggest: %v allocations", n)
	}
}

// BenchmarkDecide reports the time of a decision over the questions, and the
// memory that the index and the rules take.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{40, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			s := scaled(n)
			runtime.GC()
			runtime.ReadMemStats(&after)
			checkLookups(b, n, s)
			client := netip.MustParseAddr("10.1.0.1")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s.Decide(Request{Client: client, Name: questions[i%len(questions)].name})
				i++
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/rule")
			runtime.KeepAlive(s)
		})
	}
}
