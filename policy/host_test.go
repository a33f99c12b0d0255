package policy

import (
	"strings"
	"testing"
)

func TestHostPattern(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"example.com", "example.com"},
		{"Example.COM.", "example.com"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example", "xn--bcher-kva.example"},
		{"faß.de", "xn--fa-hia.de"}, // not fass.de: UTS 46 without the transitional mapping
		{"ＦＯＯ。example", "foo.example"},
		{"_mqtt.example", "_mqtt.example"},
		{"r3---sn.example", "r3---sn.example"},
		{"localhost", "localhost"},
		{"*.example.com", "*.example.com"},
		{"*.Bücher.example", "*.xn--bcher-kva.example"},
		{"S-*.firebaseio.com", "s-*.firebaseio.com"},
		{"s*.lan", "s*.lan"},
		{"*.appspot.com", "*.appspot.com"},
		{"*.lan", "*.lan"},
	} {
		if got, err := HostPattern(tt.in); err != nil || got != tt.want {
			t.Errorf("HostPattern(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", ".", "*", "*.", "**.example", "*-a.example", "s-*", "s-*example", "ü*.example", "-*.example",
		"a.s-*.example", "xn--zz--a.example", "a\u200db.example", "*.1.2.3.4", "*.uk", "*.com.", "s-*.appspot.1",
		strings.Repeat("a", 63) + "*.example", "*." + strings.Repeat("abcdefg.", 32)} {
		if got, err := HostPattern(in); err == nil {
			t.Errorf("HostPattern(%q) = %q, want an error", in, got)
		}
	}
}

func TestPatternMatches(t *testing.T) {
	for _, tt := range []struct {
		host string
		yes  []string
		no   []string
	}{
		{"x.example", []string{"x.example"}, []string{"example", "y.x.example", "yx.example", ""}},
		{"*.x.example", []string{"a.x.example", "b.a.x.example"}, []string{"x.example", "ax.example", "example", ""}},
		{"s-*.x.example", []string{"s-1.x.example", "s-x.x.example"},
			[]string{"x.example", "t-1.x.example", "a.s-1.x.example", "s-1.y.x.example", "s-1.ax.example"}},
	} {
		p := parseHost(tt.host)
		for _, name := range tt.yes {
			if !p.matches(name) {
				t.Errorf("%s is not for %q", tt.host, name)
			}
		}
		for _, name := range tt.no {
			if p.matches(name) {
				t.Errorf("%s is for %q", tt.host, name)
			}
		}
	}
}
