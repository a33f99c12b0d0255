package firewall

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"tillgate/decision"
)

// A clock that stands until it is moved.
type stillClock struct{ at time.Time }

func (c *stillClock) now() time.Time { return c.at }

func attemptTo(src, dst string, port uint16) attempt {
	return attempt{netip.MustParseAddr(src), netip.MustParseAddr(dst), protoTCP, port}
}

// told takes all that there is, as sorted lines.
func told(t *tally) (lines []string) {
	b := t.take(1 << 20)
	t.taken(b)
	for _, r := range b.records {
		lines = append(lines, line(r))
	}
	slices.Sort(lines)
	return lines
}

func line(r decision.Record) string {
	to := r.Detail
	if r.Dest.IsValid() {
		to = r.Dest.String()
	}
	from := r.Class
	if r.Client.IsValid() {
		from += " " + r.Client.String()
	}
	return fmt.Sprintf("%s, %s, %s: %d", from, r.Reason, to, cmp.Or(r.Count, 1))
}

// round reads counters, as harvest does.
func (t *tally) read(f func()) {
	t.begin()
	f()
	t.end()
}

var (
	posRefused = labelOf(Refused, "pos")
	posSpoofed = labelOf(Spoofed, "pos")
	till       = netip.MustParseAddr("10.20.0.11")
)

func TestTally(t *testing.T) {
	dot := attemptTo("10.20.0.11", "8.8.8.8", 853)
	ssh := attemptTo("10.20.0.11", "23.0.0.1", 22)
	const various = "various destinations, counted together"
	for _, tt := range []struct {
		what string
		do   func(*tally)
		want []string
	}{
		{"seen, and nothing after it", func(y *tally) {
			y.sight(posRefused, dot)
			y.read(func() {
				y.classCounter(posRefused, 1)
				y.sourceCounter(till, 1)
				y.attemptCounter(dot, 1)
			})
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 1"}},
		{"seen, then counted", func(y *tally) {
			y.sight(posRefused, dot)
			before := uint64(0)
			for _, n := range []uint64{3, 7, 7} {
				y.read(func() {
					y.classCounter(posRefused, n-before)
					before = n
					y.sourceCounter(till, n)
					y.attemptCounter(dot, n)
				})
			}
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 7"}},
		{"lost by the log, but not the one before", func(y *tally) {
			y.sight(posRefused, dot)
			y.read(func() {
				y.sourceCounter(till, 3)
				y.attemptCounter(dot, 1)
				y.attemptCounter(ssh, 2)
			})
			y.sight(posRefused, ssh) // it comes late
		}, []string{"pos 10.20.0.11, firewall, 23.0.0.1:22: 2", "pos 10.20.0.11, firewall, 8.8.8.8:853: 1"}},
		{"packets come while the counters are read", func(y *tally) {
			y.sight(posRefused, dot)
			y.read(func() { y.sourceCounter(till, 1); y.attemptCounter(dot, 4) })
			y.read(func() { y.sourceCounter(till, 4); y.attemptCounter(dot, 4) })
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 4"}},
		{"beyond what has an element", func(y *tally) {
			y.sight(posRefused, dot)
			y.read(func() {
				y.classCounter(posRefused, 1000)
				y.sourceCounter(till, 1000)
				y.attemptCounter(dot, 10)
			})
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 10", "pos 10.20.0.11, firewall, " + various + ": 990"}},
		{"beyond what has an element, round after round", func(y *tally) {
			y.sight(posRefused, dot)
			for i := range uint64(3) {
				y.read(func() {
					y.classCounter(posRefused, 1000)
					y.sourceCounter(till, 1000*(i+1))
					y.attemptCounter(dot, 10*(i+1))
				})
			}
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 30", "pos 10.20.0.11, firewall, " + various + ": 2970"}},
		{"an element ends, and the last packets were not read", func(y *tally) {
			y.sight(posRefused, dot)
			y.read(func() { y.sourceCounter(till, 5); y.attemptCounter(dot, 5) })
			y.read(func() { y.sourceCounter(till, 9) })
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 9"}},
		{"an element ends, and there is a new one", func(y *tally) {
			y.sight(posRefused, dot)
			y.read(func() { y.sourceCounter(till, 5); y.attemptCounter(dot, 5) })
			y.sight(posRefused, dot)
			y.read(func() { y.sourceCounter(till, 9); y.attemptCounter(dot, 2) })
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 9"}},
		{"a source without a counter", func(y *tally) {
			y.sight(posRefused, dot)
			y.read(func() { y.classCounter(posRefused, 50); y.attemptCounter(dot, 2) })
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 2",
			"pos, firewall, various clients and destinations, counted together: 48"}},
		{"spoofed", func(y *tally) {
			y.sight(posSpoofed, attemptTo("1.2.3.4", "8.8.8.8", 853))
			y.read(func() { y.classCounter(posSpoofed, 9) })
		}, []string{"pos 1.2.3.4, spoofed, 8.8.8.8:853: 1",
			"pos, spoofed, various destinations, counted together: 8"}},
		{"what came while nobody read", func(y *tally) {
			y.read(func() { y.classCounter(posRefused, 4); y.sourceCounter(till, 900); y.attemptCounter(dot, 900) })
		}, []string{"pos, firewall, various clients and destinations, counted together: 4"}},
		{"counted before it is seen", func(y *tally) {
			y.read(func() { y.classCounter(posRefused, 2); y.sourceCounter(till, 2) })
			y.sight(posRefused, dot)
			y.sight(posRefused, ssh)
			y.read(func() { y.sourceCounter(till, 2); y.attemptCounter(dot, 1); y.attemptCounter(ssh, 1) })
		}, []string{"pos 10.20.0.11, firewall, 23.0.0.1:22: 1", "pos 10.20.0.11, firewall, 8.8.8.8:853: 1"}},
		{"counted, and one is seen before the end", func(y *tally) {
			y.read(func() {
				y.classCounter(posRefused, 2)
				y.sourceCounter(till, 2)
				y.attemptCounter(dot, 1)
				y.attemptCounter(ssh, 1)
				y.sight(posRefused, dot)
			})
			y.sight(posRefused, ssh)
			y.read(func() { y.sourceCounter(till, 2); y.attemptCounter(dot, 1); y.attemptCounter(ssh, 1) })
		}, []string{"pos 10.20.0.11, firewall, 23.0.0.1:22: 1", "pos 10.20.0.11, firewall, 8.8.8.8:853: 1"}},
		{"a new table", func(y *tally) {
			y.sight(posRefused, dot)
			y.read(func() { y.classCounter(posRefused, 5); y.sourceCounter(till, 5); y.attemptCounter(dot, 5) })
			y.renewed()
			y.sight(posRefused, dot)
			y.read(func() { y.classCounter(posRefused, 6); y.sourceCounter(till, 6); y.attemptCounter(dot, 6) })
		}, []string{"pos 10.20.0.11, firewall, 8.8.8.8:853: 11"}},
	} {
		y := newTally((&stillClock{}).now)
		tt.do(y)
		y.last()
		if diff := gocmp.Diff(tt.want, told(y)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}

// What is counted, and was not seen, is told when the log has had a round to tell it.
func TestTallyRest(t *testing.T) {
	dot := attemptTo("10.20.0.11", "8.8.8.8", 853)
	y := newTally((&stillClock{}).now)
	y.sight(posRefused, dot)
	for i, want := range [][]string{
		{"pos 10.20.0.11, firewall, 8.8.8.8:853: 1"},
		{"pos 10.20.0.11, firewall, various destinations, counted together: 8",
			"pos, firewall, various clients and destinations, counted together: 3"},
		nil,
	} {
		y.read(func() {
			if i == 0 {
				y.classCounter(posRefused, 12)
			}
			y.sourceCounter(till, 9)
			y.attemptCounter(dot, 1)
		})
		if diff := gocmp.Diff(want, told(y)); diff != "" {
			t.Errorf("round %d (-want +got):\n%s", i, diff)
		}
	}
}

// One that tries all ports of all addresses takes no room of others, with a source of its
// own or with any.
func TestTallyFlood(t *testing.T) {
	for what, l := range map[string]label{"of one source": posRefused, "of spoofed sources": posSpoofed} {
		clock := &stillClock{}
		y := newTally(clock.now)
		for i := range 100_000 {
			src := till
			if l == posSpoofed {
				src = netip.AddrFrom4([4]byte{1, byte(i >> 16), byte(i >> 8), byte(i)})
			}
			y.sight(l, attempt{src, netip.AddrFrom4([4]byte{23, byte(i >> 16), byte(i >> 8), 1}), protoTCP, uint16(i)})
		}
		y.sight(posRefused, attemptTo("10.20.0.12", "8.8.8.8", 853))
		y.read(func() { y.classCounter(l, 100_001); y.sourceCounter(till, 100_000) })
		y.last()
		lines := told(y)
		if len(lines) > maxAttempts+3 || !slices.Contains(lines, "pos 10.20.0.12, firewall, 8.8.8.8:853: 1") {
			t.Errorf("%s: %d records:\n%q", what, len(lines), lines)
		}
		clock.at = clock.at.Add(2 * attemptRest)
		y.read(func() {})
		y.read(func() {})
		if y.attempts != 0 || len(y.groups) != 0 || len(y.seen) != 0 || len(y.sources) != 0 {
			t.Errorf("%s: left are %d attempts, %d groups, %d elements, %d sources", what, y.attempts, len(y.groups), len(y.seen), len(y.sources))
		}
	}
}

// While nobody takes anything, memory is bounded and the sum is right.
func TestTallyBounds(t *testing.T) {
	y := newTally((&stillClock{}).now)
	want := uint64(0)
	for i := range 4 * maxClients {
		for port := range uint16(2 * maxAttempts) {
			y.add(posRefused, attempt{netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), till, protoUDP, port}, 3)
			want += 3
		}
	}
	g := y.groups[group{posRefused, false}]
	if len(g.byAddr) != maxClients || y.attempts != maxAll {
		t.Errorf("%d clients, %d attempts", len(g.byAddr), y.attempts)
	}
	got := uint64(0)
	for !y.empty() {
		b := y.take(100)
		for _, r := range b.records {
			got += max(r.Count, 1)
		}
		y.taken(b)
	}
	if got != want {
		t.Errorf("%d attempts told, want %d", got, want)
	}
}
