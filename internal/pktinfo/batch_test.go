package pktinfo

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// batch returns a connection and a batch of up to 8 packets of it, of up to 64 bytes each.
func batch(t testing.TB, network, addr string) (*net.UDPConn, *Batch) {
	t.Helper()
	conn, _ := sender(t, network, addr)
	b, err := NewBatch(conn, 8, 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	return conn, b
}

// dial returns a connection that takes only what comes from the address that it dials.
func dial(t testing.TB, from, to string, port uint16) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)),
		net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func port(conn *net.UDPConn) uint16 { return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// serve has handle answer packets until stop is called, which waits for the end.
func serve(t testing.TB, conn *net.UDPConn, b *Batch, handle func([]Packet)) (stop func()) {
	t.Helper()
	ended := make(chan error)
	go func() { ended <- b.Serve(handle) }()
	return func() {
		t.Helper()
		conn.SetReadDeadline(time.Unix(0, 1))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("serving ends with %v", err)
		}
	}
}

// once has handle answer one batch, if it is not full.
func once(t testing.TB, conn *net.UDPConn, b *Batch, handle func([]Packet)) {
	t.Helper()
	err := b.Serve(func(packets []Packet) {
		handle(packets)
		conn.SetReadDeadline(time.Unix(0, 1))
	})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("serving ends with %v", err)
	}
	conn.SetReadDeadline(time.Time{})
}

// What is read says whom it is from, and where and when it came; the answers go back from
// there. Nothing of that allocates.
func TestBatch(t *testing.T) {
	for _, tt := range []struct{ network, listen, from, to string }{
		{"udp4", ":0", "127.0.0.9", "127.0.0.8"},
		{"udp4", "127.0.0.8:0", "127.0.0.9", "127.0.0.8"},
		{"udp6", "[::]:0", "::1", "::1"},
		{"udp6", "[::1]:0", "::1", "::1"},
	} {
		t.Run(tt.network+tt.listen, func(t *testing.T) {
			conn, b := batch(t, tt.network, tt.listen)
			raw, err := conn.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			Stamp(raw)
			clients := []*net.UDPConn{dial(t, tt.from, tt.to, port(conn)), dial(t, tt.from, tt.to, port(conn))}
			var last Packet
			stop := serve(t, conn, b, func(packets []Packet) {
				for i := range packets {
					p := &packets[i]
					last = *p
					p.Reply = append(p.Reply, p.Data[0], byte(p.From.Port()>>8), byte(p.From.Port()))
				}
				if n := b.Send(); n != 0 {
					t.Errorf("%d are not sent", n)
				}
			})
			queries, reply := [][]byte{{0, 'q'}, {1, 'q'}}, make([]byte, 64)
			round := func() {
				for i, c := range clients {
					c.Write(queries[i])
				}
				for i, c := range clients {
					at := port(c)
					if n, err := c.Read(reply); err != nil || n != 3 || reply[0] != byte(i) || reply[1] != byte(at>>8) || reply[2] != byte(at) {
						t.Fatalf("client %d reads %x, %v", i, reply[:n], err)
					}
				}
			}
			round()
			if n := testing.AllocsPerRun(20, round); n > 0 {
				t.Errorf("%v allocations a round", n)
			}
			stop()
			if last.From.Addr() != netip.MustParseAddr(tt.from) || last.Info.Local != netip.MustParseAddr(tt.to) || last.Info.Interface == 0 || last.Cut {
				t.Errorf("from %v, %+v, cut: %v", last.From, last.Info, last.Cut)
			}
			// The machine's clock may be anything, and may step; not to another epoch in a test.
			if age := time.Since(last.Info.Stamp); age < -time.Hour || age > time.Hour {
				t.Errorf("came %v ago", age)
			}
		})
	}
}

// As many packets are read at once as there are, up to the bound; what is longer than
// there is room for is cut, and what is empty is a packet too. Who gets no reply gets none.
func TestBatchSizes(t *testing.T) {
	conn, b := batch(t, "udp4", "127.0.0.1:0")
	client := dial(t, "127.0.0.1", "127.0.0.1", port(conn))
	for _, size := range []int{0, 64, 65, 1, 2, 3, 4, 5, 6} {
		if _, err := client.Write(bytes.Repeat([]byte("x"), size)); err != nil {
			t.Fatal(err)
		}
	}
	got := ""
	stop := serve(t, conn, b, func(packets []Packet) {
		for i := range packets {
			p := &packets[i]
			got += fmt.Sprintf("%d%v ", len(p.Data), p.Cut)
			if len(p.Data) == 5 || len(p.Data) == 6 {
				p.Reply = append(p.Reply, p.Data...)
			}
		}
		got += "| "
		if b.Send()+b.Send() != 0 {
			t.Error("a reply is not sent")
		}
	})
	reply := make([]byte, 64)
	for _, want := range []int{5, 6} { // once each
		if n, err := client.Read(reply); n != want || err != nil {
			t.Errorf("%d bytes, %v; want %d", n, err, want)
		}
	}
	stop()
	if want := "0false 64false 64true 1false 2false 3false 4false 5false | 6false | "; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

// A reply that can't be sent is counted and in nobody's way, wherever it stands.
func TestBatchUnsent(t *testing.T) {
	conn, b := batch(t, "udp4", "127.0.0.1:0")
	client := dial(t, "127.0.0.1", "127.0.0.1", port(conn))
	const size = 4
	for i := range size {
		client.Write([]byte{byte(i)})
	}
	once(t, conn, b, func(packets []Packet) {
		if len(packets) != size {
			t.Fatalf("%d packets", len(packets))
		}
		for i := range packets {
			packets[i].Reply = packets[i].Data
		}
		packets[0].Reply = make([]byte, 1<<16) // more than UDP can carry
		packets[2].Reply = make([]byte, 1<<16)
		if n := b.Send(); n != 2 {
			t.Errorf("%d are not sent, want 2", n)
		}
	})
	reply := make([]byte, 64)
	for _, want := range []byte{1, 3} {
		if n, err := client.Read(reply); n != 1 || reply[0] != want || err != nil {
			t.Errorf("%x, %v; want %x", reply[:n], err, want)
		}
	}

	client.Write([]byte("late"))
	once(t, conn, b, func(packets []Packet) { packets[0].Reply = packets[0].Data })
	conn.Close()
	if n := b.Send(); n != 1 {
		t.Errorf("by a socket that is closed %d are not sent", n)
	}
}

// Who waits for packets stops at the deadline, and so does who is never without any: each
// reply is the next packet here.
func TestBatchDeadline(t *testing.T) {
	conn, b := batch(t, "udp4", "127.0.0.1:0")
	serve(t, conn, b, nil)()

	conn.SetReadDeadline(time.Time{})
	self := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	for range 3 * len(b.packets) {
		conn.WriteToUDPAddrPort([]byte("x"), self)
	}
	full := make(chan struct{}, 1)
	stop := serve(t, conn, b, func(packets []Packet) {
		for i := range packets {
			packets[i].Reply = packets[i].Data
		}
		b.Send()
		if len(packets) == len(b.packets) {
			select {
			case full <- struct{}{}:
			default:
			}
		}
	})
	<-full
	stop()
	conn.Close()
	if err := b.Serve(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A packet that comes while another is answered waits for nothing: here each is the answer
// to the one before.
func TestBatchMissesNothing(t *testing.T) {
	conn, b := batch(t, "udp4", "127.0.0.1:0")
	self := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	const rounds = 10000
	round, done := 0, make(chan struct{})
	conn.WriteToUDPAddrPort([]byte("x"), self)
	stop := serve(t, conn, b, func(packets []Packet) {
		if round++; round == rounds {
			close(done)
			return
		}
		packets[0].Reply = packets[0].Data
		b.Send()
	})
	<-done
	stop()
}

// A packet that is read and answered, of 8 that a socket sends itself.
func BenchmarkBatch(b *testing.B) {
	conn, echo := batch(b, "udp4", "127.0.0.1:0")
	for range len(echo.packets) {
		conn.WriteToUDPAddrPort(make([]byte, 50), conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	n, done := 0, make(chan struct{})
	b.ReportAllocs()
	b.ResetTimer()
	stop := serve(b, conn, echo, func(packets []Packet) {
		if n += len(packets); n >= b.N {
			close(done)
			return
		}
		for i := range packets {
			packets[i].Reply = append(packets[i].Reply, packets[i].Data...)
		}
		echo.Send()
	})
	<-done
	b.StopTimer()
	stop()
}

// The same, one by one.
func BenchmarkSender(b *testing.B) {
	conn, s := sender(b, "udp4", "127.0.0.1:0")
	conn.WriteToUDPAddrPort(make([]byte, 50), conn.LocalAddr().(*net.UDPAddr).AddrPort())
	data, oob := make([]byte, 64), make([]byte, Size)
	b.ReportAllocs()
	for b.Loop() {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(data, oob)
		if err != nil {
			b.Fatal(err)
		}
		info := Read(oob[:oobn])
		if err := s.Send(data[:n], info.Local, from, info.Interface); err != nil {
			b.Fatal(err)
		}
	}
}
