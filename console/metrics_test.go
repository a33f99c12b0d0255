package console

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"tillgate/decision"
	"tillgate/policy"
)

func exampleMetrics() []byte {
	return appendMetrics(nil, Status{
		Version: `v1 "quoted\" ` + "\n",
		Uptime:  12.5,
		Parts:   []Part{{Name: "dns", State: "ok"}, {Name: "upstream", State: "bad"}},
		Policy:  PolicyStatus{ID: "531dad289d26", Mode: "enforce", Error: "bad", Observed: []Observation{{}}},
		DNS:     DNSCounts{Queries: 1<<53 + 2},
		Proxy:   ProxyCounts{Up: 7},
		Time:    TimeStatus{Level: "coarse", ErrorMs: 1.5},
		Journal: JournalCounts{Oldest: time.Unix(1_700_000_000, 0)},
	}, []decision.Decided{{Plane: policy.DNS, Verdict: policy.Deny, Reason: policy.NotDocumented, Attempts: 3}})
}

// Prometheus' own linter reads them, and knows nothing better.
func TestMetricsLint(t *testing.T) {
	problems, err := promlint.New(bytes.NewReader(exampleMetrics())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetrics(t *testing.T) {
	text := string(exampleMetrics())
	for _, want := range []string{
		`tillgate_build_info{version="v1 \"quoted\\\" \n"} 1`,
		`tillgate_uptime_seconds 12.5`,
		`tillgate_part_state{part="upstream",state="ok"} 0`,
		`tillgate_part_state{part="upstream",state="bad"} 1`,
		`tillgate_decisions_total{plane="dns",verdict="deny",reason="not-documented"} 3`,
		`tillgate_policy_info{policy="531dad289d26",mode="enforce"} 1`,
		`tillgate_policy_files_refused 1`,
		`tillgate_policy_observed_classes 1`,
		`tillgate_dns_queries_total 9.007199254740994e+15`,
		`tillgate_proxy_bytes_total{direction="up"} 7`,
		`tillgate_clock_level{level="coarse"} 1`,
		`tillgate_clock_error_seconds 0.0015`,
		`tillgate_journal_oldest_timestamp_seconds 1700000000`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if text := string(appendMetrics(nil, Status{}, nil)); strings.Contains(text, "_error_seconds") || strings.Contains(text, "_oldest_") {
		t.Error("what is not known is told")
	}
}

// The dashboard shows the metrics that there are, and leaves out none of them.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../packaging/grafana/tillgate.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Error("it is not JSON")
	}
	all := func(pattern string, in []byte) []string {
		var names []string
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(in, -1) {
			names = append(names, string(m[1]))
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	there, shown := all(`(?m)^# TYPE (\S+)`, exampleMetrics()), all(`\b(tillgate_[a-z_]+)`, text)
	if diff := cmp.Diff(there, shown); diff != "" {
		t.Errorf("the dashboard shows others (-there +shown):\n%s", diff)
	}
}

// The machine itself sees them without a login, others by HTTP Basic.
func TestMetricsAccess(t *testing.T) {
	state := t.TempDir()
	if err := writePassword(state, quick("correct horse")); err != nil {
		t.Fatal(err)
	}
	var records []decision.Record
	_, at := serveWeb(t, Config{Web: WebConfig{Listen: []string{"127.0.0.1:0", "0.0.0.0:0"}, State: state,
		Record: func(r decision.Record) { records = append(records, r) }}})
	resp, text := fetch(t, "GET", at[0], "/metrics", "")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != metricsType || !strings.HasPrefix(text, "# HELP tillgate_build_info ") {
		t.Errorf("%s, %s\n%s", resp.Status, resp.Header.Get("Content-Type"), text)
	}
	b := newBrowser(t, poolOf(t, state))
	url := "https://localhost:" + portOf(at[1]) + "/metrics"
	basic := func(password string) string {
		r, _ := http.NewRequest("GET", "/", nil)
		r.SetBasicAuth("prometheus", password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	for range 3 {
		if resp := b.send(t, "GET", url, "", basic("correct horse")); resp.StatusCode != http.StatusOK || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("with the password: %s", resp.Status)
		}
	}
	if len(records) != 1 {
		t.Errorf("%d records of a scraper that comes again and again", len(records))
	}
	for _, h := range []string{basic("wrong"), "Authorization: Bearer x", "X: y"} {
		if resp := b.send(t, "GET", url, "", h); resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: %s", h, resp.Status)
		}
	}
}
