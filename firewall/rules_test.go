package firewall

import (
	"flag"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tillgate/internal/storelab"
	"tillgate/policy"
)

var update = flag.Bool("update", false, "write the golden file anew")

// compile makes a set of a policy's text.
func compile(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// examplePolicy is that of the design, with IPv6 beside it.
const examplePolicy = `version: 1
mode: enforce
packs: [payxpert]
classes:
  sunmi: {networks: [10.20.1.0/24, "fd10:20:1::/64"], services: [payxpert/emv, payxpert/apm, payxpert/logs, "payxpert/sunmi-*"]}
  pos:   {networks: [10.20.0.0/24], interfaces: [eth0.20], services: [payxpert/emv, payxpert/apm, payxpert/logs], time: true}
  pc:    {networks: [10.20.9.0/24, "fd10:20:9::/64"], services: [payxpert/central, local/printer], mode: observe}
services:
  - id: local/printer
    reason: receipt printer firmware, ticket 4711
    until: 2027-01-31T00:00:00Z
    destinations:
      - {host: fw.printer.example, ports: [tcp/443]}
      - {network: 10.20.5.7/32, ports: [tcp/9100]}
deny: [{host: "*.ads.example"}]
`

var ports = Config{DNS: 53, Proxy: 3128, Intercept: 3129, NTP: 123, SSH: 22}

func rules(t testing.TB, text string, cfg Config) Ruleset {
	t.Helper()
	r, err := Rules(compile(t, text), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tryNFT has nft check a text, where it is there and may.
func tryNFT(t testing.TB, text []byte) error {
	storelab.Need(t, "nft")
	if os.Geteuid() != 0 {
		storelab.Skip(t, "nft checks for root only")
	}
	_, err := normal(t.Context(), text)
	return err
}

// TestGolden is the whole text for the design's example.
func TestGolden(t *testing.T) {
	const file = "testdata/example.nft"
	cfg := ports
	cfg.Admin = []netip.Prefix{netip.MustParsePrefix("10.20.9.5/32"), netip.MustParsePrefix("fd10:20:9::5/128")}
	cfg.Interfaces = map[string][]string{"pc": {"eth0.29"}}
	got := rules(t, examplePolicy, cfg).Text()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got; go test -run Golden -update writes it anew)\n%s", diff)
	}
	if err := tryNFT(t, got); err != nil {
		t.Error(err)
	}
	noIntervals(t, got)
}

// intervals are networks or ranges within braces.
var intervals = regexp.MustCompile(`\{ [^}@]*[0-9a-f:](/[0-9]|-[0-9a-f:])`)

// noIntervals fails with what is empty for a moment while tables are swapped.
func noIntervals(t testing.TB, text []byte) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "vmap") || !strings.Contains(line, "@") && intervals.MatchString(line) {
			t.Errorf("a map, or a set of intervals: %s", line)
		}
	}
}

// chains are the lines of each chain.
func chains(text []byte) map[string][]string {
	all := make(map[string][]string)
	name := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "chain "); ok {
			name = strings.TrimSuffix(rest, " {")
			continue
		}
		all[name] = append(all[name], line)
	}
	return all
}

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		what, policy string
		cfg          func(*Config)
		chain        string
		has          []string
		not          []string // parts
	}{
		{"ports that the rules name", `
  a: {networks: [10.1.0.0/24], services: [local/a]}
services: [{id: local/a, reason: r, destinations: [{host: a.example, ports: [tcp/8883, tcp/443]}, {host: b.example, ports: [tcp/443]}]}]`,
			nil, "capture-a",
			[]string{"tcp dport { 443, 8883 } redirect to :3129", "fib daddr type local tcp dport 80 redirect to :3129", "meta l4proto { tcp, udp } th dport 53 redirect to :53"},
			[]string{"udp dport 123 redirect"}},
		{"no ports", `
  a: {networks: [10.1.0.0/24], services: []}`, nil, "capture-a", nil, []string{"tcp dport {"}},
		{"time", `
  a: {networks: [10.1.0.0/24], services: [], time: true}`, nil, "capture-a", []string{"udp dport 123 redirect to :123"}, nil},
		{"time by a rule", `
  a: {networks: [10.1.0.0/24], services: [payxpert/sunmi-ntp]}`, nil, "capture-a", []string{"udp dport 123 redirect to :123"}, nil},
		{"nothing listens", `
  a: {networks: [10.1.0.0/24], services: [payxpert/emv], time: true}`,
			func(c *Config) { *c = Config{} }, "capture-a", nil, []string{"redirect", "accept"}},
		{"nothing listens: the box", `
  a: {networks: [10.1.0.0/24], services: [payxpert/emv], time: true}`,
			func(c *Config) { *c = Config{} }, "box", nil, []string{"accept"}},
		{"intercept is for what was redirected", `
  a: {networks: [10.1.0.0/24], services: []}`, nil, "box", []string{"ct status dnat tcp dport 3129 accept"}, []string{" dport 22 ", "\ntcp dport 3129"}},
		{"a network within the store", `
  a: {networks: [10.1.0.0/24], services: [local/a]}
services: [{id: local/a, reason: r, destinations: [{network: "fd00:7::/64", ports: [tcp/9100, udp/123]}]}]`, nil, "judge-a",
			[]string{"ip6 daddr fd00:7::/64 tcp dport { 9100 } accept", "ip6 daddr fd00:7::/64 udp dport { 123 } accept", "goto refused-a"}, nil},
		{"a network that has ended", `
  a: {networks: [10.1.0.0/24], services: [local/a]}
services: [{id: local/a, reason: r, until: 2026-01-01T00:00:00Z, destinations: [{network: 10.2.0.0/24, ports: [tcp/9100]}]}]`,
			func(c *Config) { c.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }, "judge-a", nil, []string{"9100"}},
		{"another class's admins", `
  a: {networks: [10.1.0.0/24], services: []}`,
			func(c *Config) {
				c.Admin, c.Console = []netip.Prefix{netip.MustParsePrefix("10.1.0.7/32"), netip.MustParsePrefix("10.0.0.0/8")}, 8053
			},
			"judge", []string{
				"ip saddr 10.1.0.7/32 fib daddr type local tcp dport != 3129 accept",
				"ip saddr 10.0.0.0/8 fib daddr type local tcp dport != 3129 accept",
				"ct direction original fib daddr type local tcp dport { 22, 8053 } reject with tcp reset",
			}, []string{"ip6 saddr"}},
		{"no admin locks nobody out", `
  a: {networks: [10.1.0.0/24], services: []}`, nil, "judge", nil, []string{"22"}},
		{"observed", `
  a: {networks: [10.1.0.0/24], services: [], mode: observe}`, nil, "observed-a", []string{"jump tell-observed-a", "accept"}, nil},
		{"observed, beside networks of the store", `
  a: {networks: [10.1.0.0/24], services: [], mode: observe}`,
			func(c *Config) {
				for _, p := range []string{"10.9.0.0/24", "45.60.0.0/24", "2a02:26f0:45:60::/64", "2a02:26f0:45:99::9/128", "fd10::/64"} {
					c.Near = append(c.Near, netip.MustParsePrefix(p))
				}
			}, "internet-a", []string{"ip daddr 45.60.0.0/24 return", "ip6 daddr 2a02:26f0:45:60::/64 return", "ip6 daddr 64:ff9b::a00:0/104 return", "ip6 daddr 64:ff9b::e000:0/99 return"}, []string{"10.9.0.0", "99::9", "fd10"}},
		{"a network within another", `
  a: {networks: [10.1.0.0/16], services: []}
  b: {networks: [10.1.4.0/24], services: []}`, nil, "judge",
			[]string{"ip saddr 10.1.0.0/22 goto judge-a", "ip saddr 10.1.4.0/24 goto judge-b", "ip saddr 10.1.5.0-10.1.255.255 goto judge-a"}, nil},
		{"by interface alone", `
  a: {interfaces: [eth1], services: []}`, nil, "source-a", []string{"fib saddr . iif oif missing goto spoofed-a"}, []string{"saddr {", "!=", "narrowed"}},
		{"an interface of the box's settings", `
  a: {networks: [192.168.0.0/16], services: []}`,
			func(c *Config) { c.Interfaces = map[string][]string{"a": {"eth1"}} }, "source-a",
			[]string{`iifname "eth1" jump narrowed-a`}, nil},
		{"whose sources must be the class's", `
  a: {networks: [192.168.0.0/16], services: []}`,
			func(c *Config) { c.Interfaces = map[string][]string{"a": {"eth1"}} }, "narrowed-a",
			[]string{"ip saddr 169.254.0.0/16 return", "ip6 saddr fe80::/10 return", "ip saddr 192.168.0.0/16 return", "goto spoofed-a"}, nil},
		{"which leaves the rest of that space alone", `
  a: {networks: [192.168.0.0/16], services: []}`,
			func(c *Config) { c.Interfaces = map[string][]string{"a": {"eth1"}} }, "judge",
			[]string{`iifname "eth1" goto judge-a`}, []string{"ip saddr"}},
	} {
		cfg := ports
		if tt.cfg != nil {
			tt.cfg(&cfg)
		}
		r := rules(t, "version: 1\nclasses:"+tt.policy+"\n", cfg)
		got := chains(r.Text())[tt.chain]
		text := "\n" + strings.Join(got, "\n") + "\n"
		for _, want := range tt.has {
			if !strings.Contains(text, "\n"+want+"\n") {
				t.Errorf("%s: chain %s has no line %q:%s", tt.what, tt.chain, want, text)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: chain %s has %q:%s", tt.what, tt.chain, not, text)
			}
		}
		if err := tryNFT(t, r.Text()); err != nil {
			t.Errorf("%s: %v\n%s", tt.what, err, r.Text())
		}
		noIntervals(t, r.Text())
		if err := CheckText(r.Text()); err != nil {
			t.Errorf("%s: the keeper refuses it: %v", tt.what, err)
		}
	}
}

func TestRulesErrors(t *testing.T) {
	for _, tt := range []struct {
		what, policy string
		interfaces   map[string][]string
		want         string
	}{
		{"the embedded policy", "", nil, "--interface terminal=eth0.20"},
		{"an interface twice", "version: 1\nclasses:\n  a: {interfaces: [eth1], services: []}\n  b: {networks: [10.1.0.0/24], services: []}\n",
			map[string][]string{"b": {"eth1"}}, "the interface eth1 is of class a and of class b"},
		{"a class that is not there", "version: 1\nclasses:\n  a: {interfaces: [eth1], services: []}\n",
			map[string][]string{"c": {"eth1"}}, "firewall.interfaces has class c"},
		{"an interface of no network", "version: 1\nclasses:\n  a: {networks: [10.1.0.0/24], services: []}\n",
			map[string][]string{"a": {"lo"}}, `"lo", by which nothing comes in`},
		{"an interface that means others too", "version: 1\nclasses:\n  a: {networks: [10.1.0.0/24], services: []}\n",
			map[string][]string{"a": {"eth*"}}, "a name that nft cannot be given"},
	} {
		set, err := policy.Embedded()
		if tt.policy != "" {
			set, err = compile(t, tt.policy), nil
		}
		if err != nil {
			t.Fatal(err)
		}
		cfg := ports
		cfg.Interfaces = tt.interfaces
		if _, err := Rules(set, cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
}

// TestEveryClassEndsInRefusal: whatever the policy, what no rule lets through is refused
// and told, for each class, and what comes by its interface or from its network gets there.
func TestEveryClassEndsInRefusal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := drawSet(t)
		r, err := Rules(set, ports)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckText(r.Text()); err != nil {
			t.Fatal(err)
		}
		all := chains(r.Text())
		last := func(chain string) string {
			lines := all[chain]
			for i, l := range lines {
				if l == "}" {
					return lines[i-1]
				}
			}
			return ""
		}
		for _, c := range set.Classes() {
			if got := last("judge-" + c.Name); got != "goto refused-"+c.Name {
				t.Errorf("class %s ends with %q", c.Name, got)
			}
			if got := last("refused-" + c.Name); !strings.HasPrefix(got, "reject ") || all["refused-"+c.Name][0] != "jump tell-refused-"+c.Name {
				t.Errorf("class %s is refused by %q", c.Name, all["refused-"+c.Name])
			}
			way := strings.Join(all["judge"], "\n")
			if !strings.Contains(way+"\n", "iifname \""+c.Interfaces[0]+"\" goto judge-"+c.Name+"\n") {
				t.Errorf("nothing leads to class %s:\n%s", c.Name, way)
			}
		}
	})
}
