package resolver

import (
	"net/netip"
	"testing"
	"time"
)

func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter(1, 2, start)
	client := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for i := range maxBuckets {
		if !take(l, client(i), start) {
			t.Fatalf("client %d has no token", i)
		}
	}
	// The table is full of clients that sent something just now: the rest share.
	for i, want := range []bool{true, true, false} {
		if got := take(l, client(maxBuckets+i), start); got != want {
			t.Errorf("client %d beyond the bound: %v", i, got)
		}
	}
	if len(l.buckets) != maxBuckets {
		t.Errorf("%d buckets", len(l.buckets))
	}
	if !take(l, client(0), start) || take(l, client(0), start) {
		t.Error("a client within the bound felt it")
	}
	// When they have been quiet, their places are free again.
	if !take(l, client(maxBuckets+1), start.Add(3*time.Second)) || len(l.buckets) > 1 {
		t.Errorf("%d buckets after all were quiet", len(l.buckets))
	}
}

func TestNeighboursHaveBucketsOfTheirOwn(t *testing.T) {
	l := newLimiter(1, 1, start)
	if !take(l, netip.MustParseAddr("fd00::1"), start) || take(l, netip.MustParseAddr("fd00::1"), start) {
		t.Error("a client has not one token")
	}
	if !take(l, netip.MustParseAddr("fd00::2"), start) {
		t.Error("one terminal of a VLAN used up the tokens of another")
	}
}

func TestNoLimit(t *testing.T) {
	l := newLimiter(0, 0, start)
	for range 10000 {
		if !take(l, netip.MustParseAddr("10.0.0.1"), start) {
			t.Fatal("limited")
		}
	}
	if len(l.buckets) != 0 {
		t.Error("buckets without a limit")
	}
}

// take is the limiter's, without the bucket.
func take(l *limiter, client netip.Addr, now time.Time) bool {
	_, ok := l.take(client, now)
	return ok
}

// Who has found a bucket may take from it by itself, as long as it is the client's.
func TestBucket(t *testing.T) {
	l := newLimiter(1, 2, start)
	client := netip.MustParseAddr("10.0.0.1")
	b, ok := l.take(client, start)
	if !ok || !b.take(start) || b.take(start) {
		t.Fatal("a bucket of two has not two tokens")
	}
	if take(l, client, start) || !b.take(start.Add(time.Second)) || take(l, client, start.Add(time.Second)) {
		t.Error("they are not the same tokens")
	}
	if l.sweep(start.Add(2 * time.Second)); len(l.buckets) != 1 {
		t.Error("a bucket is forgotten that is not full")
	}
	if l.sweep(start.Add(3 * time.Second)); len(l.buckets) != 0 || b.take(start.Add(time.Hour)) {
		t.Errorf("%d buckets; one that is forgotten has tokens", len(l.buckets))
	}
}
