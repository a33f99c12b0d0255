package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummarize(t *testing.T) {
	const before = `version: 1
packs: [acme]
classes:
  pos: {networks: [10.20.0.0/24], services: [acme/api, local/a]}
  old: {interfaces: [eth1]}
services:
  - id: local/a
    reason: ticket 1
    destinations:
      - {host: a.example, ports: [tcp/443]}
      - {host: b.example, ports: [tcp/443]}
deny: [{host: d.example}]
`
	const after = `version: 1
mode: observe
packs: [acme]
classes:
  pos: {networks: [10.21.0.0/24], interfaces: [eth0], services: [local/a, "acme/*"], time: true}
  new: {networks: [10.9.0.0/16], services: [local/a], mode: enforce}
services:
  - id: local/a
    reason: ticket 2
    until: 2027-01-31T01:00:00+01:00
    destinations:
      - {host: b.example, ports: [tcp/443, tcp/80], private: true, sni: optional}
      - {network: 10.20.5.7/32, ports: [tcp/9100]}
deny: [{host: "*.d.example"}]
`
	pack := strings.NewReplacer("[pays]", "[pays, refunds]", "required", "conditional", "title: API\n", "title: API\n    row: 7\n    for: [pos]\n").Replace(acme) +
		"suggestions: [{host: x.acme.example, near: acme/api, why: seen}]\n"
	got := summarize(mustCompile(t, before, "acme", acme), mustCompile(t, after, "acme", pack))
	want := []string{
		"mode: observe, was enforce",
		"class added: new, mode enforce, network 10.9.0.0/16, service local/a",
		"class removed: old",
		"class pos: no more mode enforce, no more network 10.20.0.0/24, now interface eth0, now mode observe, now network 10.21.0.0/24, now time",
		"service acme/api: no more requirement required, now for pos, now purpose refunds, now requirement conditional, now row 7",
		"service local/a: no more a.example tcp/443, no more b.example tcp/443, no more reason ticket 1, now 10.20.5.7/32 tcp/9100, now b.example tcp/443 tcp/80 private sni optional, now reason ticket 2, now until 2027-01-31T00:00:00Z",
		"deny added: *.d.example",
		"deny removed: d.example",
		"suggestion added: x.acme.example, near acme/api, why seen",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSummaryIsBounded(t *testing.T) {
	var deny strings.Builder
	for i := range 100 {
		fmt.Fprintf(&deny, "  - {host: d%02d.example}\n", i)
	}
	got := summarize(mustCompile(t, small), mustCompile(t, small+"deny:\n"+deny.String()))
	if len(got) != maxSummary+1 || got[maxSummary] != "and 60 more" {
		t.Errorf("%d lines, the last: %s", len(got), got[len(got)-1])
	}
}
