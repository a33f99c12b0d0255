package proxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// forgetful takes records as the journal takes those of a busy till: most are counted.
type forgetful struct{}

func (forgetful) Repeat(decision.Key) bool { return true }
func (forgetful) Record(decision.Record)   {}

// BenchmarkConnect is the life of a tunnel: CONNECT, the decision, the hello, one exchange
// and the end. The client and the origin are the benchmark's own.
func BenchmarkConnect(b *testing.B) {
	set, err := policy.Compile([]policy.File{
		{Name: "policy.yaml", Data: []byte(sitePolicy)},
		{Name: "packs/lab.yaml", Data: []byte(sitePack)},
	})
	if err != nil {
		b.Fatal(err)
	}
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer origin.Close()
	go func() {
		buf := make([]byte, 4<<10)
		for {
			c, err := origin.Accept()
			if err != nil {
				return
			}
			n, _ := c.Read(buf)
			c.Write(buf[:n])
			c.Read(buf)
			c.Close()
		}
	}()
	p := New(Config{
		Listen:         []string{"127.0.0.1:0"},
		ConnectTimeout: time.Minute, HelloTimeout: time.Minute, IdleTimeout: time.Hour,
		Tunnels: 100, TunnelsPerClient: 100,
	}, Deps{
		Policy:  func() *policy.Set { return set },
		Lookup:  func(context.Context, string) ([]netip.Addr, error) { return addrs("8.8.0.1"), nil },
		NamesOf: func(_, _ netip.Addr) []string { return nil },
		Trusted: func() time.Time { return time.Time{} },
		Records: forgetful{},
		Log:     slog.New(slog.DiscardHandler),
	})
	p.dialTCP = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		return dialTCP(ctx, origin.Addr().(*net.TCPAddr).AddrPort())
	}
	if err := p.Listen(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx) }()
	defer func() {
		stop()
		<-served
	}()
	explicit, _ := p.Addrs()
	client := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fromTill)}}
	buf := make([]byte, len(goodHello))
	b.ReportAllocs()
	for b.Loop() {
		c, err := client.Dial("tcp", explicit[0].String())
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(c, "CONNECT api.pay.example:443 HTTP/1.1\r\nHost: api.pay.example:443\r\n\r\n")
		if _, err := io.ReadFull(c, buf[:len("HTTP/1.1 200 Connection established\r\n\r\n")]); err != nil {
			b.Fatal(err)
		}
		c.Write(goodHello)
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}
