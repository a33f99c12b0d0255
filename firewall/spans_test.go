package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tillgate/policy"
)

// TestSpans compares the spans with what the policy says of each address.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := drawSet(t)
		spans := flatten(set.Classes())
		for i, s := range spans {
			if s.last.Less(s.first) || i > 0 && !spans[i-1].last.Less(s.first) {
				t.Fatalf("%v after %v", s, spans[max(i-1, 0)])
			}
		}
		for range 50 {
			a := drawAddr(t)
			var got *policy.Class
			for _, s := range spans {
				if s.first.Compare(a) <= 0 && a.Compare(s.last) <= 0 && s.first.Is4() == a.Is4() {
					got = s.class
				}
			}
			if want := set.Class(a, ""); got != want {
				t.Fatalf("%v: %v, want %v", a, got, want)
			}
		}
	})
}

// drawAddr draws from so few that networks of them are within each other.
func drawAddr(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "v6") {
		b := [16]byte{0xfd, 0x10, 15: rapid.Byte().Draw(t, "low")}
		b[2] = rapid.SampledFrom([]byte{0, 1, 255}).Draw(t, "high")
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte{10, rapid.SampledFrom([]byte{20, 21}).Draw(t, "second"),
		rapid.SampledFrom([]byte{0, 1, 255}).Draw(t, "third"), rapid.Byte().Draw(t, "low")})
}

func drawSet(t *rapid.T) *policy.Set {
	var text strings.Builder
	text.WriteString("version: 1\nclasses:\n")
	taken := make(map[netip.Prefix]bool)
	for i := range rapid.IntRange(1, 4).Draw(t, "classes") {
		var networks []string
		for range rapid.IntRange(1, 4).Draw(t, "networks") {
			a := drawAddr(t)
			p, _ := a.Prefix(a.BitLen() - rapid.IntRange(0, 20).Draw(t, "host bits"))
			if !taken[p] {
				taken[p] = true
				networks = append(networks, `"`+p.String()+`"`)
			}
		}
		mode := rapid.SampledFrom([]string{"enforce", "observe"}).Draw(t, "mode")
		fmt.Fprintf(&text, "  c%d: {networks: [%s], interfaces: [eth%d], services: [payxpert/emv], mode: %s}\n", i, strings.Join(networks, ", "), i, mode)
	}
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text.String())}})
	if err != nil {
		t.Fatalf("%v\n%s", err, &text)
	}
	return set
}
