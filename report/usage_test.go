package report

import (
	"fmt"
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tillgate/decision"
	"tillgate/policy"
)

const storePolicy = `
version: 1
classes:
  pos: {networks: [10.20.0.0/24], interfaces: [eth0.20], services: [acme/pay, local/printer], time: true}
  pc: {networks: [10.20.9.0/24], services: [acme/office], mode: observe}
services:
  - id: local/printer
    reason: receipt printer firmware
    until: 2027-01-31T00:00:00Z
    destinations:
      - {host: fw.printer.example, ports: [tcp/443]}
packs: [acme]
deny: [{host: "*.ads.example"}]
`

const acmePack = `
pack: acme
title: Acme
source: acme.txt
services:
  - {id: pay, row: 1, title: Payments, for: [pos], requirement: required, purpose: [Pay], destinations: [{host: pay.acme.example, ports: [tcp/443]}]}
  - {id: office, row: 2, title: Office, for: [pc], requirement: conditional, purpose: [Look], destinations: [{host: office.acme.example, ports: [tcp/443]}]}
`

func storeSet(t *testing.T) *policy.Set {
	t.Helper()
	set, err := policy.Compile([]policy.File{
		{Name: "policy.yaml", Data: []byte(storePolicy)},
		{Name: "packs/acme.yaml", Data: []byte(acmePack)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var (
	noon    = time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)
	compare = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})
)

// past is the digests of a journal.
type past struct{ digests []decision.Digest }

func (p *past) Digests(since, until time.Time) iter.Seq2[decision.Digest, error] {
	return func(yield func(decision.Digest, error) bool) {
		for _, d := range p.digests {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// used is a use of a rule of storeSet.
func used(service, rule, name string, v policy.Verdict, ago time.Duration, n uint64) decision.Use {
	return decision.Use{First: noon.Add(-ago), Last: noon.Add(-ago), Plane: policy.DNS, Verdict: v, Service: service, Rule: rule, Name: name, Count: n, Up: n, Down: 2 * n}
}

func TestCountUsage(t *testing.T) {
	set := storeSet(t)
	const pay, office = "packs/acme.yaml:6", "packs/acme.yaml:7"
	j := &past{digests: []decision.Digest{{Uses: []decision.Use{
		used("acme/pay", pay, "pay.acme.example", policy.Allow, 3*time.Hour, 1),
		used("acme/pay", pay, "", policy.Allow, 2*time.Hour, 2), // a rule with too many names
		used("acme/office", office, "office.acme.example", policy.Deny, time.Hour, 4),
		used("acme/pay", office, "pay.acme.example", policy.Allow, time.Hour, 8), // an edit has moved it
		used("acme/pay", "packs/acme.yaml:99", "gone.example", policy.Allow, time.Hour, 16),
		used("", "", "ads.example", policy.Deny, time.Hour, 32),
		used("", decision.OtherRule, "", policy.Allow, time.Hour, 64),
		used("acme/pay", pay, "pay.acme.example", policy.Allow, 100*time.Hour, 128), // before
	}}}}
	u, err := CountUsage(t.Context(), set, j.Digests, noon.Add(-10*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]RuleUsage{}
	for _, r := range u.Rules {
		rows[r.Rule+r.Host] = r
	}
	want := map[string]RuleUsage{
		pay + "pay.acme.example": {Rule: pay, Service: "acme/pay", Row: 1, Requirement: "required", Host: "pay.acme.example",
			Ports: []string{"tcp/443"}, Reason: "Payments: Pay", Allowed: 11, Up: 11, Down: 22,
			First: noon.Add(-3 * time.Hour), Last: noon.Add(-time.Hour)},
		office + "office.acme.example": {Rule: office, Service: "acme/office", Row: 2, Requirement: "conditional", Host: "office.acme.example",
			Ports: []string{"tcp/443"}, Reason: "Office: Look", Denied: 4, Up: 4, Down: 8,
			First: noon.Add(-time.Hour), Last: noon.Add(-time.Hour)},
		"packs/acme.yaml:99": {Rule: "packs/acme.yaml:99", Service: "acme/pay", Gone: true, Reason: "in the policy no more", Allowed: 16, Up: 16, Down: 32,
			First: noon.Add(-time.Hour), Last: noon.Add(-time.Hour)},
	}
	for key, row := range want {
		if d := cmp.Diff(row, rows[key]); d != "" {
			t.Errorf("%s: %s", key, d)
		}
	}
	if u.Other != 64 || len(u.Rules) != len(set.Rules())+1 || !u.From.Equal(noon.Add(-3*time.Hour)) {
		t.Errorf("%d others, %d rules, from %v", u.Other, len(u.Rules), u.From)
	}
}

// Rules that come and go are bounded, and counted.
func TestCountUsageBounds(t *testing.T) {
	j := &past{digests: []decision.Digest{{}}}
	for i := range maxFound + 10 {
		j.digests[0].Uses = append(j.digests[0].Uses, used("acme/gone", fmt.Sprintf("policy.yaml:%d", i+1000), "", policy.Allow, time.Hour, 1))
	}
	set := storeSet(t)
	u, err := CountUsage(t.Context(), set, j.Digests, noon.Add(-10*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, r := range u.Rules {
		total += r.Allowed
	}
	if total != maxFound+10 || len(u.Rules) != len(set.Rules())+maxGone+1 {
		t.Errorf("%d uses of %d rules", total, len(u.Rules))
	}
}
