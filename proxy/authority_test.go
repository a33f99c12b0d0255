package proxy

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"tillgate/policy"
)

func TestParseAuthority(t *testing.T) {
	long := strings.Repeat("a", 400)
	for _, tt := range []struct {
		in   string
		want authority
	}{
		{"api.pay.example:443", authority{"api.pay.example", 443, true, true}},
		{"API.Pay.Example.:443", authority{"api.pay.example", 443, true, true}},
		{"api.pay.example", authority{"api.pay.example", 0, true, true}},
		{"_x.pay.example:1", authority{"_x.pay.example", 1, true, true}},
		{"api.pay.example:65535", authority{"api.pay.example", 65535, true, true}},
		{"1.2.3.4:443", authority{"1.2.3.4", 443, true, true}}, // an address, says the policy

		{"api.pay.example:", authority{"api.pay.example", 0, true, false}},
		{"api.pay.example:0", authority{"api.pay.example", 0, true, false}},
		{"api.pay.example:0443", authority{"api.pay.example", 0, true, false}},
		{"api.pay.example:65536", authority{"api.pay.example", 0, true, false}},
		{"api.pay.example:+443", authority{"api.pay.example", 0, true, false}},
		{"api.pay.example:4_4", authority{"api.pay.example", 0, true, false}},
		{"api.pay.example:https", authority{"api.pay.example", 0, true, false}},
		{"api.pay.example:443/x", authority{"api.pay.example", 0, true, false}},
		{"api.pay.example:443 ", authority{"api.pay.example", 0, true, false}},

		{"", authority{"", 0, false, true}},
		{".", authority{".", 0, false, true}},
		{":443", authority{"", 443, false, true}},
		{"a..b:443", authority{"a..b", 443, false, true}},
		{"api.pay.example..:443", authority{"api.pay.example..", 443, false, true}},
		{"-a.example:443", authority{"-a.example", 443, false, true}},
		{"user@api.pay.example:443", authority{"user@api.pay.example", 443, false, true}},
		{"user:443@api.pay.example", authority{"user:443@api.pay.example", 0, false, true}},
		{"api.pay.example\x00.evil:443", authority{"api.pay.example\x00.evil", 443, false, true}},
		{"api%2epay.example:443", authority{"api%2epay.example", 443, false, true}},
		{"bücher.example:443", authority{"bücher.example", 443, false, true}},
		{"[::1]:443", authority{"[::1]", 443, false, true}},
		{"[fe80::1%eth0]:443", authority{"[fe80::1%eth0]", 443, false, true}},
		{"::1", authority{"::1", 0, false, true}},
		{"2001:db8::1:443", authority{"2001:db8::1:443", 0, false, true}},
		{"a:80:443", authority{"a:80", 443, false, true}},
		{long + ":443", authority{long[:maxNoName], 443, false, true}},
	} {
		if got := parseAuthority(tt.in); got != tt.want {
			t.Errorf("%.50q: %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func FuzzConnectTarget(f *testing.F) {
	for _, s := range []string{
		"api.pay.example:443", "API.Pay.Example.:443", "[::1]:443", "1.2.3.4:80", "a@b:1", "a:b:1", ":1", "x:00443",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := parseAuthority(s)
		if len(a.name) > maxNoName {
			t.Fatalf("a name of %d bytes", len(a.name))
		}
		if name, ok := policy.WireName(a.name); a.named != (ok && name == a.name && name != "") {
			t.Fatalf("%q: named %v", s, a.named)
		}
		if !a.named || !a.valid || a.port == 0 {
			return
		}
		// What is taken has but one reading: another parser gives the same, and so does
		// what this one made of it.
		host, port, err := net.SplitHostPort(s)
		if err != nil || strings.TrimSuffix(strings.ToLower(host), ".") != a.name || port != strconv.Itoa(int(a.port)) {
			t.Fatalf("%q: %+v, but also %q %q, %v", s, a, host, port, err)
		}
		if again := parseAuthority(net.JoinHostPort(a.name, port)); again != a {
			t.Fatalf("%q: %+v, then %+v", s, a, again)
		}
	})
}
