package proxy

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestMeter measures what comes on a connection: by windows of their least length and more,
// and without what had come before.
func TestMeter(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := &stream{src: conn.(*net.TCPConn)}
	var fastest atomic.Uint64
	m := meter{fastest: &fastest}
	const most = 20_000 // bytes that the kernel takes at once
	// come has so many bytes come that are not read yet.
	come := func(n int) {
		t.Helper()
		before := unread(s.src)
		if _, err := server.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); unread(s.src) < before+uint64(n); {
			if time.Now().After(end) {
				t.Fatal("the bytes do not come")
			}
		}
	}
	// pass passes on so many of them.
	pass := func(n int) {
		t.Helper()
		if _, err := io.ReadFull(conn, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		s.bytes += uint64(n)
	}
	want := func(now time.Duration, bps uint64) {
		t.Helper()
		m.moved(s, now)
		if got := fastest.Load(); got != bps {
			t.Errorf("at %v: %d bit/s, want %d", now, got, bps)
		}
	}

	come(most)
	want(time.Second, 0) // the first window begins, with bytes that wait
	pass(most)
	want(2*time.Second, 0) // they came before it
	come(10_000)
	pass(10_000)
	want(2*time.Second+meterWindow-1, 0) // too short
	want(3*time.Second, 80_000)
	come(most) // that wait at the end of the window came in it
	want(4*time.Second, 160_000)
	pass(most)
	come(1000)
	pass(1000)
	want(5*time.Second, 160_000) // the fastest stays
	want(time.Hour, 160_000)     // and a pause is no speed
	for range meterBytes / 16384 {
		come(16384)
		pass(16384)
	}
	want(time.Hour+10*time.Millisecond, meterBytes*8*100) // enough to tell before the window's time
	come(most)
	want(time.Hour+time.Minute, meterBytes*8*100)
	want(time.Hour+time.Minute+20*time.Millisecond, meterBytes*8*100) // what waited before it ends nothing

	var nobody meter
	nobody.moved(s, time.Second) // who does not want to know is not told
}
