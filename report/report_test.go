package report

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

// written is a journal of several runs of a box, each of which records what it is told to.
func written(t *testing.T, now *time.Time, runs ...func(j *decision.Journal)) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "journal")
	for _, run := range runs {
		j, err := decision.Open(decision.Config{Dir: dir, Now: func() time.Time { return *now },
			PolicyID: func() string { return "0123456789ab" }})
		if err != nil {
			t.Fatal(err)
		}
		run(j)
		ended, end := context.WithCancel(context.Background())
		end()
		if err := j.Serve(ended); err != nil { // writes what waits
			t.Fatal(err)
		}
	}
	return dir
}

// of is what a report of a folder is made of.
func of(t *testing.T, dir string) Source {
	return Source{
		Set: storeSet(t), Origin: "the files", Now: noon, Since: noon.Add(-48 * time.Hour), Running: "tillgate v1", Time: "fine, by 3 servers",
		Digests: func(since, until time.Time) iter.Seq2[decision.Digest, error] {
			return decision.Digests(dir, since, until)
		},
		Verify: func(n int) (decision.Report, error) { return decision.VerifyNewest(dir, n) },
		Oldest: noon.Add(-400 * 24 * time.Hour),
	}
}

// hostile is a name that somebody asked for, to do harm to who reads the report.
const hostile = "=cmd|' /C calc'!A1<script>alert(1)</script>\x1b[31m\u202e"

func TestMake(t *testing.T) {
	now := noon.Add(-24 * time.Hour)
	till := netip.MustParseAddr("10.20.0.7")
	tunnel := decision.Record{Plane: policy.Connect, Verdict: policy.Allow, Reason: policy.Documented, Client: till, Class: "pos",
		Name: decision.ResolverName, Port: 443, Proto: policy.TCP, Service: "acme/pay", Row: 1, Rule: "packs/acme.yaml:6"}
	closed := tunnel
	closed.Event, closed.Up, closed.Down = decision.EventClose, 1000, 2000
	dir := written(t, &now,
		func(j *decision.Journal) {
			j.Record(decision.Record{Plane: policy.System, Event: decision.EventStart, Detail: "tillgate v1 started"})
			j.Record(decision.Record{Plane: policy.Policy, Event: decision.EventChange, By: "edit", Detail: "0123456789ab in force: policy.yaml: service local/printer added"})
			j.Record(tunnel)
			j.Record(closed)
			j.Record(decision.Record{Plane: policy.DNS, Reason: policy.NotDocumented, Client: till, Class: "pos", Name: hostile, Qtype: "A"})
			j.Record(decision.Record{Plane: policy.TLS, Reason: policy.NotDocumented, Client: till, Class: "pos", Name: "ads.example", Port: 443, Proto: policy.TCP, Count: 3, Until: now})
			j.Record(decision.Record{Plane: policy.System, Event: decision.EventGap, Count: 7, Until: now.Add(time.Minute), Detail: "5 records were lost"})
			j.Record(decision.Record{Plane: policy.System, Event: decision.EventTime, Detail: "the time is known"})
			now = now.Add(time.Hour)
			j.Record(decision.Record{Plane: policy.System, Event: decision.EventStop, Detail: "tillgate stopped by SIGTERM"})
		},
		func(j *decision.Journal) {
			now = now.Add(time.Hour)
			j.Record(decision.Record{Plane: policy.System, Event: decision.EventStart, Detail: "tillgate v1 started"})
			j.Record(decision.Record{Plane: policy.System, Event: decision.EventHealth, Detail: "upstream: bad: no route"})
		})
	src := of(t, dir)
	src.Drift = []string{"the policy's files are not in force: line 3"}
	rep, err := Make(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	first := noon.Add(-24 * time.Hour)
	wantTunnel := Tunnel{Name: "dns.google", Clients: []TunnelClient{{Client: till, Class: "pos", Tunnels: 1, Up: 1000, Down: 2000, First: first, Last: first}}}
	if d := cmp.Diff(wantTunnel, rep.Tunnel, compare); d != "" {
		t.Error(d)
	}
	wantDenials := []Denial{
		{Class: "pos", Name: "ads.example", Port: 443, Verdict: "deny", Reason: "not-documented", Planes: []string{"tls"}, Count: 3, First: first, Last: first},
		{Class: "pos", Name: hostile, Verdict: "deny", Reason: "not-documented", Planes: []string{"dns"}, Count: 1, First: first, Last: first},
	}
	if d := cmp.Diff(wantDenials, rep.Denials, compare); d != "" {
		t.Error(d)
	}
	if len(rep.Changes) != 1 || len(rep.Gaps) != 1 || rep.Gaps[0].Attempts != 7 || len(rep.TimeChanges) != 1 || len(rep.Others) != 3 {
		t.Errorf("story: %+v", rep.Story)
	}
	wantOutages := []Outage{
		{Part: "box", State: "down", From: first.Add(time.Hour), To: first.Add(2 * time.Hour), Seconds: 3600, Text: "tillgate stopped by SIGTERM"},
		{Part: "upstream", State: "bad", From: first.Add(2 * time.Hour), Seconds: 22 * 3600, Text: "no route"},
	}
	if d := cmp.Diff(wantOutages, rep.Outages); d != "" {
		t.Error(d)
	}
	if j := rep.Journal; !j.Good() || j.Full || j.Segments != 2 || j.Links != 1 || j.Checked.Segments != 2 || j.Checked.Records != 11 {
		t.Errorf("%+v", j)
	}
	if rep.Policy.Last != "0123456789ab" {
		t.Errorf("policy %+v", rep.Policy)
	}
	testForms(t, &rep)

	// Without a box, the files are compared with what it had in force when it wrote last.
	src.Running, src.Drift = "", nil
	if rep, err = Make(t.Context(), src); err != nil {
		t.Fatal(err)
	}
	if p := rep.Parts()[0]; !p.Bad || !slices.Contains(p.Text, "Drift: the box that wrote the journal had policy 0123456789ab in force.") {
		t.Errorf("%+v", p)
	}
}

// testForms checks what is made of a report in which hostile was asked for.
func testForms(t *testing.T, rep *Report) {
	var page bytes.Buffer
	if err := rep.HTML(&page); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(page.String(), "<wbr>", "") // where a path may break
	for _, want := range []string{"&lt;script&gt;", `\x1b[31m`, `\u202e`, "PCI DSS 10.7.2, 10.7.3", "Drift: the policy&#39;s files", "those of the newest 2 segments were checked record by record: 11 records (1 to 11), 2 seals",
		"0123456789ab in force: policy.yaml: service local/printer added", "receipt printer firmware, until 2027-01-31 00:00:00Z", "goes on"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if m := regexp.MustCompile(`(?i)<script|<img|<link|href="[^#]|src=|\x1b|\x{202e}`).FindString(text); m != "" {
		t.Errorf("the page has %q", m)
	}
	for _, name := range []string{"section", "table", "tr", "td", "p", "div"} {
		if open, end := len(regexp.MustCompile("<"+name+"[ >]").FindAllString(text, -1)), strings.Count(text, "</"+name+">"); open == 0 || open != end {
			t.Errorf("%d times <%s>, %d times </%s>", open, name, end, name)
		}
	}
	ids := map[string]bool{}
	for _, p := range rep.Parts() {
		if ids[p.ID] {
			t.Errorf("two parts %s", p.ID)
		}
		ids[p.ID] = true
		rows, err := csv.NewReader(bytes.NewReader(p.CSV())).ReadAll() // each as long as the first
		if err != nil || len(rows) != len(p.Rows)+1 {
			t.Errorf("%s.csv: %d rows, %v", p.ID, len(rows), err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if strings.HasPrefix(cell, "=") || strings.Contains(cell, "\x1b") {
					t.Errorf("%s.csv has %q", p.ID, cell)
				}
			}
		}
	}
	// Who gets it as JSON makes the same of it.
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(rep.Parts(), again.Parts()); d != "" {
		t.Error(d)
	}
}

// A journal that was tampered with is told as broken, and where.
func TestMakeBroken(t *testing.T) {
	runs := make([]func(*decision.Journal), 5)
	for i := range runs {
		runs[i] = func(j *decision.Journal) {
			j.Record(decision.Record{Plane: policy.System, Event: decision.EventStart, Detail: fmt.Sprint("run ", i)})
		}
	}
	for _, tt := range []struct {
		name            string
		tamper          func(dir string) error
		unlinked, where string // with the quick look
		full            string
	}{
		{"intact", func(string) error { return nil }, "", "", ""},
		{"a segment is missing", func(dir string) error { return os.Remove(filepath.Join(dir, "00000003.jsonl")) },
			"segments 00000003 to 00000003 are missing", "", "segment 00000004.jsonl: segments 00000003 to 00000003 before it are missing"},
		{"the newest is changed", func(dir string) error { return change(filepath.Join(dir, "00000005.jsonl"), "run 4", "run 9") },
			"", "segment 00000005.jsonl, line 3, records 5 to 5: the seal does not fit what it seals", "segment 00000005.jsonl, line 3, records 5 to 5: the seal does not fit what it seals"},
		{"an old one is changed", func(dir string) error { return change(filepath.Join(dir, "00000002.jsonl"), "run 1", "run 9") },
			"", "", "segment 00000002.jsonl, line 3, records 2 to 2: the seal does not fit what it seals"},
		{"an old one is another", func(dir string) error {
			return change(filepath.Join(dir, "00000002.jsonl"), `{"seal":"`, `{"seal":"00`)
		}, "segment 00000003 does not follow the end of segment 00000002", "", "segment 00000003.jsonl, line 1: it does not follow the end of segment 00000002.jsonl"},
	} {
		now := noon
		dir := written(t, &now, runs...)
		if err := tt.tamper(dir); err != nil {
			t.Fatal(err)
		}
		rep, err := Make(t.Context(), of(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rep.Journal.Unlinked, "; "); got != tt.unlinked {
			t.Errorf("%s: unlinked %q", tt.name, got)
		}
		if got := strings.Join(rep.Journal.Broken, "; "); got != tt.where {
			t.Errorf("%s: broken %q", tt.name, got)
		}
		if err := rep.Journal.Check(of(t, dir).Verify, 0); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rep.Journal.Broken, "; "); !strings.HasPrefix(got, tt.full) || rep.Journal.Good() != (tt.full == "") {
			t.Errorf("%s: in full %q, good %v", tt.name, got, rep.Journal.Good())
		}
		journal := rep.Parts()[len(rep.Parts())-1]
		if journal.Bad != (tt.full != "") {
			t.Errorf("%s: the part is told as bad: %v", tt.name, journal.Bad)
		}
	}
}

func change(name, from, to string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(from)) {
		return fmt.Errorf("%s has no %q", name, from)
	}
	return os.WriteFile(name, bytes.Replace(b, []byte(from), []byte(to), 1), 0o600)
}

// Whatever clients do, a report is bounded, and counts all the same.
func TestMakeBounds(t *testing.T) {
	var d decision.Digest
	for i := range maxCounted + 50 {
		u := used("", "", fmt.Sprintf("n%d.example", i), policy.Deny, time.Hour, 1)
		u.Rule = "packs/acme.yaml:6"
		d.Uses = append(d.Uses, u)
	}
	for i := range maxClients + 50 {
		u := used("acme/pay", "packs/acme.yaml:6", decision.ResolverName, policy.Allow, time.Hour, 1)
		u.Client = netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)})
		d.Uses = append(d.Uses, u)
	}
	rest := used("", decision.OtherRule, "", policy.Deny, time.Hour, 5)
	d.Uses = append(d.Uses, rest)
	src := of(t, written(t, new(noon), func(j *decision.Journal) {}))
	src.Digests = (&past{digests: []decision.Digest{d}}).Digests
	rep, err := Make(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	told := rep.Denied
	for _, d := range rep.Denials {
		told += d.Count
	}
	if len(rep.Denials) != maxDenials || told != maxCounted+50+5 {
		t.Errorf("%d denials of %d attempts", len(rep.Denials), told)
	}
	if len(rep.Tunnel.Clients) != maxClients || rep.Tunnel.Others != 50 {
		t.Errorf("%d clients, %d others", len(rep.Tunnel.Clients), rep.Tunnel.Others)
	}
}
