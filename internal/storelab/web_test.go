package storelab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The box itself is the client here: it reaches the Internet without any program.
func TestWeb(t *testing.T) {
	s := New(t, Config{Names: []string{"dns.google", "api.eu.sunmi.com", "www.qualcomm.cn"}})
	web := s.Web(t, "dns.google", "api.eu.sunmi.com", "www.qualcomm.cn")
	a4, a6 := s.Internet.Addr(t, "api.eu.sunmi.com")
	s.Internet.Called(t)
	for _, tt := range []struct {
		url  string
		addr netip.Addr
		want string
	}{
		{"https://api.eu.sunmi.com/a?b", a4, "served api.eu.sunmi.com /a?b"},
		{"http://api.eu.sunmi.com/c", a6, "served api.eu.sunmi.com /c"},
		// Who answers is told by the address, and not by what is asked for.
		{"http://www.qualcomm.cn/d", a4, "served api.eu.sunmi.com /d"},
	} {
		got, err := s.Box.Run(t.Context(), "curl", "-sS", "--cacert", s.CA.File, "--connect-to", "::"+netip.AddrPortFrom(tt.addr, port(tt.url)).String(), tt.url)
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.url, got, err, tt.want)
		}
	}
	web.WaitFor(t, "/d")
	want := []string{
		"api.eu.sunmi.com:443 GET https://api.eu.sunmi.com/a?b",
		"api.eu.sunmi.com:80 GET http://api.eu.sunmi.com/c",
		"api.eu.sunmi.com:80 GET http://www.qualcomm.cn/d",
	}
	if diff := cmp.Diff(want, web.Seen()); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}

	s.Box.Run(t.Context(), "curl", "-sS", "--max-time", "1", "http://"+netip.AddrPortFrom(a4, 81).String())
	calls := map[netip.AddrPort]bool{netip.AddrPortFrom(a4, 443): true, netip.AddrPortFrom(a6, 80): true,
		netip.AddrPortFrom(a4, 80): true, netip.AddrPortFrom(a4, 81): true}
	if diff := cmp.Diff(calls, s.Internet.Called(t), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("called (-want +got):\n%s", diff)
	}
	if again := s.Internet.Called(t); len(again) != 0 {
		t.Errorf("called since: %v", again)
	}
}

func port(url string) uint16 {
	if url[4] == 's' {
		return 443
	}
	return 80
}
