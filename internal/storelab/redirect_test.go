package storelab

import (
	"net/netip"
	"testing"
)

func TestRedirect(t *testing.T) {
	s := New(t, Config{})
	s.Box.Redirect(t)
	l, err := s.Box.Listen(t.Context(), "tcp", ":3129")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	till := s.Terminal(t, "pos")
	for _, to := range []string{"45.60.9.9:443", "[2a02:26f0:45:61::99]:80", till.Box4.String() + ":443", "10.20.9.1:80"} {
		c, err := till.Dial(t.Context(), "tcp", to)
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		at, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := at.RemoteAddr().String(), c.LocalAddr().String(); got != want {
			t.Errorf("%s: the box took in %s, want %s", to, got, want)
		}
		at.Close()
		c.Close()
	}
	if _, err := till.Dial(t.Context(), "tcp", netip.AddrPortFrom(till.Box4, 8080).String()); err == nil {
		t.Error("a port that is not of the web is redirected")
	}
}
