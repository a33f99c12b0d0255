package proxy

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// noise is what a seed makes of n bytes, and their sum.
func noise(n int64) (io.Reader, hash.Hash) {
	sum := sha256.New()
	return io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), n), sum), sum
}

func TestTunnelBulk(t *testing.T) {
	size := int64(2 << 30)
	if testing.Short() || raceDetector() {
		size = 256 << 20
	}
	before, pipes := pipesWithoutUse(t), 0
	r := newRig(t, "", time.Hour).start(t)
	from, sent := noise(size)
	failed := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{r.server}, from, make([]byte, 1<<20))
		r.server.CloseWrite()
		failed <- err
	}()
	got := sha256.New()
	var n int64
	var err error
	for err == nil {
		var more int64
		more, err = io.CopyN(got, r.client, size/16)
		n += more
		pipes = max(pipes, descriptors(t, "pipe:"))
	}
	r.client.Close()
	if err == io.EOF {
		err = nil
	}
	if pipes <= before {
		t.Error("no pipe: the bytes were not spliced")
	}
	if err != nil || n != size {
		t.Errorf("%d bytes of %d, %v", n, size, err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Error("what arrived is not what was sent")
	}
	if end := r.wait(t); end != (tunnelEnd{Down: uint64(size), By: byServer}) {
		t.Errorf("%+v", end)
	}
}

// To pass on a message makes no garbage.
func TestTunnelAllocs(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector allocates")
	}
	r := newRig(t, "", time.Hour).start(t)
	buf := make([]byte, 1000)
	turn := func() {
		for _, way := range [][2]*net.TCPConn{{r.client, r.server}, {r.server, r.client}} {
			if _, err := way[0].Write(buf); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(way[1], buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.cancel(nil)
	r.wait(t)
}

func BenchmarkTunnel(b *testing.B) {
	for _, through := range []bool{false, true} {
		name := "direct"
		if through {
			name = "tunnel"
		}
		b.Run(name, func(b *testing.B) {
			var from, to *net.TCPConn
			if through {
				r := newRig(b, "", time.Hour).start(b)
				from, to = r.server, r.client
			} else {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				from, to = connect(b, l)
			}
			chunk := make([]byte, 1<<20)
			b.SetBytes(int64(len(chunk)))
			go func() {
				for range b.N {
					from.Write(chunk)
				}
				from.CloseWrite()
			}()
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{to}, make([]byte, 1<<20)); err != nil || n != int64(b.N)<<20 {
				b.Error(n, err)
			}
		})
	}
}
