package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

const timePolicy = `version: 1
packs: [payxpert]
classes:
  sunmi: {networks: [10.0.1.0/24], services: [payxpert/sunmi-ntp, local/both, local/pool, local/trial]}
  pos:   {networks: [10.0.2.0/24], services: [payxpert/emv, local/web], time: true}
  pc:    {networks: [10.0.3.0/24], services: [payxpert/central]}
  lab:   {networks: [10.0.4.0/24], services: [payxpert/central], mode: observe}
  shop:  {networks: [10.0.5.0/24], services: [local/windows], time: true}
services:
  - id: local/both
    reason: a server with a page of its own
    destinations: [{host: ntp.page.example, ports: [udp/123, tcp/443]}, {host: ntp1.inrim.it, ports: [tcp/443]}]
  - id: local/web
    reason: the page of a time server
    destinations: [{host: ntp.page.example, ports: [tcp/443]}]
  - id: local/pool
    reason: many servers
    destinations: [{host: "*.pool.example", ports: [udp/123]}]
  - id: local/trial
    reason: tried for a while
    until: 2027-01-01T00:00:00Z
    destinations: [{host: clock.example, ports: [udp/123]}, {host: ntp.obspm.fr, ports: [tcp/443]}]
  - id: local/windows
    reason: telemetry
    destinations: [{host: time.windows.com, ports: [tcp/443]}]
deny: [{host: uk.pool.ntp.org}]
`

func TestSteer(t *testing.T) {
	const sunmi, pos, pc, lab, shop = "10.0.1.5", "10.0.2.5", "10.0.3.5", "10.0.4.5", "10.0.5.5"
	set := mustCompile(t, timePolicy)
	before := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		client, name string
		now          time.Time
		want         string
		steer        bool
	}{
		{sunmi, "pool.ntp.org", day, "allow documented sunmi pool.ntp.org", true},
		{sunmi, "a.b.pool.example", day, "allow local-service sunmi *.pool.example", true},
		{sunmi, "uk.pool.ntp.org", day, "deny denied-by-policy sunmi uk.pool.ntp.org", false},
		{sunmi, "clock.example", before, "allow local-service sunmi clock.example", true},
		{sunmi, "clock.example", day, "deny expired sunmi clock.example", false},

		// A name that is a web server's too is one: of the same rule, or of another.
		{sunmi, "ntp.page.example", day, "allow local-service sunmi ntp.page.example", false},
		{sunmi, "ntp1.inrim.it", day, "allow documented sunmi ntp1.inrim.it", false},
		{sunmi, "ntp.obspm.fr", before, "allow documented sunmi ntp.obspm.fr", false},
		{sunmi, "ntp.obspm.fr", day, "allow documented sunmi ntp.obspm.fr", true}, // until it has ended
		{pos, "ntp.page.example", day, "allow local-service pos ntp.page.example", false},

		// What has `time: true` may have every time server, and those that are built into its
		// devices.
		{pos, "time.android.com", day, "allow local-service pos", true},
		{pos, "time.windows.com", day, "allow local-service pos", true},
		{pos, "pool.ntp.org", day, "allow documented pos pool.ntp.org", true},
		{pos, "a.pool.example", day, "allow local-service pos *.pool.example", true},
		{pos, "ntp.obspm.fr", day, "allow documented pos ntp.obspm.fr", true},
		{pos, "x.time.android.com", day, "deny not-documented pos", false},
		{sunmi, "time.android.com", day, "deny not-documented sunmi", false},
		{shop, "time.windows.com", day, "allow local-service shop time.windows.com", false},
		{shop, "time.android.com", day, "allow local-service shop", true},
		{"10.9.9.9", "time.android.com", day, "deny unknown-client", false},

		// No time, no steering, not of an observed class either.
		{pc, "pool.ntp.org", day, "deny other-class pc pool.ntp.org", false},
		{lab, "pool.ntp.org", day, "would-deny other-class lab pool.ntp.org", false},
		{lab, "time.android.com", day, "would-deny not-documented lab", false},

		// Above what only `time: true` allows, something is there (RFC 8020).
		{pos, "android.com", day, "deny not-documented pos above", false},
		{pos, "windows.com", day, "deny not-documented pos above", false},
		{sunmi, "android.com", day, "deny not-documented sunmi", false},
	} {
		r := Request{Plane: DNS, Client: netip.MustParseAddr(tt.client), Name: tt.name, Now: tt.now}
		d := set.Decide(r)
		if got := told(d); got != tt.want || d.Steer != tt.steer {
			t.Errorf("%s for %s: %s, steer %v; want %s, %v", tt.name, tt.client, got, d.Steer, tt.want, tt.steer)
		}
		if e := set.Explain(r); e.Decision != d {
			t.Errorf("%s for %s: explained as %s, steer %v", tt.name, tt.client, told(e.Decision), e.Decision.Steer)
		}
		r.Plane, r.Proto, r.Port = TLS, TCP, 443
		if d := set.Decide(r); d.Steer || d.Verdict == Allow && d.Rule == nil {
			t.Errorf("%s for %s by TLS: %s, steer %v", tt.name, tt.client, told(d), d.Steer)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		set.Decide(Request{Plane: DNS, Client: netip.MustParseAddr(pos), Name: timeNames[1], Now: day})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A deny rule for it takes a built-in time server away, and what is above it.
func TestSteerDenied(t *testing.T) {
	const files = `version: 1
classes: {pos: {networks: [10.0.0.0/8], time: true}}
deny: [{host: "*.android.com"}, {host: time.windows.com}]
`
	set := mustCompile(t, files)
	for name, want := range map[string]string{
		"time.android.com": "deny denied-by-policy pos *.android.com",
		"android.com":      "deny not-documented pos",
		"time.windows.com": "deny denied-by-policy pos time.windows.com",
		"windows.com":      "deny not-documented pos",
	} {
		if got := told(set.Decide(Request{Plane: DNS, Client: netip.MustParseAddr("10.0.0.1"), Name: name})); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if may, _ := set.AnyoneMay(name, day); may {
			t.Errorf("%s: somebody may", name)
		}
	}
}

// What the box asks by itself is asked for those who are not steered.
func TestSteeredForAll(t *testing.T) {
	set, observed := mustCompile(t, strings.Replace(timePolicy, ", mode: observe", "", 1)), mustCompile(t, timePolicy)
	for name, want := range map[string][2]bool{
		"pool.ntp.org":         {true, true},
		"a.pool.example":       {true, true},
		"time.android.com":     {true, true},
		"time.windows.com":     {true, false}, // a web name of one class
		"ntp.page.example":     {true, false},
		"uk.pool.ntp.org":      {false, false},
		"android.com":          {false, false},
		"dns.google":           {true, false},
		"central.payxpert.com": {true, false},
	} {
		if may, steered := set.AnyoneMay(name, day); [2]bool{may, steered} != want {
			t.Errorf("%s: %v, %v", name, may, steered)
		}
		if may, steered := observed.AnyoneMay(name, day); !may || steered {
			t.Errorf("%s with an observed class: %v, %v", name, may, steered)
		}
	}
}

func TestTimeServer(t *testing.T) {
	set := mustCompile(t, timePolicy)
	for name, want := range map[string]bool{
		"pool.ntp.org":     true,
		"ntp.page.example": true, // whatever else it is
		"clock.example":    true,
		"a.pool.example":   false, // no name that the policy has
		"time.android.com": false,
		"time.windows.com": false,
		"dns.google":       false,
		"org":              false,
		"":                 false,
	} {
		if got := set.TimeServer(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { set.TimeServer("pool.ntp.org") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
