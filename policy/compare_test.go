package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompare(t *testing.T) {
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
      - {host: b.example, ports: [tcp/443], sni: optional}
  - id: local/b
    reason: ticket 1
    destinations:
      - {host: a.example, ports: [tcp/443]}
deny: [{host: d.example}]
`
	const after = `version: 1
# one line more
mode: observe
packs: [acme]
classes:
  pos: {networks: [10.20.0.0/24], services: [local/a, acme/api], mode: enforce}
  new: {networks: [10.9.0.0/16], services: [local/a], mode: enforce}
services:
  - id: local/a
    reason: ticket 1
    until: 2027-01-31T01:00:00+01:00
    destinations:
      - {host: b.example, ports: [tcp/443], sni: optional, private: true}
      - {network: 10.20.5.7/32, ports: [tcp/9100]}
  - id: local/b
    reason: ticket 1
    destinations:
      - {host: a.example, ports: [tcp/443]}
deny: []
`
	var got []string
	for _, d := range Compare(mustCompile(t, before, "acme", acme), mustCompile(t, after, "acme", acme)) {
		change := "changed"
		switch {
		case d.Added():
			change = "added"
		case d.Removed():
			change = "removed"
		}
		got = append(got, fmt.Sprintf("%s %s %s %s: -%s +%s, %v %v", change, d.Kind, d.Service, d.Name,
			strings.Join(d.NoMore, ","), strings.Join(d.Now, ","), d.Old, d.New))
	}
	want := []string{
		"changed mode  mode: -enforce +observe, policy.yaml:0 policy.yaml:0",
		"added class  new: - +mode enforce,network 10.9.0.0/16,service local/a, :0 policy.yaml:7",
		"removed class  old: -interface eth1,mode enforce +, policy.yaml:5 :0",
		"changed service  local/a: - +until 2027-01-31T00:00:00Z, policy.yaml:7 policy.yaml:9",
		"added rule local/a 10.20.5.7/32: - +class new,class pos,tcp/9100, :0 policy.yaml:14",
		"removed rule local/a a.example: -class pos,tcp/443 +, policy.yaml:10 :0",
		"changed rule local/a b.example: - +class new,private, policy.yaml:11 policy.yaml:13",
		"removed deny  d.example: - +, policy.yaml:16 :0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
