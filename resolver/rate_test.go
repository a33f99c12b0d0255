package resolver

import (
	"net/netip"
	"testing"
	"time"
)

func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter(1, 2)
	client := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for i := range maxBuckets {
		if !l.take(client(i), start) {
			t.Fatalf("client %d has no token", i)
		}
	}
	// The table is full of clients that sent something just now: the rest share.
	for i, want := range []bool{true, true, false} {
		if got := l.take(client(maxBuckets+i), start); got != want {
			t.Errorf("client %d beyond the bound: %v", i, got)
		}
	}
	if len(l.buckets) != maxBuckets {
		t.Errorf("%d buckets", len(l.buckets))
	}
	if !l.take(client(0), start) || l.take(client(0), start) {
		t.Error("a client within the bound felt it")
	}
	// When they have been quiet, their places are free again.
	if !l.take(client(maxBuckets+1), start.Add(3*time.Second)) || len(l.buckets) > 1 {
		t.Errorf("%d buckets after all were quiet", len(l.buckets))
	}
}

func TestNeighboursHaveBucketsOfTheirOwn(t *testing.T) {
	l := newLimiter(1, 1)
	if !l.take(netip.MustParseAddr("fd00::1"), start) || l.take(netip.MustParseAddr("fd00::1"), start) {
		t.Error("a client has not one token")
	}
	if !l.take(netip.MustParseAddr("fd00::2"), start) {
		t.Error("one terminal of a VLAN used up the tokens of another")
	}
}

func TestNoLimit(t *testing.T) {
	l := newLimiter(0, 0)
	for range 10000 {
		if !l.take(netip.MustParseAddr("10.0.0.1"), start) {
			t.Fatal("limited")
		}
	}
	if len(l.buckets) != 0 {
		t.Error("buckets without a limit")
	}
}
