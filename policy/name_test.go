package policy

import (
	"strings"
	"testing"
)

func TestWireName(t *testing.T) {
	label63, label64 := strings.Repeat("a", 63), strings.Repeat("a", 64)
	name253 := strings.Repeat(label63+".", 3) + strings.Repeat("a", 61)
	for _, tt := range []struct {
		in, want string
		ok       bool
	}{
		{"", "", true},
		{".", "", true},
		{"com", "com", true},
		{"example.com", "example.com", true},
		{"Example.COM", "example.com", true},
		{"example.com.", "example.com", true},
		{"EXAMPLE.com.", "example.com", true},
		{"_dns.resolver.arpa", "_dns.resolver.arpa", true},
		{"a_b.example", "a_b.example", true},
		{"r3---sn.example", "r3---sn.example", true},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", true},
		{"0.0", "0.0", true}, // a literal, but well formed: Decide says so
		{label63 + ".example", label63 + ".example", true},
		{name253, name253, true},
		{name253 + ".", name253, true},

		{"..", "", false},
		{"example.com..", "", false},
		{".example.com", "", false},
		{"a..b", "", false},
		{"-a.example", "", false},
		{"a-.example", "", false},
		{"a.-", "", false},
		{label64 + ".example", "", false},
		{name253 + "a", "", false},
		{"a b.example", "", false},
		{"a\x00.example", "", false},
		{"*.example", "", false},
		{"bücher.example", "", false},
		{"\u212aelvin.example", "", false}, // KELVIN SIGN, which strings.ToLower makes a k
		{"a/b", "", false},
		{"2001:db8::1", "", false},
		{"example.com:443", "", false},
	} {
		got, ok := WireName(tt.in)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("WireName(%q) = %q, %v, want %q, %v", tt.in, got, ok, tt.want, tt.ok)
		}
		appended, ok := AppendWireName([]byte("x"), []byte(tt.in))
		if ok != tt.ok || ok && string(appended) != "x"+tt.want {
			t.Errorf("AppendWireName(%q) = %q, %v, want %q, %v", tt.in, appended, ok, "x"+tt.want, tt.ok)
		}
	}
}

func TestIsLiteral(t *testing.T) {
	for _, name := range []string{"1.2.3.4", "127.1", "2130706433", "0x7f000001", "0x", "0x7f.1", "1.0x2", "example.123",
		"::1", "2001:db8::1", "[2001:db8::1]", "::ffff:192.0.2.1", "00000", "999.999"} {
		if !IsLiteral(name) {
			t.Errorf("%q is not taken for an address", name)
		}
	}
	for _, name := range []string{"", ".", "example.com", "1.example", "4.3.2.1.in-addr.arpa", "0xg", "x0", "1a", "a:b", "123.example.", "dead.beef"} {
		if IsLiteral(name) {
			t.Errorf("%q is taken for an address", name)
		}
	}
}

func TestWireNameAllocates(t *testing.T) {
	name := []byte("Some.Name.Example.COM.")
	buf := make([]byte, 0, 256)
	for _, tt := range []struct {
		what string
		f    func()
	}{
		{"a canonical name", func() { WireName("some.name.example.com") }},
		{"a dot at the end", func() { WireName("some.name.example.com.") }},
		{"a bad name", func() { WireName("some name") }},
		{"appending", func() { AppendWireName(buf, name) }},
	} {
		if n := testing.AllocsPerRun(100, tt.f); n != 0 {
			t.Errorf("%s: %v allocations", tt.what, n)
		}
	}
}

func FuzzWireName(f *testing.F) {
	for _, s := range []string{"", ".", "example.com", "EXAMPLE.com.", "a..b", "-a", "1.2.3.4", "bücher.example", "*.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := WireName(s)
		if !ok {
			return
		}
		if again, ok := WireName(name); !ok || again != name {
			t.Errorf("%q: %q is not canonical: %q, %v", s, name, again, ok)
		}
		if len(name) > 253 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Errorf("%q: %q is no host name", s, name)
		}
		if strings.TrimSuffix(strings.ToLower(s), ".") != name {
			t.Errorf("%q became another name: %q", s, name)
		}
	})
}
