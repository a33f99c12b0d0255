package console

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
suggestions:
  - {host: "cdn.acme.example", near: acme/pay, why: pictures of goods}
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

func TestExplain(t *testing.T) {
	set := storeSet(t)
	till, pc := netip.MustParseAddr("10.20.0.7"), netip.MustParseAddr("10.20.9.7")
	pay := Match{
		Destination: Destination{Host: "pay.acme.example", Ports: []string{"tcp/443"}, At: "packs/acme.yaml:6"},
		Service:     "acme/pay", Row: 1, Title: "Payments", Requirement: "required",
	}
	office := Match{
		Destination: Destination{Host: "office.acme.example", Ports: []string{"tcp/443"}, At: "packs/acme.yaml:7"},
		Service:     "acme/office", Row: 2, Title: "Office", Requirement: "conditional",
	}
	for name, tt := range map[string]struct {
		ask  Question
		want Explanation
	}{
		"documented, as a person writes it": {
			Question{Client: till, Name: "Pay.Acme.Example.", Port: 443, Proto: policy.TCP, Plane: policy.Connect},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "connect", Name: "pay.acme.example", Port: 443, Proto: "tcp",
				Verdict: "allow", Reason: "documented", Text: "in the provider's document", Rule: &pay, Ports: []string{"tcp/443"}},
		},
		"the box": {
			Question{Client: till, Name: "tillgate.internal"},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "dns", Name: "tillgate.internal",
				Verdict: "allow", Reason: "local-service",
				Text: "answered by the box itself: special-use name, ICANN board resolution 2024.07.29.06"},
		},
		"the box's page": {
			Question{Client: till, Name: "tillgate.internal", Port: 80, Proto: policy.TCP, Plane: policy.HTTP},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "http", Name: "tillgate.internal", Port: 80, Proto: "tcp",
				Verdict: "allow", Reason: "local-service", Text: "answered by the box itself: the box's own page"},
		},
		"the time": {
			Question{Client: till, Name: "time.windows.com", Port: 123, Proto: policy.UDP, Plane: policy.NTP},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "ntp", Name: "time.windows.com", Port: 123, Proto: "udp",
				Verdict: "allow", Reason: "local-service",
				Text: "a service of the store's own; whatever server is asked, the box answers where it serves time"},
		},
		"the time of a server that has no address": {
			Question{Client: till, Name: "time.example", Port: 123, Proto: policy.UDP, Plane: policy.NTP},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "ntp", Name: "time.example", Port: 123, Proto: "udp",
				Verdict: "deny", Reason: "not-documented", Text: "no rule names it"},
		},
		"a time server": {
			Question{Client: till, Name: "time.windows.com"},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "dns", Name: "time.windows.com",
				Verdict: "allow", Reason: "local-service",
				Text: "a service of the store's own; where the box serves time, it answers with its own address"},
		},
		"special-use, observed": {
			Question{Client: pc, Name: "Nas.local."},
			Explanation{Client: pc, Class: "pc", Mode: "observe", Plane: "dns", Name: "nas.local",
				Verdict: "deny", Reason: "not-documented", Text: "answered by the box itself: special-use name, RFC 6762"},
		},
		"another class": {
			Question{Client: till, Name: "office.acme.example"},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "dns", Name: "office.acme.example",
				Verdict: "deny", Reason: "other-class", Text: "documented, but not for this class of device", Rule: &office,
				Others: []string{"pc"}, Nearest: []Match{pay}},
		},
		"a suggestion, observed": {
			Question{Client: pc, Name: "cdn.acme.example"},
			Explanation{Client: pc, Class: "pc", Mode: "observe", Plane: "dns", Name: "cdn.acme.example",
				Verdict: "would-deny", Reason: "not-documented", Text: "no rule names it", Nearest: []Match{office},
				Suggestion: &Suggestion{"cdn.acme.example", "acme/pay", "pictures of goods", "packs/acme.yaml:9"}},
		},
		"by interface": {
			Question{Client: netip.MustParseAddr("192.168.1.1"), Interface: "eth0.20", Name: "acme.example"},
			Explanation{Client: netip.MustParseAddr("192.168.1.1"), Interface: "eth0.20", Class: "pos", Mode: "enforce", Plane: "dns", Name: "acme.example",
				Verdict: "deny", Reason: "not-documented", Text: "no rule names it", Above: true, Nearest: []Match{pay}},
		},
		"unknown client": {
			Question{Client: netip.MustParseAddr("192.168.1.1"), Name: "pay.acme.example"},
			Explanation{Client: netip.MustParseAddr("192.168.1.1"), Plane: "dns", Name: "pay.acme.example",
				Verdict: "deny", Reason: "unknown-client", Text: "this client's address is in no class", Others: []string{"pos"},
				Interfaces: []ClassIface{{"pos", []string{"eth0.20"}}}},
		},
		"deny rule": {
			Question{Client: till, Name: "x.ads.example"},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "dns", Name: "x.ads.example",
				Verdict: "deny", Reason: "denied-by-policy", Text: "a deny rule names it",
				Rule: &Match{Destination: Destination{Host: "*.ads.example", At: "policy.yaml:13"}}},
		},
		"no name": {
			Question{Client: till, Name: "pay acme"},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "dns", Name: "pay acme",
				Verdict: "deny", Reason: "bad-name", Text: "not a valid host name"},
		},
		"ended": {
			Question{Client: till, Name: "fw.printer.example", Port: 443, Proto: policy.TCP, Plane: policy.TLS},
			Explanation{Client: till, Class: "pos", Mode: "enforce", Plane: "tls", Name: "fw.printer.example", Port: 443, Proto: "tcp",
				Verdict: "deny", Reason: "expired", Text: "the rule that allowed it has ended",
				Rule: &Match{
					Destination: Destination{Host: "fw.printer.example", Ports: []string{"tcp/443"}, At: "policy.yaml:11"},
					Service:     "local/printer", Why: "receipt printer firmware", Until: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Explain(set, tt.ask, time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC))
			tt.want.Policy = set.ID()
			// How many rules are near, and which, is the policy's to test.
			if len(got.Nearest) > 1 {
				got.Nearest = got.Nearest[:1]
			}
			if tt.want.Nearest == nil {
				got.Nearest = nil
			}
			if diff := cmp.Diff(tt.want, got, compare); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDescribePolicy(t *testing.T) {
	set := storeSet(t)
	want := Policy{
		ID:   set.ID(),
		Hash: set.Hash(),
		Mode: "enforce",
		Packs: []Pack{
			{Name: "acme", Title: "Acme", Source: "acme.txt"},
		},
		Classes: []Class{
			{Name: "pos", Networks: []string{"10.20.0.0/24"}, Interfaces: []string{"eth0.20"}, Services: []string{"acme/pay", "local/printer"}, Time: true, Mode: "enforce", At: "policy.yaml:4"},
			{Name: "pc", Networks: []string{"10.20.9.0/24"}, Services: []string{"acme/office"}, Mode: "observe", At: "policy.yaml:5"},
		},
		Services: []Service{
			{ID: "acme/pay", Row: 1, Title: "Payments", For: []string{"pos"}, Requirement: "required", Purpose: []string{"Pay"}, At: "packs/acme.yaml:6",
				Destinations: []Destination{{Host: "pay.acme.example", Ports: []string{"tcp/443"}, At: "packs/acme.yaml:6"}}},
			{ID: "acme/office", Row: 2, Title: "Office", For: []string{"pc"}, Requirement: "conditional", Purpose: []string{"Look"}, At: "packs/acme.yaml:7",
				Destinations: []Destination{{Host: "office.acme.example", Ports: []string{"tcp/443"}, At: "packs/acme.yaml:7"}}},
			{ID: "local/printer", Reason: "receipt printer firmware", Until: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), At: "policy.yaml:7",
				Destinations: []Destination{{Host: "fw.printer.example", Ports: []string{"tcp/443"}, At: "policy.yaml:11"}}},
		},
		Deny: []Destination{{Host: "*.ads.example", At: "policy.yaml:13"}},
	}
	if diff := cmp.Diff(want, DescribePolicy(set)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
