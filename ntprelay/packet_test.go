package ntprelay

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestStamp(t *testing.T) {
	for _, tt := range []struct {
		time string
		want stamp
	}{
		{"1970-01-01T00:00:00Z", 2208988800 << 32},
		{"2027-01-05T07:00:00.5Z", 4008121200<<32 | 1<<31},
		{"2036-02-07T06:28:15.999999999Z", 0xffffffff_fffffffb},
		{"2036-02-07T06:28:16Z", 1}, // zero is no time
		{"2036-02-07T06:28:17Z", 1 << 32},
		{"2100-01-01T00:00:00Z", 2016466304 << 32}, // of era 1
	} {
		at, err := time.Parse(time.RFC3339Nano, tt.time)
		if err != nil {
			t.Fatal(err)
		}
		if got := stampOf(at); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.time, uint64(got), uint64(tt.want))
		}
	}
	if got := stampOf(time.Time{}); got != 0 {
		t.Errorf("no time: %#x", uint64(got))
	}
}

// Stamps of two times are as far apart as these, over the end of an era as well.
func TestStampSub(t *testing.T) {
	end := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		a := end.Add(time.Duration(rapid.Int64Range(-1e18, 1e18).Draw(t, "a")))
		b := a.Add(time.Duration(rapid.Int64Range(-2e18, 2e18).Draw(t, "b")))
		if got, want := stampOf(b).sub(stampOf(a)), b.Sub(a); got < want-2 || got > want+2 {
			t.Errorf("%v − %v is %v, want %v", b, a, got, want)
		}
	})
}

func TestShort(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want short
	}{
		{-time.Second, 0},
		{0, 0},
		{1, 1}, // never less
		{time.Second, 1 << 16},
		{15259 * time.Nanosecond, 2},
		{65535 * time.Second, 65535 << 16},
		{65536 * time.Second, math.MaxUint32},
		{math.MaxInt64, math.MaxUint32},
	} {
		if got := shortOf(tt.d); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.d, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := short(rapid.Uint32().Draw(t, "s"))
		d := s.duration()
		if got := shortOf(d); got != s {
			t.Errorf("%d is %v is %d", s, d, got)
		}
		if shortOf(d+1) < s {
			t.Errorf("%v is less than %v", d+1, d)
		}
	})
}

// What was read is written the same, bit for bit.
func TestHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), headerSize, headerSize).Draw(t, "packet")
		h := parseHeader(b)
		var got [headerSize]byte
		h.put(got[:])
		if string(got[:]) != string(b) {
			t.Errorf("%x\nis %+v\nis %x", b, h, got)
		}
	})
}
