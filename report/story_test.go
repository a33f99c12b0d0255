package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// told makes a story of lines like "10 health upstream: bad: no route", which begin with a
// minute; "--" begins another segment, "use 10" is traffic.
func told(lines string, running bool) Story {
	s := storyteller{since: noon.Add(10 * time.Minute)}
	var d decision.Digest
	seq := uint64(0)
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		var minute int
		var event string
		switch {
		case line == "":
			continue
		case line == "--":
			s.add(&d)
			d = decision.Digest{}
			continue
		case strings.HasPrefix(line, "use "):
			fmt.Sscanf(line, "use %d", &minute)
			d.Uses = append(d.Uses, decision.Use{Last: noon.Add(time.Duration(minute) * time.Minute)})
			continue
		}
		fmt.Sscanf(line, "%d %s", &minute, &event)
		_, detail, _ := strings.Cut(line, event+" ")
		seq++
		r := decision.Record{Time: noon.Add(time.Duration(minute) * time.Minute), Seq: seq, Plane: policy.System, Event: decision.Event(event), Detail: detail}
		d.Events = append(d.Events, r, r) // written twice by a crash
	}
	s.add(&d)
	return s.end(noon.Add(100*time.Minute), running)
}

// outages are "part state from-to text", in minutes.
func outages(s Story) string {
	var b strings.Builder
	for _, o := range s.Outages {
		to := "now"
		if !o.To.IsZero() {
			to = fmt.Sprint(o.To.Sub(noon).Minutes())
		}
		fmt.Fprintf(&b, "%s %s %v-%s (%g) %s\n", o.Part, o.State, o.From.Sub(noon).Minutes(), to, o.Seconds/60, o.Text)
	}
	return b.String()
}

func TestOutages(t *testing.T) {
	for name, tt := range map[string]struct{ lines, want string }{
		"a part":        {"10 health upstream: bad: no route\n20 health upstream: ok after 10m0s: 8.8.8.8 answers", "upstream bad 10-20 (10) no route\n"},
		"it goes on":    {"10 health upstream: bad: no route", "upstream bad 10-now (90) no route\n"},
		"it gets worse": {"10 health upstream: warn: slow\n15 health upstream: bad: dead\n18 health upstream: bad: dead\n20 health upstream: ok after 5m0s: well", "upstream warn 10-15 (5) slow\nupstream bad 15-20 (5) dead\n"},
		"two at once":   {"10 health a: bad: x\n11 health b: bad: y\n12 health a: ok after 2m0s: z\n13 health b: ok after 2m0s: z", "a bad 10-12 (2) x\nb bad 11-13 (2) y\n"},
		"the journal":   {"10 health journal: cannot be written; records wait in memory: disk full\n12 health journal: written again, after 2m0s", "journal bad 10-12 (2) cannot be written; records wait in memory: disk full\n"},
		"well already":  {"10 health upstream: ok after 5m0s: well", ""},
		"stopped":       {"10 start x\n20 stop tillgate stopped by SIGTERM\n--\n25 start x", "box down 20-25 (5) tillgate stopped by SIGTERM\n"},
		"power cut":     {"10 start x\nuse 18\n--\n25 start x", "box down 18-25 (7) it ended without a word: a power cut or a crash\n"},
		"parts end with the box": {"10 health upstream: bad: no route\n20 stop bye\n--\n25 start x",
			"upstream bad 10-20 (10) no route\nbox down 20-25 (5) bye\n"},
		"parts end in the power cut": {"10 health upstream: bad: no route\nuse 15\n--\n25 start x",
			"upstream bad 10-15 (5) no route\nbox down 15-25 (10) it ended without a word: a power cut or a crash\n"},
		"the first start": {"10 start x", ""},
		"before":          {"1 health upstream: bad: no route\n9 health upstream: ok after 8m0s: well", ""},
		"from before":     {"1 health upstream: bad: no route\n11 health upstream: ok after 10m0s: well", "upstream bad 1-11 (10) no route\n"},
		"clock set back":  {"20 stop bye\n--\n15 start x", "box down 20-20 (0) bye\n"},
	} {
		if got := outages(told(tt.lines, true)); got != tt.want {
			t.Errorf("%s:\n%swant\n%s", name, got, tt.want)
		}
	}
	// Without a box, what went on has ended with it.
	if got, want := outages(told("10 health upstream: bad: no route\nuse 30", false)), "upstream bad 10-30 (20) no route\nbox down 30-now (70) no box runs\n"; got != want {
		t.Errorf("no box:\n%s", got)
	}
	if got, want := outages(told("10 start x\n30 stop bye", false)), "box down 30-now (70) bye\n"; got != want {
		t.Errorf("stopped:\n%s", got)
	}
}

// A part was well before that was told: the status says so, too.
func TestOutageEndsWhenItEnded(t *testing.T) {
	at := func(second int) time.Time { return noon.Add(time.Duration(second) * time.Second) }
	s := storyteller{since: noon}
	s.add(&decision.Digest{Events: []decision.Record{
		{Seq: 1, Time: at(5), Until: at(5), Plane: policy.System, Event: decision.EventHealth, Detail: "upstream: bad: no route"},
		{Seq: 2, Time: at(30), Until: at(20), Plane: policy.System, Event: decision.EventHealth, Detail: "upstream: warn: slow"},
		{Seq: 3, Time: at(60), Until: at(50), Plane: policy.System, Event: decision.EventHealth, Detail: "upstream: ok after 30s: well"},
		{Seq: 4, Time: at(70), Until: at(90), Plane: policy.System, Event: decision.EventHealth, Detail: "upstream: bad: the clock was set back"},
	}})
	got := s.end(at(100), true).Outages
	want := []Outage{
		{Part: "upstream", State: "bad", From: at(5), To: at(20), Seconds: 15, Text: "no route"},
		{Part: "upstream", State: "warn", From: at(20), To: at(50), Seconds: 30, Text: "slow"},
		{Part: "upstream", State: "bad", From: at(70), Seconds: 30, Text: "the clock was set back"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// Of what happens too often the newest is told, and how much more there is.
func TestStoryBounds(t *testing.T) {
	var lines strings.Builder
	for i := range maxStory + 5 {
		fmt.Fprintf(&lines, "%d gap x%d\n%d time x%d\n%d login x%d\n%d health p: bad: x%d\n%d health p: ok after 1s: x\n", i+10, i, i+10, i, i+10, i, i+10, i, i+10)
	}
	s := told(lines.String(), true)
	if len(s.Gaps) != maxStory || len(s.TimeChanges) != maxStory || len(s.Others) != maxStory || len(s.Outages) != maxStory || s.Missed != 20 {
		t.Errorf("%d gaps, %d of time, %d others, %d outages, %d missed", len(s.Gaps), len(s.TimeChanges), len(s.Others), len(s.Outages), s.Missed)
	}
	if s.Gaps[0].Text != "x5" || s.Others[0].Detail != "x5" || s.Outages[0].Text != "x5" {
		t.Errorf("the oldest told: %q, %q, %q", s.Gaps[0].Text, s.Others[0].Detail, s.Outages[0].Text)
	}
}
