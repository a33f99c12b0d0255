package ntprelay

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/decision"
	"tillgate/internal/clock"
)

// addresses has a name lead to addresses, each of which is a good server.
func (w *world) addresses(name string, addrs ...string) {
	w.names[name] = nil
	for _, addr := range addrs {
		a := netip.MustParseAddr(addr)
		if w.servers[a] == nil {
			w.servers[a] = &remoteServer{out: 10 * time.Millisecond, back: 10 * time.Millisecond}
		}
		w.names[name] = append(w.names[name], a)
	}
}

// peers returns what is asked, as "address name", sorted.
func (w *world) peers() string {
	var all []string
	for _, s := range w.relay.Servers() {
		text := s.Name
		if s.Addr.IsValid() {
			text = s.Addr.String() + " " + s.Name
		}
		switch s.State {
		case Unknown, LeftOut, Refuses:
			text += " (" + s.Why + ")"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// Which addresses of which names are asked.
func TestServers(t *testing.T) {
	long := func(n int, format string) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		servers []string
		policy  string
		dns     map[string][]string
		want    string
	}{
		{
			name:    "one name of many addresses",
			servers: []string{"pool.example"},
			dns:     map[string][]string{"pool.example": long(9, "5.5.5.%d")},
			want:    "5.5.5.0 pool.example\n5.5.5.1 pool.example\n5.5.5.2 pool.example\n5.5.5.3 pool.example",
		},
		{
			name:    "each address once",
			servers: []string{"a.example", "b.example", "5.5.5.1", "5.5.5.1"},
			dns:     map[string][]string{"a.example": {"5.5.5.1", "5.5.5.2", "5.5.5.2", "::ffff:5.5.5.2"}, "b.example": {"5.5.5.3"}},
			want:    "5.5.5.1 5.5.5.1\n5.5.5.2 a.example\n5.5.5.3 b.example",
		},
		{
			name:    "one family of a name, the one that there is a way to",
			servers: []string{"a.example", "b.example"},
			dns:     map[string][]string{"a.example": {"2a00::1", "2a00::2", "5.5.5.1"}, "b.example": {"2a00::3"}},
			want:    "2a00::3 b.example\n5.5.5.1 a.example",
		},
		{
			name:    "addresses of a special purpose",
			servers: []string{"a.example", "b.example", "10.0.0.7"},
			dns:     map[string][]string{"a.example": {"10.0.0.1", "127.0.0.1", "5.5.5.1"}, "b.example": {"192.168.0.1"}},
			want:    "10.0.0.7 10.0.0.7\n5.5.5.1 a.example\nb.example (192.168.0.1: private use (192.168.0.0/16, RFC 1918))",
		},
		{
			name: "what the policy says may be private",
			policy: `version: 1
packs: []
classes: {pos: {networks: [10.0.0.0/24], services: ["local/*"]}}
services:
  - {id: local/a, reason: r, destinations: [{host: ntp.a.example, ports: [udp/123], private: true}, {host: ntp.b.example, ports: [udp/123]}]}
`,
			dns:  map[string][]string{"ntp.a.example": {"10.0.0.1", "0.0.0.0", "224.0.1.1"}, "ntp.b.example": {"10.0.0.2"}},
			want: "10.0.0.1 ntp.a.example\nntp.b.example (10.0.0.2: private use (10.0.0.0/8, RFC 1918))",
		},
		{
			name:    "smeared seconds are not mixed with others",
			servers: []string{"time.google.com", "a.example"},
			dns:     map[string][]string{"time.google.com": {"5.5.5.1"}, "a.example": {"5.5.5.2"}},
			want:    "5.5.5.2 a.example\ntime.google.com (it smears leap seconds, and the others do not)",
		},
		{
			name:    "nothing but smeared seconds",
			servers: []string{"time.google.com", "time1.google.com"},
			dns:     map[string][]string{"time.google.com": {"5.5.5.1"}, "time1.google.com": {"5.5.5.2"}},
			want:    "5.5.5.1 time.google.com\n5.5.5.2 time1.google.com",
		},
		{
			name:    "a name without an address",
			servers: []string{"a.example", "typo.example"},
			dns:     map[string][]string{"a.example": {"5.5.5.1"}},
			want:    "5.5.5.1 a.example\ntypo.example (the name typo.example has no address)",
		},
		{
			name:    "too many names",
			servers: long(18, "n%02d.example"),
			dns: func() map[string][]string {
				dns := make(map[string][]string)
				for i, name := range long(18, "n%02d.example") {
					dns[name] = []string{fmt.Sprintf("5.5.5.%d", i), fmt.Sprintf("5.5.6.%d", i)}
				}
				return dns
			}(),
			want: strings.Join(append(slices.Sorted(slices.Values(func() (all []string) {
				for i := range 16 {
					all = append(all, fmt.Sprintf("5.5.5.%d n%02d.example", i, i))
				}
				return all
			}())), "n16.example (only the first 16 names are asked)", "n17.example (only the first 16 names are asked)"), "\n"),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, worldStart, Config{Servers: tt.servers})
				if tt.policy != "" {
					w.set = compile(t, tt.policy)
				}
				for _, name := range slices.Sorted(maps.Keys(tt.dns)) {
					w.addresses(name, tt.dns[name]...)
				}
				w.addresses("literals", "10.0.0.7", "5.5.5.1")
				w.serve()
				defer w.end()
				w.pass(2*time.Hour, time.Minute)
				if got := w.peers(); got != tt.want {
					t.Errorf("asked:\n%s\nwant:\n%s", got, tt.want)
				}
				if w.level() != clock.Fine {
					t.Errorf("the clock is %v: %s", w.level(), w.relay.deps.Clock.Why())
				}
				if w.mostly > maxServers {
					t.Errorf("%d exchanges at once", w.mostly)
				}
				for name, n := range w.lookups {
					if n > 4 { // once an hour, and twice at the start where there is no way to it
						t.Errorf("%s was looked up %d times in two hours", name, n)
					}
				}
			})
		})
	}
}

// Two names of one server: that has one vote, and is all that is needed.
func TestSameServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldStart, Config{Servers: []string{"a.example", "b.example"}})
		w.addresses("a.example", "5.5.5.1")
		w.addresses("b.example", "5.5.5.1")
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		var known, none int
		for _, s := range w.relay.Servers() {
			switch {
			case s.State == Agrees && s.Addr.IsValid():
				known++
			case s.State == Unknown && s.Why == "its addresses are asked under other names":
				none++
			}
		}
		if known != 1 || none != 1 {
			t.Errorf("asked: %s", w.peers())
		}
	})
}

// A server on the box's own link is asked, and not saved: the name of the interface may
// be another the next time.
func TestLinkLocalServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldStart, Config{Servers: []string{"fe80::1%eth0", "5.5.5.1"}})
		w.addresses("literals", "fe80::1%eth0", "5.5.5.1")
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(time.Hour, time.Minute)
		state := w.relay.deps.Clock.State()
		if len(state.Servers) != 1 || state.Servers[0].Addr.String() != "5.5.5.1" {
			t.Errorf("saved: %v", state.Servers)
		}
		if _, err := clock.ReadState(state.Append(nil)); err != nil {
			t.Error(err)
		}
	})
}

// Servers that do well stay though a pool names others an hour later; those that do not
// are replaced by them.
func TestResolveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldStart, Config{Servers: []string{"pool.example"}})
		w.addresses("pool.example", "5.5.5.1", "5.5.5.2", "5.5.5.3", "5.5.5.4")
		w.serve()
		defer w.end()
		w.pass(30*time.Minute, time.Minute)
		w.change(func() {
			w.addresses("pool.example", "5.5.6.1", "5.5.6.2", "5.5.6.3", "5.5.6.4")
			w.server("5.5.5.1").dead = true
			w.server("5.5.5.2").wrong = time.Hour
			w.server("5.5.6.1").dead = true
		})
		w.pass(70*time.Minute, time.Minute)
		const name = " pool.example"
		if got := w.peers(); got != "5.5.5.3"+name+"\n5.5.5.4"+name+"\n5.5.6.1"+name+"\n5.5.6.2"+name {
			t.Errorf("after an hour are asked:\n%s", got)
		}
		w.pass(40*time.Minute, time.Minute)
		if got := w.peers(); got != "5.5.5.3"+name+"\n5.5.5.4"+name+"\n5.5.6.2"+name+"\n5.5.6.3"+name {
			t.Errorf("after two hours are asked:\n%s", got)
		}
		for _, s := range w.relay.deps.Clock.Sources() {
			if addr := s.Server.String(); addr == "5.5.5.1" || addr == "5.5.5.2" {
				t.Errorf("the clock still counts %s", addr)
			}
		}
		// The name vanishes: who answers stays.
		w.change(func() { w.names["pool.example"] = nil })
		w.pass(2*time.Hour, time.Minute)
		if w.level() != clock.Fine || strings.Count(w.peers(), "\n") != 3 {
			t.Errorf("the clock is %v by:\n%s", w.level(), w.peers())
		}
	})
}

// A name whose IPv4 addresses do not answer is asked at its IPv6 ones.
func TestOtherFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldStart, Config{Servers: []string{"a.example"}})
		w.relay.poller.routable = func(netip.Addr) bool { return true }
		w.addresses("a.example", "2a00::1", "5.5.5.1")
		w.server("5.5.5.1").dead = true
		w.serve()
		defer w.end()
		w.untilFine(10 * time.Minute)
		if got := w.peers(); got != "2a00::1 a.example" {
			t.Errorf("asked: %s", got)
		}
	})
}

// The family that a name was saved with stays its family, and is the only one.
func TestSavedFamily(t *testing.T) {
	for _, dead := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, worldStart, Config{Servers: []string{"a.example", "b.example"},
				Saved: []clock.SavedServer{{Name: "a.example", Addr: netip.MustParseAddr("2a00::1")}}})
			w.relay.poller.routable = func(netip.Addr) bool { return true }
			w.addresses("a.example", "2a00::1", "5.5.5.1")
			w.addresses("b.example", "2a00::2", "5.5.5.2")
			w.server("2a00::1").dead = dead
			w.serve()
			defer w.end()
			w.pass(2*time.Hour, time.Minute)
			want := "2a00::1 a.example\n5.5.5.2 b.example"
			if dead {
				want = "5.5.5.1 a.example\n5.5.5.2 b.example"
			}
			if got := w.peers(); got != want || w.level() != clock.Fine {
				t.Errorf("%v, asked:\n%s", w.level(), got)
			}
		})
	}
}

// Another policy has other servers asked, and those that it does not name no more.
func TestPolicyChange(t *testing.T) {
	const one = `version: 1
packs: []
classes: {pos: {networks: [10.0.0.0/24], services: ["local/*"]}}
services: [{id: local/a, reason: r, destinations: [{host: ntp.%s.example, ports: [udp/123]}]}]
`
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldStart, Config{})
		w.set = compile(t, fmt.Sprintf(one, "a"))
		w.addresses("ntp.a.example", "5.5.5.1")
		w.addresses("ntp.b.example", "5.5.5.2")
		w.serve()
		defer w.end()
		w.untilFine(time.Second)
		w.pass(time.Hour, time.Minute)
		w.change(func() { w.set = compile(t, fmt.Sprintf(one, "b")) })
		w.pass(5*time.Second, time.Second)
		if got := w.peers(); got != "5.5.5.2 ntp.b.example" {
			t.Errorf("asked: %s", got)
		}
		before := len(w.server("5.5.5.1").at)
		w.pass(time.Hour, time.Minute)
		if n := len(w.server("5.5.5.1").at) - before; n != 0 {
			t.Errorf("who is not named any more was asked %d times", n)
		}
		w.change(func() { w.set = compile(t, noServers) })
		w.pass(5*time.Second, time.Second)
		if got := w.peers(); got != "" {
			t.Errorf("asked: %s", got)
		}
		if h := w.relay.Health(); h.State != decision.OK || !strings.HasPrefix(h.Text, "off: ") {
			t.Errorf("health %v: %s", h.State, h.Text)
		}
	})
}

// The IPv6 addresses came first, and there is no way to them: the others are asked for
// again at once, not in five minutes.
func TestFamilyWithoutAWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := four(t, worldStart)
		for _, name := range fourNames.Servers {
			w.servers[netip.MustParseAddr("2a00::"+name[:1])] = &remoteServer{dead: true}
		}
		lookup := w.relay.poller.deps.Lookup
		w.relay.poller.deps.Lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			addrs, err := lookup(ctx, name)
			if w.elapsed() == 0 {
				addrs = []netip.Addr{netip.MustParseAddr("2a00::" + name[:1])}
			}
			return addrs, err
		}
		w.serve()
		defer w.end()
		w.untilFine(2 * time.Second)
	})
}
