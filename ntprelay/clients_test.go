package ntprelay

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func address(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i))
	return netip.AddrFrom4(b)
}

func TestRate(t *testing.T) {
	never := func() uint32 { return 1 }
	c := newClients(1, 8, never)
	for _, step := range []struct {
		at   time.Duration // since the start
		asks int
		want int // answered
	}{
		{0, 20, 8},
		{500 * time.Millisecond, 5, 0},
		{time.Second, 5, 1},
		{4 * time.Second, 5, 3},
		{3 * time.Second, 5, 0}, // of the other socket, so out of order
		{time.Hour, 20, 8},
	} {
		got := 0
		for range step.asks {
			if _, ok := c.take(address(1), "", step.at); ok {
				got++
			}
		}
		if got != step.want {
			t.Errorf("at %v: %d of %d answered, want %d", step.at, got, step.asks, step.want)
		}
	}
	if _, ok := c.take(address(2), "", time.Hour); !ok {
		t.Error("one client's rate is another's")
	}
	free := newClients(0, 0, never)
	for range 1000 {
		if _, ok := free.take(address(1), "", 0); !ok {
			t.Fatal("no limit is one")
		}
	}
}

// Whoever floods the box with a client's address can't silence the client: some answer gets
// through, and the flood gets no more than a part.
func TestRateLeaks(t *testing.T) {
	const tries = 10_000
	c := newClients(1, 8, rand.New(rand.NewPCG(1, 2)).Uint32)
	got := 0
	for range tries {
		if _, ok := c.take(address(1), "", 0); ok {
			got++
		}
	}
	if got < tries/leak*9/10 || got > tries/leak*11/10 {
		t.Errorf("%d of %d answered, want about one of %d", got, tries, leak)
	}
}

// The table stays at its bound, and a client that keeps asking stays in it.
func TestClientsBounded(t *testing.T) {
	c := newClients(1, 1, func() uint32 { return 1 })
	constant := address(1 << 30)
	for i := range 3 * maxClients {
		now := time.Duration(i) * time.Millisecond
		c.take(address(i), "", now)
		if i%100 == 0 {
			c.take(constant, "", now)
		}
	}
	if got := c.len(); got != maxClients {
		t.Errorf("%d clients are remembered, want %d", got, maxClients)
	}
	if c.all[constant] == nil {
		t.Error("the client that keeps asking is forgotten")
	}
}

func TestClockError(t *testing.T) {
	const (
		slow = -6 * time.Minute
		wild = 30 * 365 * 24 * time.Hour
	)
	type step struct {
		after, offset time.Duration
		want          bool
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"slow, then set", []step{{0, slow, true}, {time.Hour, 0, true}, {24 * time.Hour, 2 * time.Second, true}}},
		{"a clock in 1970", []step{{0, -2 * wild, false}, {4 * time.Second, -2 * wild, true}, {time.Hour, time.Second, true}}},
		{"random", []step{{0, wild, false}, {time.Second, -wild, false}, {time.Second, time.Hour, false}, {time.Second, wild / 2, false}}},
		{"random, near by accident", []step{{0, time.Hour, true}, {time.Second, wild, false}, {time.Second, time.Minute, false}}},
		{"a cheap clock, a day later", []step{{0, 2 * wild, false}, {24 * time.Hour, 2*wild + 20*time.Second, true}}},
		{"another time each time", []step{{0, 2 * wild, false}, {time.Minute, 2*wild + 20*time.Second, false}}},
	} {
		var e clockError
		now := 1000 * time.Hour
		for i, s := range tt.steps {
			now += s.after
			if got := e.learn(s.offset, now); got != s.want {
				t.Errorf("%s, request %d: believed %v", tt.name, i, got)
			}
		}
	}
}

// What a client's clock shows is in its record and in Clients.
func TestClients(t *testing.T) {
	b := newBench(t)
	b.synchronise()
	b.ask("10.0.0.3:40000", packet(first(3, client), b.truth().Add(-6*time.Minute)))
	b.ask("10.0.0.4:40000", packet(first(4, client), time.Time{}))             // none
	b.ask("10.0.0.5:40000", packet(first(4, client), start.AddDate(13, 5, 3))) // random
	b.ask(pos, packet(first(3, symmetricActive), b.truth().Add(250*time.Millisecond)))
	var offsets []float64
	for _, rec := range b.records.take() {
		offsets = append(offsets, rec.OffsetMs)
	}
	if len(offsets) != 4 || offsets[0] != -360_000 || offsets[1] != 0 || offsets[2] != 0 || offsets[3] < 249 || offsets[3] > 250 {
		t.Errorf("offsets %v", offsets)
	}
	asked := b.truth()
	b.pass(time.Hour)
	want := []Client{
		{netip.MustParseAddr("10.0.0.3"), "till", -6 * time.Minute, asked},
		{netip.MustParseAddr("10.0.1.5"), "pos", 250 * time.Millisecond, asked},
	}
	near := cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() < time.Microsecond })
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	nearly := cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() < time.Microsecond })
	if diff := cmp.Diff(want, b.Clients(), near, same, nearly); diff != "" {
		t.Error(diff)
	}
}
