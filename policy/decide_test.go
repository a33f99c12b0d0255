package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// decidePolicy is the policy of the tables below.
const decidePolicy = `version: 1
packs: [payxpert]
classes:
  sunmi:
    networks: [10.20.1.0/24, fd00:20:1::/64]
    services: [payxpert/emv, payxpert/logs, "payxpert/sunmi-*"]
  pos:
    networks: [10.20.0.0/16, fe80::/10]
    interfaces: [eth0.20]
    services: [payxpert/emv, local/printer, local/ended]
    time: true
  pc:
    networks: [10.20.9.0/24]
    services: [payxpert/central, local/shards, local/deep]
    mode: observe
  soon:
    networks: [10.20.8.0/24]
    services: [local/clock]
  idle:
    networks: [10.20.7.0/24]
services:
  - id: local/printer
    reason: receipt printer firmware, ticket 4711
    until: 2027-01-31T00:00:00Z
    destinations:
      - {host: fw.printer.example, ports: [tcp/443]}
      - {network: 10.20.5.7/32, ports: [tcp/9100]}
  - id: local/ended
    reason: was tried in 2026
    until: 2026-12-31T00:00:00Z
    destinations:
      - {host: trial.example, ports: [tcp/443]}
      - {host: api.eu.sunmi.com, ports: [tcp/443]}
      - {host: dns.google, ports: [tcp/8443]}
  - id: local/shards
    reason: shards of the database
    destinations:
      - {host: "s-*.shards.example", ports: [tcp/443]}
      - {host: "s-eu-*.shards.example", ports: [tcp/8443], private: true}
  - id: local/deep
    reason: deny within allow
    destinations:
      - {host: "*.deep.example", ports: [tcp/443]}
      - {host: taken.example, ports: [tcp/443]}
      - {host: "*.taken.example", ports: [tcp/443]}
  - id: local/clock
    reason: its own clock, for a while
    until: 2027-01-01T00:00:00Z
    destinations: [{host: clock.example, ports: [udp/123]}]
deny:
  - host: "*.ads.example"
  - host: no.deep.example
  - host: none.deep.example
  - host: "*.none.deep.example"
  - host: "t*.deep.example"
  - host: taken.example
  - host: "*.taken.example"
  - host: s-eu-1.shards.example
`

func mustCompile(t testing.TB, policy string, packs ...string) *Set {
	t.Helper()
	files := []File{{Name: "policy.yaml", Data: []byte(policy)}}
	for i := 0; i < len(packs); i += 2 {
		files = append(files, File{Name: "packs/" + packs[i] + ".yaml", Data: []byte(packs[i+1])})
	}
	set, err := Compile(files)
	if err != nil {
		t.Fatalf("compiling:\n%v", err)
	}
	return set
}

// told is a decision in one line: verdict, reason, class, host of the rule, above.
func told(d Decision) string {
	words := []string{d.Verdict.String(), d.Reason.String()}
	if d.Class != nil {
		words = append(words, d.Class.Name)
	}
	if d.Rule != nil {
		words = append(words, d.Rule.Host)
	}
	if d.Above {
		words = append(words, "above")
	}
	return strings.Join(words, " ")
}

var day = time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	const sunmi, pos, pc, stranger = "10.20.1.5", "10.20.0.5", "10.20.9.5", "192.168.1.5"
	set := mustCompile(t, decidePolicy)
	for _, tt := range []struct {
		plane  Plane
		client string
		name   string
		port   string // empty: none
		want   string
	}{
		// DNS looks at names, not at ports.
		{DNS, sunmi, "api.sunmi.com", "", "allow documented sunmi api.sunmi.com"},
		{DNS, sunmi, "pool.ntp.org", "", "allow documented sunmi pool.ntp.org"},
		{DNS, pos, "dns.google", "", "allow documented pos dns.google"},
		{DNS, pos, "fw.printer.example", "", "allow local-service pos fw.printer.example"},
		{DNS, pc, "central.payxpert.com", "", "allow documented pc central.payxpert.com"},
		{DNS, pc, "a.b.central.payxpert.com", "", "allow documented pc *.central.payxpert.com"},
		{DNS, sunmi, "central.payxpert.com", "", "deny other-class sunmi central.payxpert.com"},
		{DNS, pos, "api.sunmi.com", "", "deny other-class pos api.sunmi.com"},
		{DNS, sunmi, "example.org", "", "deny not-documented sunmi"},
		{DNS, pc, "example.org", "", "would-deny not-documented pc"},
		{DNS, stranger, "dns.google", "", "deny unknown-client"},

		// Above names that this class may have.
		{DNS, sunmi, "", "", "deny not-documented sunmi above"},
		{DNS, sunmi, "com", "", "deny not-documented sunmi above"},
		{DNS, sunmi, "payxpert.com", "", "deny not-documented sunmi above"},
		{DNS, sunmi, "eu.sunmi.com", "", "deny not-documented sunmi above"},
		{DNS, sunmi, "x.eu.sunmi.com", "", "deny not-documented sunmi"},
		{DNS, pos, "sunmi.com", "", "deny not-documented pos"}, // what local/ended has below it has ended
		{DNS, pos, "qualcomm.cn", "", "deny not-documented pos"},
		{DNS, sunmi, "printer.example", "", "deny not-documented sunmi"},
		{DNS, pos, "printer.example", "", "deny not-documented pos above"},
		{DNS, pc, "shards.example", "", "would-deny not-documented pc above"},
		{DNS, pc, "deep.example", "", "would-deny not-documented pc above"},
		{Connect, sunmi, "com", "tcp/443", "deny not-documented sunmi"},

		// Every other plane needs the port too.
		{TLS, sunmi, "www.google.com", "tcp/443", "allow documented sunmi www.google.com"},
		{HTTP, sunmi, "www.google.com", "tcp/80", "deny port sunmi www.google.com"},
		{HTTP, sunmi, "www.qualcomm.cn", "tcp/80", "allow documented sunmi www.qualcomm.cn"},
		{Connect, sunmi, "www.qualcomm.cn", "tcp/443", "allow documented sunmi www.qualcomm.cn"},
		{Connect, sunmi, "www.qualcomm.cn", "udp/123", "deny port sunmi www.qualcomm.cn"},
		{Firewall, sunmi, "pool.ntp.org", "udp/123", "allow documented sunmi pool.ntp.org"},
		{Connect, pc, "central.payxpert.com", "tcp/22", "would-deny port pc central.payxpert.com"},
		{Connect, pos, "central.payxpert.com", "tcp/22", "deny other-class pos central.payxpert.com"},

		// Wildcards, of two kinds.
		{DNS, pc, "s-1.shards.example", "", "allow local-service pc s-*.shards.example"},
		{DNS, pc, "s-.shards.example", "", "deny bad-name pc"},
		{DNS, pc, "t-1.shards.example", "", "would-deny not-documented pc"},
		{DNS, pc, "a.s-1.shards.example", "", "would-deny not-documented pc"},
		{DNS, pc, "s-eu-2.shards.example", "", "allow local-service pc s-eu-*.shards.example"},
		{TLS, pc, "s-eu-2.shards.example", "tcp/443", "allow local-service pc s-*.shards.example"},
		{TLS, pc, "s-eu-2.shards.example", "tcp/8443", "allow local-service pc s-eu-*.shards.example"},

		// Deny beats allow, and what is below it may still be allowed.
		{DNS, pc, "s-eu-1.shards.example", "", "would-deny denied-by-policy pc s-eu-1.shards.example"},
		{DNS, sunmi, "x.ads.example", "", "deny denied-by-policy sunmi *.ads.example"},
		{DNS, sunmi, "ads.example", "", "deny not-documented sunmi"},
		{DNS, pc, "a.deep.example", "", "allow local-service pc *.deep.example"},
		{DNS, pc, "no.deep.example", "", "would-deny denied-by-policy pc no.deep.example above"},
		{DNS, pc, "a.no.deep.example", "", "allow local-service pc *.deep.example"},
		{DNS, pc, "none.deep.example", "", "would-deny denied-by-policy pc none.deep.example"},
		{DNS, pc, "a.none.deep.example", "", "would-deny denied-by-policy pc *.none.deep.example"},
		{DNS, pc, "t1.deep.example", "", "would-deny denied-by-policy pc t*.deep.example above"},
		{DNS, pc, "a.t1.deep.example", "", "allow local-service pc *.deep.example"},
		{DNS, pc, "taken.example", "", "would-deny denied-by-policy pc taken.example"},

		// Rules that have ended.
		{DNS, pos, "trial.example", "", "deny expired pos trial.example"},
		{TLS, pos, "trial.example", "tcp/443", "deny expired pos trial.example"},
		{TLS, pos, "trial.example", "tcp/80", "deny port pos trial.example"},
		{TLS, pos, "dns.google", "tcp/8443", "deny expired pos dns.google"},
		{DNS, sunmi, "trial.example", "", "deny other-class sunmi trial.example"},

		// Names that are none. The class is known all the same, and observing changes nothing.
		{DNS, pc, "a..example", "", "deny bad-name pc"},
		{DNS, pc, "Central.payxpert.com", "", "deny bad-name pc"}, // not canonical
		{DNS, pc, "central.payxpert.com.", "", "deny bad-name pc"},
		{DNS, pc, "*.central.payxpert.com", "", "deny bad-name pc"},
		{DNS, pc, "s-*.shards.example", "", "deny bad-name pc"},
		{DNS, pc, strings.Repeat("a.", 127) + "a", "", "deny bad-name pc"},
		{Connect, pc, "", "tcp/443", "deny bad-name pc"},
		{DNS, stranger, "a..example", "", "deny bad-name"},
		{DNS, pc, "192.0.2.1", "", "deny ip-literal pc"},
		{Connect, pc, "192.0.2.1", "tcp/443", "deny ip-literal pc"},
		{Connect, pc, "2001:db8::1", "tcp/443", "deny ip-literal pc"},
		{Connect, pc, "[2001:db8::1]", "tcp/443", "deny ip-literal pc"},
		{TLS, pc, "0x7f.1", "tcp/443", "deny ip-literal pc"},
		{HTTP, stranger, "3221225985", "tcp/80", "deny ip-literal"},

		// NTP does not look at the name.
		{NTP, sunmi, "", "udp/123", "allow documented sunmi pool.ntp.org"},
		{NTP, sunmi, "192.0.2.1", "udp/123", "allow documented sunmi pool.ntp.org"},
		{NTP, pos, "", "udp/123", "allow local-service pos"},
		{NTP, "10.20.8.1", "", "udp/123", "deny expired soon clock.example"},
		{NTP, "10.20.7.1", "", "udp/123", "deny other-class idle pool.ntp.org"},
		{NTP, pc, "", "udp/123", "would-deny other-class pc pool.ntp.org"},
		{NTP, stranger, "", "udp/123", "deny unknown-client"},
	} {
		r := Request{Plane: tt.plane, Client: netip.MustParseAddr(tt.client), Name: tt.name, Now: day}
		if tt.port != "" {
			p, err := parsePort(tt.port)
			if err != nil {
				p = Port{UDP, 123}
			}
			r.Proto, r.Port = p.Proto, p.Number
		}
		if got := told(set.Decide(r)); got != tt.want {
			t.Errorf("%s %s %q %s: %s\nwant: %s", tt.plane, tt.client, tt.name, tt.port, got, tt.want)
		}
	}
}

// What was allowed below a name counts as long as it is allowed.
func TestAboveEnds(t *testing.T) {
	set := mustCompile(t, decidePolicy)
	for _, tt := range []struct {
		client, name string
		now          time.Time
		want         string
	}{
		{"10.20.0.5", "printer.example", day, "deny not-documented pos above"},
		{"10.20.0.5", "printer.example", day.AddDate(0, 0, 20), "deny not-documented pos"},
		{"10.20.0.5", "printer.example", time.Time{}, "deny not-documented pos above"},
		{"10.20.0.5", "eu.sunmi.com", day, "deny not-documented pos"},
		{"10.20.0.5", "eu.sunmi.com", day.AddDate(0, -1, 0), "deny not-documented pos above"},
		{"10.20.1.5", "eu.sunmi.com", day, "deny not-documented sunmi above"},
		{"10.20.0.5", "example", day, "deny not-documented pos above"},
		{"10.20.0.5", "example", day.AddDate(0, 0, 20), "deny not-documented pos"},
	} {
		r := Request{Client: netip.MustParseAddr(tt.client), Name: tt.name, Now: tt.now}
		if got := told(set.Decide(r)); got != tt.want {
			t.Errorf("%s %s at %v: %s, want %s", tt.client, tt.name, tt.now, got, tt.want)
		}
	}
}

func TestUntil(t *testing.T) {
	set := mustCompile(t, decidePolicy)
	end := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		now  time.Time
		want Reason
	}{
		{end.Add(-time.Nanosecond), LocalService},
		{end, Expired},
		{end.In(time.FixedZone("", 3600)), Expired},
		{time.Time{}, LocalService}, // no trusted time ends nothing
	} {
		r := Request{Plane: TLS, Client: netip.MustParseAddr("10.20.0.5"), Name: "fw.printer.example", Proto: TCP, Port: 443, Now: tt.now}
		if d := set.Decide(r); d.Reason != tt.want {
			t.Errorf("at %v: %s, want %s", tt.now, d.Reason, tt.want)
		}
		r = Request{Plane: NTP, Client: netip.MustParseAddr("10.20.8.1"), Now: tt.now}
		if d := set.Decide(r); (d.Verdict == Allow) != tt.now.IsZero() {
			t.Errorf("NTP at %v: %s", tt.now, told(d))
		}
	}
}

// Of several rules that allow, the one that allows most is told.
func TestPrecedence(t *testing.T) {
	const policy = `version: 1
classes:
  pos: {networks: [10.0.0.0/8], services: ["payxpert/*", "local/*"]}
services:
  - id: local/mdm
    reason: the terminals' MQTT client sends no SNI
    destinations: [{host: iot-mqtts.eu.sunmi.com, ports: [tcp/443], sni: optional}]
  - id: local/split
    reason: our resolver answers with an address of the store
    destinations:
      - {host: "*.payxpert.com", ports: [tcp/443], private: true}
      - {host: central.payxpert.com, ports: [tcp/8443]}
`
	set := mustCompile(t, policy)
	for _, tt := range []struct{ name, want string }{
		{"iot-mqtts.eu.sunmi.com", "local/mdm iot-mqtts.eu.sunmi.com tcp/443 sni optional"},
		{"connect2.payxpert.com", "local/split *.payxpert.com tcp/443 private"},
		{"api.eu.sunmi.com", "payxpert/sunmi-tms api.eu.sunmi.com tcp/443"},
	} {
		d := set.Decide(Request{Plane: TLS, Client: netip.MustParseAddr("10.0.0.1"), Name: tt.name, Proto: TCP, Port: 443})
		if d.Rule == nil || d.Rule.Service.ID+" "+d.Rule.String() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, d.Rule, tt.want)
		}
	}
}

func TestObserve(t *testing.T) {
	set := mustCompile(t, `version: 1
mode: observe
packs: []
classes:
  a: {networks: [10.0.0.0/8]}
  b: {networks: [10.1.0.0/16], mode: enforce}
`)
	if set.Mode() != Observe {
		t.Errorf("mode %s", set.Mode())
	}
	for client, want := range map[string]string{
		"10.0.0.1":  "would-deny not-documented a",
		"10.1.0.1":  "deny not-documented b",
		"192.0.2.1": "deny unknown-client",
	} {
		d := set.Decide(Request{Client: netip.MustParseAddr(client), Name: "example.com"})
		if got := told(d); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
		if d.Pass() != strings.HasPrefix(want, "would") {
			t.Errorf("%s: pass %v", client, d.Pass())
		}
	}
}

func TestClass(t *testing.T) {
	set := mustCompile(t, decidePolicy)
	for _, tt := range []struct{ client, iface, want string }{
		{"10.20.1.1", "", "sunmi"},
		{"10.20.1.1", "eth0.20", "sunmi"}, // a network comes first
		{"10.20.2.1", "", "pos"},
		{"::ffff:10.20.1.1", "", "sunmi"},
		{"fd00:20:1::7", "", "sunmi"},
		{"fe80::1", "", "pos"},
		{"fe80::1%eth3", "", "pos"},
		{"fd00:20:2::7", "", ""},
		{"fd00:20:2::7", "eth0.20", "pos"},
		{"172.16.0.1", "eth0.20", "pos"},
		{"172.16.0.1", "eth0.2", ""},
		{"172.16.0.1", "", ""},
	} {
		got := ""
		if c := set.Class(netip.MustParseAddr(tt.client), tt.iface); c != nil {
			got = c.Name
		}
		if got != tt.want {
			t.Errorf("%s on %q: %q, want %q", tt.client, tt.iface, got, tt.want)
		}
	}
	if c := set.Class(netip.Addr{}, ""); c != nil {
		t.Errorf("no address at all: %s", c.Name)
	}
}

func TestSet(t *testing.T) {
	set := mustCompile(t, strings.Replace(decidePolicy, "[payxpert]", "[acme, payxpert]", 1), "acme", acme)
	var packs, classes, services []string
	for _, p := range set.Packs() {
		packs = append(packs, p.Name+": "+p.Title)
	}
	for _, c := range set.Classes() {
		classes = append(classes, c.Name+" "+c.Pos.String())
	}
	for _, s := range set.Services()[:2] {
		services = append(services, s.ID)
	}
	rules := set.Rules()
	got := [][]string{packs, classes, services, {rules[0].String(), rules[0].Pos.String()}, {rules[len(rules)-1].String()}}
	want := [][]string{
		{"acme: Acme", "payxpert: PayXpert — Network & Firewall Considerations"},
		{"sunmi policy.yaml:4", "pos policy.yaml:7", "pc policy.yaml:12", "soon policy.yaml:16", "idle policy.yaml:19"},
		{"acme/api", "payxpert/emv"},
		{"api.acme.example tcp/443", "packs/acme.yaml:9"},
		{"s-eu-1.shards.example"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(set.Hash()) != 64 || set.ID() != set.Hash()[:12] {
		t.Errorf("hash %q, id %q", set.Hash(), set.ID())
	}
}

// The hash is over the files in force, by name: not over the order that they
// are listed or given in, nor over packs that are not listed, and it does not
// matter where a pack is from.
func TestHash(t *testing.T) {
	policy := func(packs string) string {
		return "version: 1\npacks: [" + packs + "]\nclasses: {a: {networks: [10.0.0.0/8]}}\n"
	}
	payxpert, _ := embeddedPack("payxpert")
	base := mustCompile(t, policy("payxpert")).Hash()
	for name, hash := range map[string]string{
		"an unlisted pack":       mustCompile(t, policy("payxpert"), "acme", acme).Hash(),
		"the pack in the folder": mustCompile(t, policy("payxpert"), "payxpert", string(payxpert.Data)).Hash(),
	} {
		if hash != base {
			t.Errorf("%s changed the hash", name)
		}
	}
	for name, hash := range map[string]string{
		"a comment":      mustCompile(t, policy("payxpert")+"#\n").Hash(),
		"a listed pack":  mustCompile(t, policy("payxpert, acme"), "acme", acme).Hash(),
		"another pack":   mustCompile(t, policy("payxpert"), "payxpert", string(payxpert.Data)+"#\n").Hash(),
		"no pack at all": mustCompile(t, policy("")).Hash(),
	} {
		if hash == base {
			t.Errorf("%s did not change the hash", name)
		}
	}
	// Framing: what moves from one file to the next changes it.
	a := hashFiles([]File{{Name: "a", Data: []byte("bc")}, {Name: "d", Data: nil}})
	b := hashFiles([]File{{Name: "a", Data: []byte("b")}, {Name: "cd", Data: nil}})
	if a == b {
		t.Error("two lists of files have one hash")
	}
}
