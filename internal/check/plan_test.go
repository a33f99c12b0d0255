package check

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
)

// load compiles the text of a policy.yaml.
func load(t *testing.T, text string) *policy.Set {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := policy.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// gist is a plan in lines.
func gist(p Plan) (lines []string) {
	for _, t := range p.Targets {
		line := fmt.Sprintf("%s %s %s/%d", t.Requirement, t.Host, t.Proto, t.Port)
		if t.Skip != "" {
			line = fmt.Sprintf("%s %s not tried", t.Requirement, t.Host)
		}
		if t.Denied != "" {
			line += " " + t.Denied
		}
		lines = append(lines, line)
	}
	return lines
}

// TestDocument has every destination of the document in the plan, with what it is asked.
func TestDocument(t *testing.T) {
	set, err := policy.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	p := NewPlan(set, nil, time.Time{})
	count := make(map[int]int)
	skipped := 0
	for _, target := range p.Targets {
		count[target.Row]++
		if target.Skip != "" {
			skipped++
		}
	}
	if diff := cmp.Diff(map[int]int{1: 4, 2: 2, 3: 2, 4: 2, 5: 6, 6: 1, 7: 11, 8: 1, 9: 5}, count); diff != "" || skipped != 1 || p.LeftOut != 0 {
		t.Errorf("%d not tried, %d left out; destinations by row (-want +got):\n%s", skipped, p.LeftOut, diff)
	}
}

func TestPlan(t *testing.T) {
	set := load(t, `version: 1
classes:
  pos:   {networks: [10.20.0.0/24], services: [payxpert/apm, local/shop]}
  wired: {interfaces: [eth0.20], services: [local/shop]}
  outer: {networks: [10.20.0.0/16], services: [local/shop]}
services:
  - id: local/shop
    reason: loyalty cards, ticket 7
    destinations:
      - {host: cards.example, ports: [tcp/443, tcp/8443, udp/123]}
      - {host: "*.cards.example", ports: [tcp/443, tcp/80]}
      - {network: 10.20.5.7/32, ports: [tcp/9100]}
      - {host: ads.example, ports: [tcp/80]}
  - id: local/old
    reason: it was for the move
    until: 2026-01-01T00:00:00Z
    destinations: [{host: old.example, ports: [tcp/443]}]
deny: [{host: ads.example}]
`)
	shop := []string{
		"local cards.example tcp/443", "local cards.example tcp/8443", "local cards.example udp/123",
		"local *.cards.example not tried", "local 10.20.5.7/32 not tried",
	}
	deny := "local ads.example tcp/80 a deny rule names it, policy.yaml:18"
	for class, want := range map[string][]string{
		"pos":   append(append([]string{"optional connect2.payxpert.com tcp/443", "optional stats.payxpert.com tcp/443"}, shop...), deny),
		"wired": append(shop[:5:5], deny),
	} {
		i := 0
		for set.Classes()[i].Name != class {
			i++
		}
		if diff := cmp.Diff(want, gist(NewPlan(set, set.Classes()[i], time.Time{}))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", class, diff)
		}
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for at, want := range map[time.Time]bool{now: false, {}: true} {
		if got := strings.Contains(strings.Join(gist(NewPlan(set, nil, at)), "\n"), "old.example"); got != want {
			t.Errorf("at %v a service that has ended is in the plan: %v", at, got)
		}
	}
}

// TestPlanBound has more destinations than a test tries.
func TestPlanBound(t *testing.T) {
	var text strings.Builder
	text.WriteString("version: 1\npacks: []\nclasses: {pos: {networks: [10.0.0.0/8], services: [local/many]}}\nservices:\n  - id: local/many\n    reason: many\n    destinations:\n")
	for i := range maxTargets + 3 {
		fmt.Fprintf(&text, "      - {host: h%d.example, ports: [tcp/443]}\n", i)
	}
	if p := NewPlan(load(t, text.String()), nil, time.Time{}); len(p.Targets) != maxTargets || p.LeftOut != 3 {
		t.Errorf("%d in the plan, %d left out", len(p.Targets), p.LeftOut)
	}
}
