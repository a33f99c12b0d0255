package console

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

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
		pay + "pay.acme.example": {Rule: pay, Service: "acme/pay", Row: 1, Host: "pay.acme.example", Allowed: 11, Up: 11, Down: 22,
			First: noon.Add(-3 * time.Hour), Last: noon.Add(-time.Hour)},
		office + "office.acme.example": {Rule: office, Service: "acme/office", Row: 2, Host: "office.acme.example", Denied: 4, Up: 4, Down: 8,
			First: noon.Add(-time.Hour), Last: noon.Add(-time.Hour)},
		"packs/acme.yaml:99": {Rule: "packs/acme.yaml:99", Service: "acme/pay", Gone: true, Allowed: 16, Up: 16, Down: 32,
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

func TestSince(t *testing.T) {
	set := storeSet(t)
	c, _ := serve(t, Config{Journal: &past{}, Policy: func() *policy.Set { return set }, Clock: func() time.Time { return noon }})
	for text, want := range map[string]time.Time{
		"":                     noon.AddDate(0, 0, -90),
		"30d":                  noon.AddDate(0, 0, -30),
		"1h30m":                noon.Add(-90 * time.Minute),
		"2026-11-01T00:00:00Z": time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
	} {
		u, err := ask[Usage](t.Context(), c, "/v1/usage?since="+url.QueryEscape(text))
		if err != nil || !u.Since.Equal(want) {
			t.Errorf("%q: %v, want %v; %v", text, u.Since, want, err)
		}
	}
	for _, bad := range []string{"yesterday", "-1h", "99999d", "d"} {
		if _, err := ask[Usage](t.Context(), c, "/v1/usage?since="+bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := ask[Usage](t.Context(), c, "/v1/usage?from=1h"); err == nil {
		t.Error("an unknown parameter is taken")
	}
}
