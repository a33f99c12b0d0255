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
			queries, reply := [][]byte{{0, 'q'}, {1, 'q'}}, make([]byte, 64)
			round := func() {
				for i, c := range clients {
					c.Write(queries[i])
				}
				for answered := 0; answered < len(clients); {
					packets, err := b.Read()
					if err != nil {
						t.Fatal(err)
					}
					answered += len(packets)
					for i := range packets {
						p := &packets[i]
						from := clients[p.Data[0]].LocalAddr().(*net.UDPAddr)
						if p.From.Port() != uint16(from.Port) || len(p.Data) != 2 || p.Cut {
							t.Fatalf("read %x from %v, cut: %v", p.Data, p.From, p.Cut)
						}
						p.Reply = append(p.Reply, p.Data[0], 'r')
					}
					if n := b.Send(); n != 0 {
						t.Fatalf("%d are not sent", n)
					}
				}
				for i, c := range clients {
					if n, err := c.Read(reply); err != nil || n != 2 || reply[0] != byte(i) || reply[1] != 'r' {
						t.Fatalf("client %d reads %x, %v", i, reply[:n], err)
					}
				}
			}
			round()
			p := b.packets[0]
			if p.From.Addr() != netip.MustParseAddr(tt.from) || p.Info.Local != netip.MustParseAddr(tt.to) || p.Info.Interface == 0 {
				t.Errorf("from %v, %+v", p.From, p.Info)
			}
			// The machine's clock may be anything, and may step; not to another epoch in a test.
			if age := time.Since(p.Info.Stamp); age < -time.Hour || age > time.Hour {
				t.Errorf("came %v ago", age)
			}
			if n := testing.AllocsPerRun(20, round); n > 0 {
				t.Errorf("%v allocations a round", n)
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
	for range 2 {
		packets, err := b.Read()
		if err != nil {
			t.Fatal(err)
		}
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
	}
	if want := "0false 64false 64true 1false 2false 3false 4false 5false | 6false | "; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	reply := make([]byte, 64)
	for _, want := range []int{5, 6} { // once each
		if n, err := client.Read(reply); n != want || err != nil {
			t.Errorf("%d bytes, %v; want %d", n, err, want)
		}
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
	packets, err := b.Read()
	if len(packets) != size || err != nil {
		t.Fatalf("%d packets, %v", len(packets), err)
	}
	for i := range packets {
		packets[i].Reply = packets[i].Data
	}
	packets[0].Reply = make([]byte, 1<<16) // more than UDP can carry
	packets[2].Reply = make([]byte, 1<<16)
	if n := b.Send(); n != 2 {
		t.Errorf("%d are not sent, want 2", n)
	}
	reply := make([]byte, 64)
	for _, want := range []byte{1, 3} {
		if n, err := client.Read(reply); n != 1 || reply[0] != want || err != nil {
			t.Errorf("%x, %v; want %x", reply[:n], err, want)
		}
	}

	client.Write([]byte("late"))
	packets, err = b.Read()
	if err != nil {
		t.Fatal(err)
	}
	packets[0].Reply = packets[0].Data
	conn.Close()
	if n := b.Send(); n != 1 {
		t.Errorf("by a socket that is closed %d are not sent", n)
	}
}

// Who waits for packets stops at the deadline, and so does who is never without one.
func TestBatchDeadline(t *testing.T) {
	conn, b := batch(t, "udp4", "127.0.0.1:0")
	ended := make(chan error)
	go func() {
		_, err := b.Read()
		ended <- err
	}()
	conn.SetReadDeadline(time.Unix(0, 1))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	dial(t, "127.0.0.1", "127.0.0.1", port(conn)).Write([]byte("x"))
	if _, err := b.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with a packet to read: %v", err)
	}
	conn.Close()
	if _, err := b.Read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A packet that is read and answered, of 8 that two sockets send to and fro.
func BenchmarkBatch(b *testing.B) {
	one, ones := batch(b, "udp4", "127.0.0.1:0")
	other, others := batch(b, "udp4", "127.0.0.1:0")
	const packets = 8
	for range packets {
		one.WriteToUDPAddrPort(make([]byte, 50), other.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	for n := 0; n < b.N; n += packets {
		from := others
		if n&packets != 0 {
			from = ones
		}
		packets, err := from.Read()
		if err != nil {
			b.Fatal(err)
		}
		for i := range packets {
			packets[i].Reply = append(packets[i].Reply, packets[i].Data...)
		}
		if from.Send() != 0 {
			b.Fatal("not sent")
		}
	}
}

// The same, one by one.
func BenchmarkSender(b *testing.B) {
	one, ones := sender(b, "udp4", "127.0.0.1:0")
	other, others := sender(b, "udp4", "127.0.0.1:0")
	one.WriteToUDPAddrPort(make([]byte, 50), other.LocalAddr().(*net.UDPAddr).AddrPort())
	data, oob := make([]byte, 64), make([]byte, Size)
	for n := range b.N {
		conn, from := other, others
		if n%2 != 0 {
			conn, from = one, ones
		}
		size, oobn, _, peer, err := conn.ReadMsgUDPAddrPort(data, oob)
		if err != nil {
			b.Fatal(err)
		}
		info := Read(oob[:oobn])
		if err := from.Send(data[:size], info.Local, peer, info.Interface); err != nil {
			b.Fatal(err)
		}
	}
}
