package replay

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const inForce = `version: 1
classes:
  pos: {networks: [10.20.0.0/24], interfaces: [eth0.20], services: [payxpert/emv, local/own]}
  pc: {networks: [10.20.9.0/24], services: [payxpert/central], mode: observe}
  kiosk: {interfaces: [eth0.30], services: [payxpert/emv]}
services:
  - id: local/own
    reason: ticket 1
    destinations:
      - {host: www.own.example, ports: [tcp/443]}
      - {host: printer.own.example, ports: [tcp/443], private: true}
      - {host: mqtt.own.example, ports: [tcp/8883], sni: optional}
      - {host: time.own.example, ports: [udp/123]}
      - {network: 10.20.5.7/32, ports: [tcp/9100]}
deny: [{host: "*.ads.example"}]
`

// edited returns the policy in force with pairs of texts replaced.
func edited(t *testing.T, replace ...string) *policy.Set {
	t.Helper()
	text := inForce
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("the policy has no %q", replace[i])
		}
		text = strings.Replace(text, replace[i], replace[i+1], 1)
	}
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// records parses records as the journal has them, without time, seq and plane where that is
// dns.
func record(t *testing.T, text string) *decision.Record {
	t.Helper()
	if !strings.Contains(text, `"plane"`) {
		text = `"plane":"dns","qtype":"A",` + text
	}
	r, err := decision.ParseRecord([]byte(`{"time":"2026-11-20T07:00:00Z","seq":1,` + text + "}"))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &r
}

func TestDiff(t *testing.T) {
	noWWW := []string{"      - {host: www.own.example, ports: [tcp/443]}\n", ""}
	for _, tt := range []struct {
		what   string
		edit   []string
		record string
		known  string
		want   string // change, verdict and reason
	}{
		{"a rule that goes", noWWW, `"verdict":"allow","reason":"local-service","client":"10.20.0.7","name":"www.own.example"`, "", "stops, allow to deny not-documented"},
		{"its tunnel", noWWW, `"plane":"connect","verdict":"allow","client":"10.20.0.7","name":"www.own.example","port":443,"proto":"tcp"`, "", "stops, allow to deny not-documented"},
		{"another name", noWWW, `"verdict":"allow","client":"10.20.0.7","name":"dns.google"`, "", ""},
		{"a close is no attempt", noWWW, `"plane":"connect","event":"close","verdict":"allow","client":"10.20.0.7","name":"www.own.example","port":443,"proto":"tcp"`, "", ""},
		{"its upstream failed", noWWW, `"plane":"connect","verdict":"allow","rcode":"dns_timeout","client":"10.20.0.7","name":"www.own.example","port":443,"proto":"tcp"`, "", "stops, allow to deny not-documented"},
		{"a type that is not given", noWWW, `"verdict":"allow","reason":"qtype","client":"10.20.0.7","name":"www.own.example"`, "", "stops, allow to deny not-documented"},
		{"too many", noWWW, `"verdict":"deny","reason":"rate","client":"10.20.0.7"`, "", ""},
		{"time untrusted", noWWW, `"verdict":"deny","reason":"time-untrusted","client":"10.20.0.7","name":"www.own.example"`, "", ""},
		{"another port", []string{"www.own.example, ports: [tcp/443]", "www.own.example, ports: [tcp/8443]"},
			`"plane":"tls","verdict":"allow","client":"10.20.0.7","name":"www.own.example","port":443,"proto":"tcp"`, "", "stops, allow to deny port"},
		{"its name resolves all the same", []string{"www.own.example, ports: [tcp/443]", "www.own.example, ports: [tcp/8443]"},
			`"verdict":"allow","client":"10.20.0.7","name":"www.own.example"`, "", ""},
		{"an end that is past", []string{"reason: ticket 1", "reason: ticket 1\n    until: 2026-11-21T00:00:00Z"},
			`"verdict":"allow","client":"10.20.0.7","name":"www.own.example"`, "", "stops, allow to deny expired"},
		{"an end to come", []string{"reason: ticket 1", "reason: ticket 1\n    until: 2026-11-23T00:00:00Z"},
			`"verdict":"allow","client":"10.20.0.7","name":"www.own.example"`, "", ""},
		{"a deny rule", []string{"*.ads.example", "*.own.example"}, `"verdict":"allow","client":"10.20.0.7","name":"www.own.example"`, "", "stops, allow to deny denied-by-policy"},
		{"one less", []string{"*.ads.example", "*.bad.example", "www.own.example", "www.ads.example"},
			`"verdict":"deny","client":"10.20.0.7","name":"www.ads.example"`, "", "passes, deny to allow local-service"},
		{"a network in another class", []string{"[10.20.0.0/24]", "[10.20.1.0/24]", "[10.20.9.0/24]", "[10.20.9.0/24, 10.20.0.0/24]"},
			`"verdict":"allow","client":"10.20.0.7","name":"dns.google"`, "", "noted, allow to would-deny other-class"},
		{"a client that will be in no class", []string{"[10.20.0.0/24]", "[10.20.1.0/24]"},
			`"verdict":"allow","client":"10.20.0.7","name":"dns.google"`, "", "stops, allow to deny unknown-client"},
		{"a stranger that will be in one", []string{"[10.20.0.0/24]", "[10.20.0.0/24, 10.20.7.0/24]"},
			`"verdict":"deny","reason":"unknown-client","client":"10.20.7.1","name":"dns.google"`, "", "passes, deny to allow documented"},
		{"a class by interface", []string{"[eth0.30], services: [payxpert/emv]", "[eth0.30], services: [payxpert/apm]"},
			`"verdict":"allow","client":"10.9.9.9","class":"kiosk","name":"dns.google"`, "", "stops, allow to deny other-class"},
		{"observe", []string{"payxpert/central], mode: observe", "payxpert/central]"}, `"verdict":"would-deny","client":"10.20.9.7","name":"www.example"`, "", "stops, would-deny to deny not-documented"},
		{"what was observed", []string{"payxpert/central", "payxpert/*"}, `"verdict":"would-deny","client":"10.20.9.7","name":"dns.google"`, "", "noted, would-deny to allow documented"},
		{"a private address", []string{"own.example, ports: [tcp/443], private: true", "own.example, ports: [tcp/443]"},
			`"verdict":"allow","client":"10.20.0.7","name":"printer.own.example","answers":["10.20.5.7"]`, "", "stops, allow to deny private-address"},
		{"a private address that is let", []string{"www.own.example, ports: [tcp/443]", "www.own.example, ports: [tcp/443], private: true"},
			`"plane":"tls","verdict":"deny","reason":"private-address","client":"10.20.0.7","name":"www.own.example","port":443,"proto":"tcp"`, "", "passes, deny to allow local-service"},
		{"a private address that is not", noWWW,
			`"plane":"tls","verdict":"deny","reason":"private-address","client":"10.20.0.7","name":"www.own.example","port":443,"proto":"tcp"`, "", ""},
		{"a time server's name, answered with the box's address", []string{"time.own.example, ports: [udp/123]", "time.own.example, ports: [udp/123, tcp/443]"},
			`"verdict":"allow","client":"10.20.0.7","name":"time.own.example","answers":["10.20.0.1"]`, "", ""},
		{"the box's own name", []string{"[10.20.0.0/24]", "[10.20.1.0/24]"}, `"verdict":"allow","client":"10.20.0.7","name":"tillgate.internal"`, "", ""},
		{"no SNI, observed", []string{"local/own]", "local/own], mode: observe"},
			`"plane":"tls","verdict":"deny","reason":"no-sni","client":"10.20.0.7","port":443,"proto":"tcp","dest":"45.60.1.1:443"`, "", "passes, deny to would-deny no-sni"},
		{"no SNI, to the store", []string{"local/own]", "local/own], mode: observe"},
			`"plane":"tls","verdict":"deny","reason":"no-sni","client":"10.20.0.7","port":443,"proto":"tcp","dest":"10.0.0.1:443"`, "", ""},
		{"no SNI, by a name that may", []string{"mqtt.own.example, ports: [tcp/8883]", "mq.own.example, ports: [tcp/8883]"},
			`"plane":"tls","verdict":"deny","reason":"no-sni","client":"10.20.0.7","port":8883,"proto":"tcp","dest":"45.60.1.1:8883"`, "mq.own.example", "passes, deny to allow local-service"},
		{"nothing said", []string{"local/own]", "local/own], mode: observe"},
			`"plane":"tls","verdict":"deny","reason":"no-hello","client":"10.20.0.7","port":443,"proto":"tcp","dest":"45.60.1.1:443"`, "", ""},
		{"the time", []string{"mode: observe", "time: true"},
			`"plane":"ntp","verdict":"deny","reason":"other-class","client":"10.20.9.7","port":123,"proto":"udp"`, "", "noted, would-deny to allow local-service"},
		{"a packet within the store", []string{"10.20.5.7/32", "10.20.5.0/28"},
			`"plane":"firewall","verdict":"deny","reason":"firewall","client":"10.20.0.7","port":9100,"proto":"tcp","dest":"10.20.5.8:9100"`, "", "passes, deny to allow local-service"},
		{"a network whose service has ended", []string{"reason: ticket 1", "reason: ticket 1\n    until: 2026-11-21T00:00:00Z"},
			`"plane":"firewall","verdict":"deny","reason":"firewall","client":"10.20.0.7","port":9100,"proto":"tcp","dest":"10.20.5.7:9100"`, "", "stops, allow to deny firewall"},
		{"a packet to the Internet, observed", []string{"local/own]", "local/own], mode: observe"},
			`"plane":"firewall","verdict":"deny","reason":"firewall","client":"10.20.0.7","port":853,"proto":"tcp","dest":"9.9.9.9:853"`, "", "passes, deny to would-deny firewall"},
		{"a packet whose port will be redirected", []string{"www.own.example, ports: [tcp/443]", "push.own.example, ports: [tcp/5228]"},
			`"plane":"firewall","verdict":"deny","reason":"firewall","client":"10.20.0.7","port":5228,"proto":"tcp","dest":"45.60.1.1:5228"`, "push.own.example", "passes, deny to allow local-service"},
		{"and whose name is not known", []string{"www.own.example, ports: [tcp/443]", "push.own.example, ports: [tcp/5228]"},
			`"plane":"firewall","verdict":"deny","reason":"firewall","client":"10.20.0.7","port":5228,"proto":"tcp","dest":"45.60.1.1:5228"`, "", "1 unjudged"},
		{"various names", noWWW, `"plane":"dns","verdict":"allow","reason":"local-service","client":"10.20.0.7","count":7`, "", "7 unjudged"},
		{"various clients", noWWW, `"plane":"tls","verdict":"allow","reason":"local-service","count":7`, "", "7 unjudged"},
	} {
		d := NewDiff(edited(t), edited(t, tt.edit...), now)
		r := record(t, tt.record)
		d.Add(r, tt.known)
		got := ""
		for _, g := range d.Groups() {
			got += fmt.Sprintf("%v, %v to %v %v", g.Change, g.Was.Verdict, g.Is.Verdict, g.Is.Reason)
		}
		if d.Unjudged > 0 {
			got += fmt.Sprint(d.Unjudged, " unjudged")
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
}

// Attempts are counted with those that records stand for, by group.
func TestDiffGroups(t *testing.T) {
	d := NewDiff(edited(t), edited(t, "      - {host: www.own.example, ports: [tcp/443]}\n", "", "*.ads.example", "mqtt.own.example"), now)
	for _, text := range []string{
		`"verdict":"allow","client":"10.20.0.7","name":"www.own.example"`,
		`"verdict":"allow","client":"10.20.0.7","name":"www.own.example","count":9,"until":"2026-11-20T07:00:09Z"`,
		`"verdict":"allow","client":"10.20.0.8","name":"www.own.example"`,
		`"verdict":"allow","client":"10.20.0.8","name":"mqtt.own.example"`,
		`"verdict":"allow","client":"10.20.0.8","name":"dns.google"`,
	} {
		d.Add(record(t, text), "")
	}
	at := now.Add(-53 * time.Hour)
	type group struct {
		Name string
		Traffic
	}
	var got []group
	for _, g := range d.Groups() {
		got = append(got, group{g.Name, g.Traffic})
	}
	seven, eight := netip.MustParseAddr("10.20.0.7"), netip.MustParseAddr("10.20.0.8")
	want := []group{
		{"www.own.example", Traffic{Attempts: 11, Clients: []netip.Addr{seven, eight}, First: at, Last: at.Add(9 * time.Second)}},
		{"mqtt.own.example", Traffic{Attempts: 1, Clients: []netip.Addr{eight}, First: at, Last: at}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d.Attempts != 13 || d.Changed != [3]uint64{12, 0, 0} || d.Unlisted != [3]uint64{} {
		t.Errorf("%d attempts, %v changed, %v unlisted", d.Attempts, d.Changed, d.Unlisted)
	}
}

// What is kept is bounded; what has no room is counted.
func TestDiffIsBounded(t *testing.T) {
	d := NewDiff(edited(t), edited(t, "*.ads.example", "*.own.example", "host: www.own.example", `host: "*.own.example"`), now)
	old := edited(t, "host: www.own.example", `host: "*.own.example"`)
	d.old = old
	r := record(t, `"verdict":"allow","client":"10.20.0.7","name":"x.own.example","count":2`)
	for i := range MaxGroups + 10 {
		r.Name = fmt.Sprintf("x%d.own.example", i)
		d.Add(r, "")
	}
	if len(d.Groups()) != MaxGroups || d.Changed[Stops] != 2*MaxGroups+20 || d.Unlisted[Stops] != 20 {
		t.Errorf("%d groups, %v changed, %v unlisted", len(d.Groups()), d.Changed, d.Unlisted)
	}
	r.Name = "x0.own.example"
	for i := range MaxClients + 1 {
		r.Client = netip.AddrFrom4([4]byte{10, 20, 0, byte(i)})
		d.Add(r, "")
	}
	if g := d.Groups()[0]; len(g.Clients) != MaxClients || !g.MoreClients {
		t.Errorf("%d clients, more: %v", len(g.Clients), g.MoreClients)
	}
}
