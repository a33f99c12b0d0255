package proxy

import (
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkIdleTunnels says what a tunnel costs that has been used and is now
// idle: what the process has of memory, and what of that is Go's.
func BenchmarkIdleTunnels(b *testing.B) {
	const n = 2000
	for b.Loop() {
		rss, inUse := idleTunnels(b, n, nil)
		b.ReportMetric(rss/n/1024, "KB-RSS/tunnel")
		b.ReportMetric(inUse/n/1024, "KB-Go/tunnel")
	}
}

func TestIdleTunnelMemory(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector has memory of its own")
	}
	const n = 500
	if _, inUse := idleTunnels(t, n, nil); inUse/n > 8<<10 {
		t.Errorf("%.0f bytes a tunnel", inUse/n)
	}
	if _, inUse := idleTunnels(t, n, parkingFor(t)); inUse/n > 3<<10 {
		t.Errorf("%.0f bytes a tunnel at rest", inUse/n)
	}
}

// idleTunnels returns what n tunnels add to the process's memory, at rest if they are
// parked. Those whom they connect are bare sockets, which cost it nothing.
func idleTunnels(t testing.TB, n int, p *parking) (rss, inUse float64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	dial := func() (fd int, c *net.TCPConn) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return fd, a.(*net.TCPConn)
	}
	var running sync.WaitGroup
	fds := make([]int, 0, 2*n)
	defer func() {
		running.Wait()
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()

	rss, inUse = memory(t)
	beginSmallStacks()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection while tunnels are at work would undo that
	for range n {
		clientFD, client := dial()
		serverFD, server := dial()
		fds = append(fds, clientFD, serverFD)
		running.Add(1)
		tunnel := newTunnel(client, server, make([]byte, 2000), time.Hour)
		tunnel.rest.parking = p
		tunnel.begin(func(tunnelEnd) { running.Done() })
		defer tunnel.cut(nil)
		buf := make([]byte, 2000)
		for got := 0; got < 2000; {
			n, err := unix.Read(serverFD, buf)
			if n <= 0 {
				t.Fatal(n, err)
			}
			got += n
		}
		for range 3 {
			for _, way := range [][2]int{{clientFD, serverFD}, {serverFD, clientFD}} {
				if _, err := unix.Write(way[0], buf[:100]); err != nil {
					t.Fatal(err)
				}
				if got, err := unix.Read(way[1], buf); got != 100 {
					t.Fatal(got, err)
				}
			}
		}
	}
	for p != nil && p.resting() < n {
		runtime.Gosched()
	}
	r, i := memory(t)
	return r - rss, i - inUse
}

// beginSmallStacks has Go begin the stacks of goroutines at the least size. It takes that of
// those that it found on average at the last collection, which here is chance.
func beginSmallStacks() {
	var parked sync.WaitGroup
	stop := make(chan struct{})
	for range 1000 {
		parked.Go(func() { <-stop })
	}
	runtime.GC()
	close(stop)
	parked.Wait()
}

// memory is what the process has, and what Go's heap and stacks have, in bytes.
func memory(t testing.TB) (rss, inUse float64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return float64(pages * os.Getpagesize()), float64(m.HeapAlloc + m.StackInuse)
}
