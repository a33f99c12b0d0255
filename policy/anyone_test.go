package policy

import (
	"fmt"
	"testing"
	"time"
)

func TestAnyoneMay(t *testing.T) {
	const files = `version: 1
packs: [payxpert]
classes:
  a: {networks: [10.0.0.0/24], services: [payxpert/emv, local/x]}
  b: {networks: [10.0.1.0/24], services: [payxpert/central]%s}
services:
  - id: local/x
    reason: a test
    until: 2027-01-31T00:00:00Z
    destinations: [{host: x.example, ports: [tcp/443]}]
deny: [{host: no.central.payxpert.com}]
`
	compile := func(mode string) *Set {
		t.Helper()
		text := []byte(fmt.Sprintf(files, mode))
		set, err := Compile([]File{{Name: "policy.yaml", Data: text}})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	enforced, observed := compile(""), compile(", mode: observe")
	end := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		now  time.Time
		want bool
	}{
		{"dns.google", end, true},
		{"a.central.payxpert.com", end, true},
		{"no.central.payxpert.com", end, false},
		{"api.eu.sunmi.com", end, false}, // documented, but for nobody here
		{"example.com", end, false},
		{"x.example", end.Add(-1), true},
		{"x.example", end, false},
		{"x.example", time.Time{}, true},
	} {
		if got, steered := enforced.AnyoneMay(tt.name, tt.now); got != tt.want || steered {
			t.Errorf("%s at %v: %v", tt.name, tt.now, got)
		}
		if may, _ := observed.AnyoneMay(tt.name, tt.now); !may {
			t.Errorf("%s: not with an observed class", tt.name)
		}
	}
}
