package main

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tillgate/policy"
)

// documented is tillgate.yaml as the design shows it.
const documented = `# tillgate.yaml — everything here has this default
listen: {dns: [":53"], proxy: [":3128"], intercept: [":3129"], ntp: [":123"], console: ["127.0.0.1:8053"]}
upstream:
  url: https://dns.google/dns-query
  addresses: [8.8.8.8, 8.8.4.4, "2001:4860:4860::8888", "2001:4860:4860::8844"]   # pinned: no DNS is needed to find the DNS
  timeout: 1800ms
dns:   {rate: 500, burst: 2000}                      # queries a second and client; 0: no limit
cache: {entries: 10000, stale: 6h, warm: 24h}        # keep names fresh that were asked for within 24 h
time:  {servers: [], quorum: 3, max_error: 1s, rate: 1, burst: 8}   # servers empty: the policy's NTP destinations
proxy: {connect_timeout: 10s, hello_timeout: 5s, idle_timeout: 1h, tunnels: 4096, tunnels_per_client: 128}
firewall: {interfaces: {}, admin: []}                # class: [interface]; networks that may reach SSH and the console
journal: {sync: 5s, keep: 400d, max_size: 2GiB, repeat_window: 10s}
`

func TestExamplePolicy(t *testing.T) {
	data, err := os.ReadFile("../../packaging/etc/tillgate/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: data}}); err != nil {
		t.Error(err)
	}
}

func FuzzParseSettings(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte("listen: {dns: [\":53\", \"[::1]:0\"]}\nfirewall: {interfaces: {pos: [eth0]}, admin: [10.0.0.0/8]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems := parseSettings(data)
		if len(problems) > 0 {
			return
		}
		if len(s.Upstream.Addresses) == 0 || s.Upstream.Timeout <= 0 || s.Upstream.Timeout > maxUpstreamTimeout {
			t.Errorf("upstream: %+v", s.Upstream)
		}
		for _, addr := range s.Listen.DNS {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				t.Errorf("listen: %v", err)
			}
		}
	})
}

var compareSettings = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
	cmp.AllowUnexported(settings{}),
}

func TestDefaults(t *testing.T) {
	example, err := os.ReadFile("../../packaging/etc/tillgate/tillgate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"the design's block": documented,
		"the example file":   string(example),
		"no keys":            "# nothing\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := parseSettings([]byte(text))
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(defaultSettings(), got, compareSettings); diff != "" {
				t.Errorf("not the defaults (-want +got):\n%s", diff)
			}
		})
	}
}

// Of two equal sides the test above would not see a key that is read into the
// wrong place: here every value differs from its default and from the others.
func TestSettingsEveryKey(t *testing.T) {
	got, problems := parseSettings([]byte(`
listen:
  dns: ["10.20.0.1:53", "[fd00:20::1]:53"]
  proxy: [":1"]
  intercept: [":2"]
  ntp: []
  console: ["127.0.0.1:0"]
upstream: {url: "https://doh.example:8443/q", addresses: [192.0.2.1], timeout: 1s}
dns: {rate: 0, burst: 3}
cache: {entries: 4, stale: 5h, warm: 0}
time: {servers: [Time.Example, 192.0.2.7], quorum: 5, max_error: 6ms, rate: 7, burst: 8}
proxy: {connect_timeout: 9s, hello_timeout: 10s, idle_timeout: 11h, tunnels: 12, tunnels_per_client: 13}
firewall: {interfaces: {pos: [eth0.20, wlan0], pc: []}, admin: [10.20.9.0/24]}
journal: {sync: 14s, keep: 15d, max_size: 64MiB, repeat_window: 17s}
`))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	want := settings{
		Listen: listenSettings{
			DNS:       []string{"10.20.0.1:53", "[fd00:20::1]:53"},
			Proxy:     []string{":1"},
			Intercept: []string{":2"},
			NTP:       []string{},
			Console:   []string{"127.0.0.1:0"},
		},
		Upstream: upstreamSettings{URL: "https://doh.example:8443/q",
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Timeout: time.Second},
		DNS:   rateSettings{Rate: 0, Burst: 3},
		Cache: cacheSettings{Entries: 4, Stale: 5 * time.Hour},
		Time: timeSettings{Servers: []string{"time.example", "192.0.2.7"}, Quorum: 5,
			MaxError: 6 * time.Millisecond, Rate: 7, Burst: 8},
		Proxy: proxySettings{ConnectTimeout: 9 * time.Second, HelloTimeout: 10 * time.Second,
			IdleTimeout: 11 * time.Hour, Tunnels: 12, TunnelsPerClient: 13},
		Firewall: firewallSettings{
			Interfaces: map[string][]string{"pos": {"eth0.20", "wlan0"}, "pc": {}},
			Admin:      []netip.Prefix{netip.MustParsePrefix("10.20.9.0/24")},
		},
		Journal: journalSettings{Sync: 14 * time.Second, Keep: 15 * day, MaxSize: 64 << 20, RepeatWindow: 17 * time.Second},
	}
	if diff := cmp.Diff(want, got, compareSettings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSettingsProblems(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`lisen: {}`, `tillgate.yaml:1:1: unknown key: "lisen" (did you mean "listen"?)`},
		{`listen: {dns: [53]}`, `tillgate.yaml:1:16: not an address with a port: "53" (written :53, 10.20.0.1:53 or [fd00:20::1]:53)`},
		{`listen: {dns: ["box:53"]}`, `tillgate.yaml:1:16: not an address of this box: "box:53" (written :53, 10.20.0.1:53 or [fd00:20::1]:53)`},
		{`listen: {dns: [":domain"]}`, `tillgate.yaml:1:16: the port must be a number up to 65535: ":domain" (written :53, 10.20.0.1:53 or [fd00:20::1]:53)`},
		{`listen: {dns: [":53", ":53"]}`, `tillgate.yaml:1:23: duplicate: ":53"`},
		{`listen: {dns: ["127.0.0.1:53", "[::]:53"]}`, `tillgate.yaml:1:32: an address that overlaps with another in the list: "[::]:53" (without an address it is all of them: keep that, or the others)`},
		{`listen: {dns: [":53", ":5353", "[::1]:0", ":0", "127.0.0.1:53"]}`, `tillgate.yaml:1:49: an address that overlaps with another in the list: "127.0.0.1:53" (without an address it is all of them: keep that, or the others)`},
		{`listen: {proxy: ["127.0.0.1:8080"], intercept: [":8080"]}`, `tillgate.yaml: listen.intercept overlaps with listen.proxy: ":8080" (give one of them another port)`},
		{`listen: {proxy: [":3129"], ntp: [":3129"]}`, `tillgate.yaml: listen.intercept overlaps with listen.proxy: ":3129" (give one of them another port)`},
		{`listen: {dns: ["10.20.0.1:53"], proxy: ["10.20.0.1:53"], ntp: ["10.20.0.1:53"]}`, `tillgate.yaml: listen.proxy overlaps with listen.dns: "10.20.0.1:53" (give one of them another port)
tillgate.yaml: listen.ntp overlaps with listen.dns: "10.20.0.1:53" (give one of them another port)`},
		{`listen: {dns: ["10.20.0.1:53"], proxy: ["10.20.0.2:53", ":0"], intercept: [":0"]}`, ``},
		{`upstream: {url: "http://dns.google/dns-query"}`, `tillgate.yaml:1:17: not the URL of a DoH server: "http://dns.google/dns-query" (written https://dns.google/dns-query)`},
		{`upstream: {url: "https://dns.google/dns-query{?dns}"}`, `tillgate.yaml:1:17: a URI template: "https://dns.google/dns-query{?dns}" (remove {?dns}: questions are sent by POST)`},
		{`upstream: {addresses: []}`, `tillgate.yaml:1:23: must list at least one address (without one no name can be resolved)`},
		{`upstream: {addresses: [dns.google]}`, `tillgate.yaml:1:24: not an address of a server: "dns.google" (names cannot stand here: nobody could resolve them)`},
		{`upstream: {timeout: 5s}`, `tillgate.yaml:1:21: must be from 100ms to 3s: "5s"`},
		{`dns: {rate: -1}`, `tillgate.yaml:1:13: must be from 0 to 1000000: "-1"`},
		{`cache: {entries: 0}`, `tillgate.yaml:1:18: must be from 1 to 1000000: "0"`},
		{`time: {servers: ["*.pool.example"]}`, `tillgate.yaml:1:18: not a name or address of a time server: "*.pool.example"`},
		{`firewall: {admin: [10.20.9.1/24]}`, `tillgate.yaml:1:20: a network with host bits set: "10.20.9.1/24" (did you mean "10.20.9.0/24"?)`},
		{`firewall: {interfaces: {pos: [eth0], pc: [eth0]}}`, `tillgate.yaml:1:43: an interface that class pos has already: "eth0"`},
		{`firewall: {interfaces: {pos: ["eth 0"]}}`, `tillgate.yaml:1:31: not the name of an interface: "eth 0" (ip link lists them)`},
		{`journal: {max_size: 2GB}`, `tillgate.yaml:1:21: must be a size: "2GB" (written 512MiB or 2GiB)`},
		{`journal: {max_size: 63MiB}`, `tillgate.yaml:1:21: must be from 64MiB to 1TiB: "63MiB"`}, // the journal would not open
		{`journal: {sync: }`, `tillgate.yaml:1:17: no value (give one, or remove the key)`},
		{"dns: {rate: many}\ncache: {stale: long}", "tillgate.yaml:1:13: must be a whole number: \"many\"\n" +
			"tillgate.yaml:2:16: must be a duration: \"long\" (written 1800ms, 10s, 5m, 6h or 400d)"},
	} {
		_, problems := parseSettings([]byte(tt.text))
		got := ""
		if err := problems.Err(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.text, got, tt.want)
		}
	}
}
