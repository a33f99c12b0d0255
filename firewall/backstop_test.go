package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tillgate/policy"
)

// stops has the kernel's way with rules: of a packet from an address, in by an interface, to
// somewhere in the Internet.
func stops(rules []backRule, in string, from netip.Addr) bool {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b backRule) int { return int(a.pref) - int(b.pref) })
	for i := 0; i < len(rules); i++ {
		r := rules[i]
		if r.is4 != from.Is4() || r.in != "" && r.in != in || r.from.IsValid() && !r.from.Contains(from) || r.to.IsValid() {
			continue
		}
		switch r.action {
		case backStop:
			return true
		case backSkip: // without a place to skip to it is passed over
			if slices.ContainsFunc(rules, func(e backRule) bool { return e.is4 == r.is4 && e.action == backEnd }) {
				return false
			}
		}
	}
	return false
}

func drawRules(t *rapid.T) (*policy.Set, []backRule) {
	set := drawSet(t)
	r, err := Rules(set, ports)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := backstopOf(r.Text())
	if err != nil {
		t.Fatal(err)
	}
	return set, rules
}

// TestBackstop: what comes by an enforced class's interface, or from its network, has no
// way; the box itself, and the classes that are observed, have one.
func TestBackstop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, rules := drawRules(t)
		enforced := func(c *policy.Class) bool { return c != nil && c.Mode == policy.Enforce }
		for range 50 {
			from, in := drawAddr(t), rapid.SampledFrom([]string{"lo", "wan", "eth0", "eth1", "eth2", "eth3"}).Draw(t, "in")
			want := enforced(set.Class(from, ""))
			for _, c := range set.Classes() {
				want = want || enforced(c) && slices.Contains(c.Interfaces, in)
			}
			if in == "lo" {
				want = false
			}
			if got := stops(rules, in, from); got != want {
				t.Fatalf("in by %s from %v: stopped %v, want %v\n%s", in, from, got, want, backText(rules))
			}
		}
	})
}

// TestBackstopSteps: while one policy's rules take the place of another's, what both stop is
// stopped, and the box has its way.
func TestBackstopSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, old := drawRules(t)
		_, want := drawRules(t)
		type packet struct {
			in   string
			from netip.Addr
		}
		var packets []packet
		for range 20 {
			packets = append(packets, packet{rapid.SampledFrom([]string{"wan", "eth0", "eth1", "eth2", "eth3"}).Draw(t, "in"), drawAddr(t)})
		}
		now := slices.Clone(old)
		check := func() {
			for _, p := range packets {
				if stops(old, p.in, p.from) && stops(want, p.in, p.from) && !stops(now, p.in, p.from) {
					t.Fatalf("in by %s from %v is not stopped by\n%sbetween\n%sand\n%s", p.in, p.from, backText(now), backText(old), backText(want))
				}
				if stops(now, "lo", p.from) {
					t.Fatalf("the box itself is stopped by\n%s", backText(now))
				}
			}
		}
		for _, f := range families {
			var have []loadedRule
			for _, r := range now {
				if r.is4 == f.is4 {
					have = append(have, loadedRule{rule: r, ours: true})
				}
			}
			add, remove := backChange(have, want, f.is4)
			for _, r := range add {
				now = append(now, r)
				check()
			}
			for _, l := range remove {
				now = slices.Delete(now, slices.Index(now, l.rule), slices.Index(now, l.rule)+1)
				check()
			}
		}
		if a, b := sortedWords(now), sortedWords(want); !slices.Equal(a, b) {
			t.Fatalf("in the end (-want +got)\n%s", cmp.Diff(b, a))
		}
	})
}

func sortedWords(rules []backRule) (words []string) {
	for _, r := range rules {
		words = append(words, r.String())
	}
	slices.Sort(words)
	return words
}

// TestBackstopPolicy: classes of all kinds.
func TestBackstopPolicy(t *testing.T) {
	const private4 = "-4 53 to 10.0.0.0/8;-4 53 to 100.64.0.0/10;-4 53 to 169.254.0.0/16;-4 53 to 172.16.0.0/12;-4 53 to 192.168.0.0/16;"
	const private6 = "-6 53 to fc00::/7;-6 53 to fe80::/10;"
	for _, tt := range []struct{ what, classes, want string }{
		{"observed only", "a: {networks: [10.1.0.0/24], interfaces: [eth1], services: [], mode: observe}", ""},
		{"by network", "a: {networks: [10.1.0.0/24], services: []}",
			"-4 51 iif lo goto;" + private4 + "-4 68 from 10.1.0.0/24 prohibit;-4 199 nop"},
		{"by interface, with a private network whole", "a: {networks: [10.0.0.0/8], interfaces: [eth1], services: []}",
			"-4 51 iif lo goto;" + private4 + "-4 54 iif eth1 prohibit;-4 199 nop;-6 51 iif lo goto;" + private6 + "-6 54 iif eth1 prohibit;-6 199 nop"},
		{"admins of the store", "a: {networks: [10.1.0.0/24], services: []}",
			"-4 51 iif lo goto;-4 52 to 192.168.5.0/24 goto;" + private4 + "-4 68 from 10.1.0.0/24 prohibit;-4 199 nop"},
		{"observed within enforced", "a: {networks: [10.1.0.0/16], services: []}\n  b: {networks: [10.1.2.0/24, 10.2.0.0/24], services: [], mode: observe}",
			"-4 51 iif lo goto;" + private4 + "-4 68 from 10.1.2.0/24 goto;-4 76 from 10.1.0.0/16 prohibit;-4 199 nop"},
		{"networks to be reached; not those of an observed class, nor of a service that has ended",
			"a: {networks: [10.1.0.0/24], services: [local/n, local/old]}\n  b: {networks: [10.2.0.0/24], services: [local/o], mode: observe}\nservices:\n" +
				"  - {id: local/n, reason: r, destinations: [{network: 10.9.0.0/24, ports: [tcp/9100, tcp/80]}]}\n" +
				"  - {id: local/o, reason: r, destinations: [{network: 10.8.0.0/24, ports: [tcp/9100]}]}\n" +
				"  - {id: local/old, reason: r, until: 2020-01-01T00:00:00Z, destinations: [{network: 10.7.0.0/24, ports: [tcp/9100]}]}",
			"-4 51 iif lo goto;-4 52 to 10.9.0.0/24 goto;" + private4 + "-4 68 from 10.1.0.0/24 prohibit;-4 199 nop"},
	} {
		cfg := ports
		if strings.HasPrefix(tt.what, "admins") {
			cfg.Admin = []netip.Prefix{netip.MustParsePrefix("192.168.5.10/24"), netip.MustParsePrefix("45.60.7.7/32"), netip.MustParsePrefix("fd10::5/128")}
		}
		cfg.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		rules, err := backstopOf(rules(t, "version: 1\nclasses:\n  "+tt.classes+"\n", cfg).Text())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rules {
			w := strings.TrimSuffix(strings.TrimPrefix(r.String(), "ip "), fmt.Sprintf(" protocol %d", backProtocol))
			w = strings.TrimSuffix(strings.Replace(w, "rule add pref ", "", 1), fmt.Sprintf(" %d", prefEnd))
			w, _, _ = strings.Cut(w, " lookup")
			got = append(got, w)
		}
		if diff := cmp.Diff(strings.Split(tt.want, ";"), strings.Split(strings.Join(got, ";"), ";")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}

// TestBackstopBound: so many networks that none of it is made, which is said.
func TestBackstopBound(t *testing.T) {
	text := func(n int) string {
		var networks []string
		for i := range n {
			networks = append(networks, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
		}
		return "version: 1\nclasses:\n  a: {networks: [" + strings.Join(networks, ", ") + "], interfaces: [eth1], services: []}\n"
	}
	const beside = 7 + 5 + 1 // of IPv4, with the interface, and of IPv6
	for _, n := range []int{MaxBackstop - beside, MaxBackstop - beside + 1} {
		r := rules(t, text(n), ports)
		made, err := backstopOf(r.Text())
		if err != nil {
			t.Fatal(err)
		}
		told := slices.ContainsFunc(r.Gaps, func(g string) bool { return strings.Contains(g, "rules of the routing policy would be needed") })
		if fits := n+beside <= MaxBackstop; fits != (len(made) == n+beside) || fits == told || !fits && len(made) > 0 {
			t.Errorf("%d networks: %d rules, gaps %q", n, len(made), r.Gaps)
		}
	}
}

// TestBackstopKernel: a rule as the kernel takes it is read back the same, and one that
// has more to it is told from it.
func TestBackstopKernel(t *testing.T) {
	for _, r := range exampleBackstop(t) {
		data := r.encode()
		if got, ours, ok := decodeRule(data); got != r || !ours || !ok {
			t.Errorf("%v: read back as %v, %v, %v", r, got, ours, ok)
		}
		for n := range data {
			decodeRule(data[:n])
		}
		e := netlink.NewAttributeEncoder()
		e.Uint32(unix.FRA_FWMARK, 1)
		mark, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, ours, ok := decodeRule(append(data, mark...)); got != r || ours || !ok {
			t.Errorf("%v for marked packets: read back as %v, %v, %v", r, got, ours, ok)
		}
	}
}

func exampleBackstop(t testing.TB) []backRule {
	rules, err := backstopOf(rules(t, examplePolicy, ports).Text())
	if err != nil || len(rules) == 0 {
		t.Fatal(err)
	}
	return rules
}

// FuzzBackstopOf: what is taken is written the same, and has a place of the backstop's.
func FuzzBackstopOf(f *testing.F) {
	f.Add(string(rules(f, examplePolicy, ports).Text()))
	f.Add("# ip -4 rule add pref 54 iif eth1 prohibit protocol 116\n")
	f.Add("# ip -6 rule add pref 52 to fd00::/8 goto 199 protocol 116")
	for _, no := range []string{"# ip -4 rule add pref 0 lookup main protocol 116\n", "# ip -4 rule add pref 54 iif lo prohibit protocol 116\n",
		"# ip -4 rule add pref 54 iif \x00 prohibit protocol 116\n",
		"# ip -4 rule add pref 92 from 0.0.0.0/0 prohibit protocol 116\n", "# ip -4 rule del pref 0\n", "# ip -4\n",
		strings.Repeat("# ip -4 rule add pref 54 iif eth1 prohibit protocol 116\n", 2)} {
		if _, err := backstopOf([]byte(no)); err == nil {
			f.Errorf("taken: %s", no)
		}
		f.Add(no)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := backstopOf([]byte(text))
		if err != nil {
			return
		}
		again, err := backstopOf([]byte(backText(rules)))
		if err != nil || !slices.Equal(rules, again) {
			t.Errorf("%v: %v\n%v", err, rules, again)
		}
		for _, r := range rules {
			if r.pref < prefBox || r.pref > prefEnd || !strings.Contains(text, r.String()) {
				t.Errorf("%v", r)
			}
			if got, ours, ok := decodeRule(r.encode()); got != r || !ours || !ok {
				t.Errorf("%v: read back as %v, %v, %v", r, got, ours, ok)
			}
		}
	})
}
