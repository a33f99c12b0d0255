package proxy

import (
	"net"
	"net/netip"
	"testing"

	"tillgate/internal/storelab"
)

func TestOriginalDstWithoutRedirect(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, c := connect(t, l)
		if dst, ok := originalDst(c); ok {
			t.Errorf("%s: a connection to %v is taken for a redirected one to %v", address, c.LocalAddr(), dst)
		}
		c.Close()
		if dst, ok := originalDst(c); ok {
			t.Errorf("%s: a closed connection was going to %v", address, dst)
		}
	}
}

func TestOriginalDst(t *testing.T) {
	store := storelab.New(t, storelab.Config{})
	till := store.Terminal(t, "sunmi")
	_, err := store.Box.Run(t.Context(), "nft", `
		table inet test {
			chain prerouting {
				type nat hook prerouting priority dstnat
				tcp dport { 80, 443 } redirect to :3129
			}
		}`)
	if err != nil {
		t.Fatal(err)
	}
	box := func(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

	for _, listen := range []struct {
		network, address string
		to               []string
	}{
		{"tcp", ":3129", []string{
			"45.60.9.9:443", "[2a02:26f0:9::9]:443", "45.60.9.9:80",
			box(till.Box4, 443), box(till.Box6, 443), // asked for the box, and redirected
		}},
		{"tcp4", ":3129", []string{"198.51.100.7:80"}},
		{"tcp6", "[::]:3129", []string{"[2001:db8::7]:80"}},
	} {
		l, err := store.Box.Listen(t.Context(), listen.network, listen.address)
		if err != nil {
			t.Fatal(err)
		}
		accept := func(to string) *net.TCPConn {
			c, err := till.Dial(t.Context(), "tcp", to)
			if err != nil {
				t.Fatalf("%s: %v", listen.network, err)
			}
			defer c.Close()
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s.(*net.TCPConn)
		}
		for _, to := range listen.to {
			dst, ok := originalDst(accept(to))
			if !ok || dst.String() != to {
				t.Errorf("%s: going to %s, told %v, %v", listen.network, to, dst, ok)
			}
		}
		straight := box(till.Box6, 3129)
		if listen.network == "tcp4" {
			straight = box(till.Box4, 3129)
		}
		if dst, ok := originalDst(accept(straight)); ok {
			t.Errorf("%s: a connection to %s is taken for a redirected one to %v", listen.network, straight, dst)
		}
		l.Close()
	}
}
