package proxy

import (
	"net"
	"testing"
)

// connect returns both ends of a connection to l, closed with the test.
func connect(t testing.TB, l net.Listener) (far, near *net.TCPConn) {
	t.Helper()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return d.(*net.TCPConn), a.(*net.TCPConn)
}
