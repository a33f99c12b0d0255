package ntprelay

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/policy"
)

const testPolicy = `version: 1
packs: [payxpert]
classes:
  till: {networks: [10.0.0.0/24, "fd00:1::/64", 127.0.0.0/8, "::1/128"], services: ["payxpert/sunmi-*"]}
  pos: {networks: [10.0.1.0/24], services: [payxpert/emv], time: true}
  office: {networks: [10.0.9.0/24], services: [payxpert/central]}
  lab: {networks: [10.0.8.0/24], services: [payxpert/central], mode: observe}
`

// noServers is a policy in which a class has the time and there is nobody to have it of.
const noServers = `version: 1
packs: []
classes:
  pos: {networks: [10.0.1.0/24], services: [local/web], time: true}
services: [{id: local/web, reason: r, destinations: [{host: example.com, ports: [tcp/443]}]}]
`

const (
	till   = "10.0.0.5:40000"
	pos    = "10.0.1.5:123"
	office = "10.0.9.5:40000"
	lab    = "10.0.8.5:40000"
)

// start is the true time when the machine of a bench starts.
var start = time.Date(2027, 1, 5, 7, 0, 0, 0, time.UTC)

// bench is a relay on a machine whose clocks are the test's.
type bench struct {
	*Relay
	t       testing.TB
	raw     atomic.Int64 // since the start
	set     *policy.Set
	records records

	mu   sync.Mutex
	sent []sent
}

// sent is what a request was answered with.
type sent struct {
	header
	length  int
	from    netip.Addr
	to      netip.AddrPort
	ifindex int
	bytes   string
}

// records keeps what is recorded. It takes no repeats, or all.
type records struct {
	mu      sync.Mutex
	repeats atomic.Bool
	all     []decision.Record
}

func (r *records) Repeat(decision.Key) bool { return r.repeats.Load() }

func (r *records) Record(rec decision.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
}

func (r *records) Repeats(rec decision.Record, n uint64, _, _ time.Duration) {
	rec.Count = n
	r.Record(rec)
}

// take returns what was recorded since it was last called.
func (r *records) take() []decision.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

func compile(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// testSet is compiled once: the fuzzer makes many benches.
var testSet = sync.OnceValues(func() (*policy.Set, error) {
	return policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(testPolicy)}})
})

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	var cfg Config
	for _, f := range change {
		f(&cfg)
	}
	set, err := testSet()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, set: set}
	b.raw.Store(int64(1000 * time.Hour)) // the machine has been up for long
	b.Relay, err = New(cfg, Deps{
		Policy: func() *policy.Set { return b.set },
		Clock: clock.New(clock.Config{
			Machine: clock.Machine{Raw: b.now, Wall: func() time.Time { return start.AddDate(-40, 0, 0) }},
			Servers: 1,
		}),
		Lookup:  func(context.Context, string) ([]netip.Addr, error) { return nil, nil },
		Records: &b.records,
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) now() time.Duration { return time.Duration(b.raw.Load()) }

func (b *bench) pass(d time.Duration) { b.raw.Add(int64(d)) }

// truth is the true time.
func (b *bench) truth() time.Time { return start.Add(b.now() - 1000*time.Hour) }

// synchronise has the clock hear of a server of stratum 2.
func (b *bench) synchronise() {
	b.t.Helper()
	b.deps.Clock.Observe(clock.Sample{
		Server:         netip.MustParseAddr("192.0.9.1"),
		Raw:            b.now(),
		Time:           b.truth(),
		Delay:          20 * time.Millisecond,
		RootDelay:      10 * time.Millisecond,
		RootDispersion: 5 * time.Millisecond,
		Precision:      time.Microsecond,
		Stratum:        2,
	})
	if e := b.deps.Clock.Estimate(); e.LevelAt(b.now()) != clock.Fine {
		b.t.Fatalf("the clock is %v: %s", e.LevelAt(b.now()), b.deps.Clock.Why())
	}
}

// request returns what a packet from a client is, as it is read now.
func (b *bench) request(from string, packet []byte) *request {
	q := &request{
		from:    netip.MustParseAddrPort(from),
		local:   netip.MustParseAddr("10.0.0.1"),
		ifindex: 7,
		raw:     b.now(),
	}
	q.send = func(packet []byte, from netip.Addr, to netip.AddrPort, ifindex int) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.sent = append(b.sent, sent{parseHeader(packet), len(packet), from, to, ifindex, string(packet)})
		return nil
	}
	q.client = q.from.Addr().WithZone("")
	q.parse(packet)
	return q
}

// serve serves a request that goes by itself.
func (b *bench) serve(q *request) {
	t := b.turn()
	b.Relay.serve(&t, q)
}

// ask has a packet served, and returns the answer; nil: there is none yet.
func (b *bench) ask(from string, packet []byte) *sent {
	n := len(b.answers())
	b.serve(b.request(from, packet))
	if all := b.answers(); len(all) > n {
		return &all[n]
	}
	return nil
}

// answers returns what was sent so far.
func (b *bench) answers() []sent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sent)
}

// gist is what the records since the last call say, in short.
func (b *bench) gist() string {
	var all []string
	for _, rec := range b.records.take() {
		s := rec.Verdict.String() + " " + rec.Reason.String() + " " + rec.Client.String() + " " + rec.Class
		if rec.Service != "" {
			s += " " + rec.Service
		}
		if rec.Detail != "" {
			s += ": " + rec.Detail
		}
		all = append(all, s)
	}
	return strings.Join(all, "\n")
}

// packet is a request of a client that sends its time: 48 bytes, the first of which is given.
func packet(first byte, transmit time.Time) []byte {
	b := make([]byte, headerSize)
	b[0] = first
	stampOf(transmit).put(b)
	return b
}

// first is the first byte of a packet.
func first(version uint8, m mode) byte { return version<<3 | byte(m) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
