package ntprelay

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/internal/clock"
)

var opts = cmp.AllowUnexported(header{}, sent{})

// An answer in full: the server's stratum and one more, its delays and what we measured,
// its address, and when it was heard.
func TestAnswer(t *testing.T) {
	b := newBench(t)
	b.synchronise()
	heard := b.truth()
	b.pass(100 * time.Second)
	asked := parseHeader(packet(first(4, client), b.truth().Add(-time.Second)))
	asked.poll = 10
	var request [headerSize]byte
	asked.put(request[:])
	q := b.request(till, request[:])
	came := b.truth()
	b.pass(time5)
	b.serve(q)
	if len(b.sent) != 1 {
		t.Fatalf("%d answers", len(b.sent))
	}
	got := b.sent[0]
	e := b.deps.Clock.Estimate()
	want := sent{
		header: header{
			version:        4,
			mode:           server,
			stratum:        3,
			poll:           10,
			precision:      e.Precision,
			rootDelay:      shortOf(30 * time.Millisecond),
			rootDispersion: got.rootDispersion,
			refID:          0xc0000901,
			reference:      stampOf(heard),
			origin:         asked.transmit,
			receive:        stampOf(came),
			transmit:       stampOf(came.Add(time5)),
		},
		length:  headerSize,
		from:    netip.MustParseAddr("10.0.0.1"),
		to:      netip.MustParseAddrPort(till),
		ifindex: 7,
		bytes:   got.bytes,
	}
	if diff := cmp.Diff(want, got, opts, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	// What the server said, and 100 s of an oscillator that may be 100 ppm off.
	if d := got.rootDispersion.duration(); d < 15*time.Millisecond || d > 30*time.Millisecond {
		t.Errorf("root dispersion %v", d)
	}
	if e.Precision >= 0 {
		t.Errorf("precision 2^%d s", e.Precision)
	}
}

// Without the time there is nothing in an answer that a client could take for it.
func TestAnswerWithoutTime(t *testing.T) {
	b := newBench(t)
	b.parked.close()
	sent := start.Add(-time.Hour)
	got := b.ask(till, packet(first(3, client), sent))
	if got == nil {
		t.Fatal("no answer")
	}
	want := header{
		leap:           unknown,
		version:        3,
		mode:           server,
		precision:      b.deps.Clock.Estimate().Precision,
		rootDispersion: 16 << 16,
		origin:         stampOf(sent),
		receive:        got.receive,
		transmit:       got.transmit,
	}
	if diff := cmp.Diff(want, got.header, opts); diff != "" {
		t.Error(diff)
	}
}

// A leap second is announced on the last day of its month, and in the era after 2036 the
// stamps go on.
func TestAnswerLeap(t *testing.T) {
	b := newBench(t)
	truth := time.Date(2036, 6, 30, 12, 0, 0, 0, time.UTC)
	b.deps.Clock.Observe(clock.Sample{
		Server: netip.MustParseAddr("192.0.9.1"), Raw: b.now(), Time: truth, Delay: time5,
		Precision: time.Microsecond, Stratum: 1, Leap: clock.LeapInsert,
	})
	got := b.ask(till, packet(first(4, client), truth.Add(-time.Minute)))
	if got == nil || got.leap != 1 || got.stratum != 2 {
		t.Fatalf("answered %+v", got)
	}
	if got.transmit != stampOf(truth) || got.transmit>>32 > 1<<31 {
		t.Errorf("transmit stamp %#x", uint64(got.transmit))
	}
}
