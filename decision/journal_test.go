package decision

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/policy"
)

// defaults are the limits of the box.
func defaults() limits { return limits{maxPending, segmentSize, shardWindows, shardClients} }

// denial is a decision of a client about a name.
func denial(client, name string) Record {
	return Record{Plane: policy.DNS, Verdict: policy.Deny, Reason: policy.NotDocumented,
		Client: netip.MustParseAddr(client), Name: name, Qtype: "A", Rcode: "NXDOMAIN"}
}

// event is a record that is never counted as a repeat.
func event(detail string) Record {
	return Record{Plane: policy.System, Event: EventStart, Detail: detail}
}

// mustOpen opens a journal that nothing serves.
func mustOpen(t testing.TB, cfg Config, d disk, l limits) *Journal {
	t.Helper()
	j, err := open(cfg, d, l)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// serve runs the journal until the returned function, or the test, ends it.
func serve(t testing.TB, j *Journal) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Serve(ctx) }()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			stop()
		}
	})
	return stop
}

// collect reads everything, and fails on what is no damage.
func collect(t testing.TB, dir string, q Query) (records []Record, damage []string) {
	t.Helper()
	for r, err := range Read(dir, q) {
		var d *Damage
		switch {
		case err == nil:
			records = append(records, r)
		case errors.As(err, &d):
			damage = append(damage, err.Error())
		default:
			t.Fatal(err)
		}
	}
	return records, damage
}

// details returns the details of the records, in order.
func details(records []Record) string {
	var s []string
	for _, r := range records {
		s = append(s, r.Detail)
	}
	return strings.Join(s, " ")
}

// intact fails if the journal does not verify.
func intact(t testing.TB, dir string) Report {
	t.Helper()
	rep, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Broken != nil {
		t.Fatalf("broken: %v (%d places)", rep.Broken, rep.Breaks)
	}
	return rep
}

func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "journal")
		j, err := Open(Config{Dir: dir, PolicyID: func() string { return "0123456789ab" }})
		if err != nil {
			t.Fatal(err)
		}
		j.Record(event("before Serve"))
		stop := serve(t, j)
		time.Sleep(4 * time.Second)
		j.Record(denial("10.0.0.1", "x.example"))
		if got, _ := collect(t, dir, Query{}); len(got) > 0 {
			t.Errorf("%d records on the disk before sync", len(got))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		got, damage := collect(t, dir, Query{})
		if len(got) != 2 || len(damage) > 0 {
			t.Fatalf("after sync: %d records, damage %q", len(got), damage)
		}
		want := denial("10.0.0.1", "x.example")
		want.Time, want.Seq, want.Boot, want.Policy = at("2000-01-01T00:00:04Z"), 2, j.Boot(), "0123456789ab"
		if d := diff(want, got[1]); d != "" {
			t.Error(d)
		}
		j.Record(event("last words"))
		if err := stop(); err != nil {
			t.Error(err)
		}
		j.Record(event("too late"))
		j.Record(denial("10.0.0.1", "too.late.example"))
		if j.Repeat(new(denial("10.0.0.1", "x.example")).Key()) {
			t.Error("a repeat is counted after the end")
		}
		got, _ = collect(t, dir, Query{})
		if details(got) != "before Serve  last words" {
			t.Errorf("at the end: %s", details(got))
		}
		if s := j.Stats(); s.Dropped != 2 || s.Records != 3 || s.Syncs != 2 || s.Pending != 0 {
			t.Errorf("%+v", s)
		}
		rep := intact(t, dir)
		if rep.Segments != 1 || rep.Seals != 2 || rep.Records != 3 || rep.FirstSeq != 1 || rep.LastSeq != 3 || len(rep.Notices) > 0 {
			t.Errorf("%+v", rep)
		}
		for name, want := range map[string]os.FileMode{dir: 0o750 | os.ModeDir, filepath.Join(dir, "00000001.jsonl"): 0o640} {
			if info, err := os.Stat(name); err != nil || info.Mode() != want {
				t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, want)
			}
		}
		if j.Serve(t.Context()) == nil {
			t.Error("served twice")
		}
	})
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no folder", Config{}, "needs a folder"},
		{"negative", Config{Dir: dir, Sync: -1}, "not negative"},
		{"too small", Config{Dir: dir, MaxSize: minMaxSize - 1}, "give it at least 67108864"},
		{"no parent", Config{Dir: filepath.Join(dir, "a", "b")}, "creating the journal"},
		{"a file", Config{Dir: file}, "reading the journal"},
	} {
		if _, err := Open(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// The time of a record is believed, or marked.
func TestUntrustedTime(t *testing.T) {
	coarse := false
	j := mustOpen(t, Config{Dir: t.TempDir(), Coarse: func() bool { return coarse }}, quickDisk(), defaults())
	j.Record(event("woke up"))
	coarse = true
	j.Record(event("asked"))
	r := event("its own time")
	r.Time = at("2026-11-22T10:00:00Z")
	coarse = false
	j.Record(r)
	var got []string
	for r, err := range j.Read(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(r.Detail, " ", r.UntrustedTime))
	}
	if strings.Join(got, ", ") != "woke up true, asked false, its own time false" {
		t.Error(got)
	}
}

// No record makes a line that is too long to be read back.
func TestCut(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	long := strings.Repeat("\xff", 70000)
	r := full()
	r.Event, r.Class, r.Name, r.Qtype, r.Rcode = Event(long), long, long, long, long
	r.Service, r.Rule, r.Policy, r.By, r.Detail = long, long, long, long, long
	for range 1000 {
		r.Answers = append(r.Answers, netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666"))
		r.CNAME = append(r.CNAME, long)
	}
	cname := r.CNAME[5]
	j.Record(r)
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	got, damage := collect(t, dir, Query{})
	if len(got) != 1 || len(damage) > 0 {
		t.Fatalf("%d records, damage %q", len(got), damage)
	}
	g := &got[0]
	if len(g.Name) > maxText || !strings.HasSuffix(g.Name, "\xff…") || len(g.Answers) != maxAnswers || len(g.CNAME) != maxCNAME {
		t.Errorf("name of %d bytes, %d answers, %d names", len(g.Name), len(g.Answers), len(g.CNAME))
	}
	if len(g.Detail) > maxDetail || !strings.HasSuffix(g.Detail, "\xff…") {
		t.Errorf("detail of %d bytes", len(g.Detail))
	}
	if r.CNAME[5] != cname {
		t.Error("the caller's list was changed")
	}
	if line := g.AppendJSON(nil); len(line) < maxLine/2 {
		t.Errorf("the longest line has %d bytes; maxLine can be lower", len(line))
	}
}

func TestCutText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"1234567", "1234567"}, {"12345678", "1234…"}, {"123éé78", "123…"}, {"\xa9\xa9\xa9\xa9\xa9\xa9\xa9\xa9", "…"},
	} {
		if got := cutText(tt.in, 7); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}
