package proxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"
)

// Both sides speak at the moments at which the tunnel goes to rest, and wakes.
func TestRestHammer(t *testing.T) {
	p := parkingFor(t)
	const messages = 300
	for range 4 {
		r := newRestingRig(t, p, "", time.Hour)
		var total [2]uint64
		done := make(chan error, 4)
		for i, way := range [][2]*net.TCPConn{{r.client, r.server}, {r.server, r.client}} {
			lengths := rand.New(rand.NewPCG(uint64(i), 3))
			var text bytes.Buffer
			var ends []int
			for range messages {
				n := 1 + lengths.IntN(100)
				if lengths.IntN(10) == 0 {
					n += 3 * messageSize
				}
				io.CopyN(&text, rand.NewChaCha8([32]byte{byte(n), byte(i)}), int64(n))
				ends = append(ends, text.Len())
			}
			total[i] = uint64(text.Len())
			go func() {
				from := 0
				for i, to := range ends {
					if i%3 == 0 {
						for range 1000 * (i % 5) { // about as long as it is until it rests
							if i%2 == 0 && r.parked() {
								break
							}
							runtime.Gosched()
						}
					}
					if _, err := way[0].Write(text.Bytes()[from:to]); err != nil {
						done <- err
						return
					}
					from = to
				}
				done <- way[0].CloseWrite()
			}()
			go func() {
				got, err := io.ReadAll(way[1])
				if err == nil && !bytes.Equal(got, text.Bytes()) {
					err = io.ErrUnexpectedEOF
				}
				done <- err
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := r.wait(t); got.Up != total[0] || got.Down != total[1] || got.Why != "" {
			t.Errorf("%+v, want %v bytes", got, total)
		}
	}
}

// A tunnel at rest keeps nothing of the connections that it had, also if it moved much.
func TestRestKeepsNothing(t *testing.T) {
	p := parkingFor(t)
	conn := p.conn
	var had []weak.Pointer[net.TCPConn]
	p.conn = func(fd int) (*net.TCPConn, error) {
		c, err := conn(fd)
		had = append(had, weak.Make(c))
		return c, err
	}
	r := newRestingRig(t, p, "", time.Hour)
	r.atRest() // from here on the connections are those of p
	for _, way := range [][2]*net.TCPConn{{r.client, r.server}, {r.server, r.client}} {
		wrote := make(chan error, 1)
		go func() {
			_, err := io.WriteString(way[0], stuckBy)
			wrote <- err
		}()
		hear(t, way[1], stuckBy)
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	}
	r.atRest()
	kept := func(c weak.Pointer[net.TCPConn]) bool { return c.Value() != nil }
	for n := 0; slices.ContainsFunc(had, kept); n++ {
		if n == 100 {
			t.Fatal("a connection is kept that was closed")
		}
		runtime.GC()
	}
	if len(had) == 0 {
		t.Error("it has not rested")
	}
}
