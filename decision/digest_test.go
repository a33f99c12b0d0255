package decision

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tillgate/policy"
)

// onlyDigest returns the one digest that there is.
func onlyDigest(t *testing.T, j *Journal) Digest {
	t.Helper()
	var all []Digest
	for d, err := range j.Digests(time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	if len(all) != 1 {
		t.Fatalf("%d digests", len(all))
	}
	return all[0]
}

// A digest is the same, whether the segment is open, full or compressed, and goes on as
// the open one does.
func TestDigest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	clock := &settable{at("2026-11-22T10:59:50Z")}
	j := mustOpen(t, Config{Dir: dir, Now: clock.now, RepeatWindow: time.Hour}, quickDisk(), defaults())
	allow := Record{Plane: policy.Connect, Verdict: policy.Allow, Reason: policy.Documented, Client: netip.MustParseAddr("10.0.0.1"),
		Class: "pos", Name: "dns.google", Port: 443, Proto: policy.TCP, Service: "payxpert/emv", Row: 1, Rule: "packs/payxpert.yaml:9"}
	j.Record(event("began"))
	j.Record(allow)
	end := allow
	end.Event, end.Up, end.Down = EventClose, 10, 200
	j.Record(end)
	web := end
	web.Name, web.Port, web.Rule = "www.qualcomm.cn", 80, "packs/payxpert.yaml:12"
	j.Record(web) // a tunnel, whose bytes are those of the requests within
	web.Plane = policy.HTTP
	j.Record(web)
	no := denial("10.0.0.2", "ads.example")
	no.Class = "pos"
	j.Record(no)
	fw := Record{Plane: policy.Firewall, Verdict: policy.Deny, Reason: policy.FirewallReject, Client: netip.MustParseAddr("10.0.0.3"),
		Class: "pos", Proto: policy.TCP, Port: 853, Dest: netip.MustParseAddrPort("8.8.8.8:853"), Count: 7}
	fw.SetDestNames([]string{"dns.google"})
	j.Record(fw)
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}

	open := onlyDigest(t, j)
	want := []Use{
		{Plane: policy.Connect, Verdict: policy.Allow, Reason: policy.Documented, Class: "pos", Client: allow.Client, Name: "dns.google",
			Service: allow.Service, Row: 1, Rule: allow.Rule, Count: 1, Up: 10, Down: 200},
		{Plane: policy.DNS, Reason: policy.NotDocumented, Class: "pos", Name: "ads.example", Count: 1},
		{Plane: policy.Firewall, Reason: policy.FirewallReject, Class: "pos", Name: "dns.google", Dest: fw.Dest, Port: 853, Proto: policy.TCP, Count: 7},
		{Plane: policy.HTTP, Verdict: policy.Allow, Reason: policy.Documented, Class: "pos", Name: web.Name, Service: allow.Service, Row: 1, Rule: web.Rule, Up: 10, Down: 200},
	}
	for i := range want {
		want[i].First, want[i].Last = clock.t, clock.t
	}
	if d := diff(want, open.Uses); d != "" {
		t.Error(d)
	}
	if len(open.Events) != 1 || open.Events[0].Detail != "began" || open.Missed != 0 {
		t.Errorf("events %+v", open.Events)
	}
	if hours := fmt.Sprint(open.Hours); len(open.Hours) != 4 || open.Hours[0].Start != at("2026-11-22T10:00:00Z") {
		t.Error(hours)
	}

	// It goes on from where it was.
	was := j.open.read.at
	clock.t = at("2026-11-22T11:00:10Z")
	other := no
	other.Name = "more.example"
	j.Record(other)
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, plainName(1))
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, name, func(b []byte) []byte { // what was read is not read again
		clear(b[:was-1])
		return b
	})
	open = onlyDigest(t, j)
	if err := os.WriteFile(name, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if len(open.Uses) != 5 || len(open.Hours) != 5 || open.Uses[4].Name != "more.example" {
		t.Errorf("%+v", open)
	}
	again := onlyDigest(t, j)
	if d := diff(open.Uses, again.Uses); d != "" {
		t.Error(d)
	}

	// When it is full it is made anew, then read from its frame.
	made, err := digestOf(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	d := quickDisk()
	if err := pack(context.Background(), &d, dir, 1); err != nil {
		t.Fatal(err)
	}
	stored := onlyDigest(t, j)
	for what, got := range map[string]*Digest{"made": &made, "stored": &stored} {
		if !bytes.Equal(got.lines(), open.lines()) || got.header.Boot != j.Boot() {
			t.Errorf("%s:\n%s\nwant\n%s", what, got.lines(), open.lines())
		}
	}
	intact(t, dir)

	// A segment of before there were digests is as good, and read for it.
	name = filepath.Join(dir, packedName(1))
	edit(t, name, func(b []byte) []byte {
		sum, rest, _ := skippable(b)
		rollup, rest, _ := skippable(rest)
		_, frames, ok := skippable(rest)
		if !ok {
			t.Fatal("it has no digest")
		}
		return append(appendSkippable(appendSkippable(nil, summaryMagic, sum), rollupMagic, rollup), frames...)
	})
	intact(t, dir)
	if old := onlyDigest(t, j); !bytes.Equal(old.lines(), open.lines()) {
		t.Errorf("made of an old one:\n%s", old.lines())
	}
}

// Digests are read of the heads of compressed segments, and nothing behind: what follows
// may as well be gone.
func TestDigestsReadHeads(t *testing.T) {
	dir := history(t)
	want := 0
	for d, err := range Digests(dir, time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		want += len(d.Uses)
	}
	for _, n := range []uint64{1, 2} {
		edit(t, filepath.Join(dir, packedName(n)), func(b []byte) []byte {
			_, rest, _ := skippable(b)
			_, rest, _ = skippable(rest)
			_, rest, ok := skippable(rest)
			if !ok || len(rest) == 0 {
				t.Fatal("it has no three frames and content")
			}
			return b[:len(b)-len(rest)]
		})
	}
	got := 0
	for d, err := range Digests(dir, time.Time{}, time.Time{}) {
		if err != nil {
			t.Error(err)
		}
		got += len(d.Uses)
	}
	if got != want || want == 0 {
		t.Errorf("%d rows, want %d", got, want)
	}
	// Those of another time are not even that.
	var numbers []uint64
	for d := range Digests(dir, at("2026-11-22T00:00:00Z"), at("2026-11-23T00:00:00Z")) {
		numbers = append(numbers, d.Segment)
	}
	if fmt.Sprint(numbers) != "[2 3]" { // the open one does not say
		t.Errorf("segments %v", numbers)
	}
}

// What a journal has learnt of a compressed segment is not read again.
func TestHeads(t *testing.T) {
	dir := history(t)
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	later := Query{Since: at("2026-11-22T00:00:00Z"), Until: at("2026-11-23T00:00:00Z")}
	count := func(q Query) (n int, damage int) {
		for _, err := range j.Read(q) {
			if err != nil {
				damage++
			} else {
				n++
			}
		}
		return n, damage
	}
	if n, damage := count(later); n != 3 || damage > 0 {
		t.Fatalf("%d records, %d damaged", n, damage)
	}
	edit(t, filepath.Join(dir, packedName(1)), func(b []byte) []byte { return []byte("junk") })
	if n, damage := count(later); n != 3 || damage > 0 {
		t.Errorf("again: %d records, %d damaged", n, damage)
	}
	if _, damage := count(Query{}); damage == 0 {
		t.Error("what has to be read is not")
	}
	var h heads
	h.known = make(map[uint64]span)
	for n := range uint64(maxHeads) {
		h.known[n+10] = span{}
	}
	if _, err := h.span(dir, 2); err != nil || len(h.known) != 1 {
		t.Errorf("%d are remembered, %v", len(h.known), err)
	}
}

// A digest that says other than its records is a break.
func TestVerifyDigest(t *testing.T) {
	dir := chained(t)
	d := quickDisk()
	if err := pack(context.Background(), &d, dir, 2); err != nil {
		t.Fatal(err)
	}
	for _, forged := range [][]byte{[]byte("junk"), appendFrame(t, []byte(`{"digest":1}`+"\n"))} {
		good, err := os.ReadFile(filepath.Join(dir, packedName(2)))
		if err != nil {
			t.Fatal(err)
		}
		edit(t, filepath.Join(dir, packedName(2)), func(b []byte) []byte {
			sum, rest, _ := skippable(b)
			rollup, rest, _ := skippable(rest)
			_, frames, _ := skippable(rest)
			b = appendSkippable(appendSkippable(nil, summaryMagic, sum), rollupMagic, rollup)
			return append(appendSkippable(b, digestMagic, forged), frames...)
		})
		rep, err := Verify(dir)
		if err != nil || rep.Breaks != 1 || rep.Broken.Segment != packedName(2) {
			t.Errorf("%q: %v, %v", forged, rep.Broken, err)
		}
		if err := os.WriteFile(filepath.Join(dir, packedName(2)), good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func appendFrame(t *testing.T, content []byte) []byte {
	enc, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(content, nil)
}

// A digest is bounded whatever clients ask for, and counts all the same.
func TestDigestFull(t *testing.T) {
	d := newDigester()
	now := at("2026-11-22T10:00:00Z")
	total := uint64(0)
	count := func(r Record) {
		r.Time = now
		d.add(&r)
		total += r.attempts()
	}
	often := denial("10.0.0.1", "often.example")
	often.Count = 3
	count(often)
	for i := range digestCounts + 1000 {
		count(denial("10.0.0.1", fmt.Sprintf("n%d.example", i)))
	}
	for i := range digestRules + 1000 {
		r := denial("10.0.0.1", "")
		r.Verdict, r.Rule = policy.Allow, fmt.Sprintf("policy.yaml:%d", i)
		count(r)
	}
	for range digestHours + 10 {
		now = now.Add(time.Hour)
		count(often)
	}
	for range digestEvents / 20 {
		d.add(&Record{Time: now, Seq: 9, Plane: policy.System, Event: EventHealth})
	}
	dig := d.digest()
	b := dig.lines()
	if len(b) > maxDigest {
		t.Errorf("%d bytes", len(b))
	}
	got, err := parseDigest(b)
	if err != nil || !bytes.Equal(got.lines(), b) {
		t.Fatalf("it is not read as it was written: %v", err)
	}
	denied, sum, hours := 0, uint64(0), uint64(0)
	for _, u := range got.Uses {
		if u.Verdict == policy.Deny && u.Rule != OtherRule {
			denied++
		}
		sum += u.Count
	}
	starts := map[time.Time]bool{}
	for _, h := range got.Hours {
		hours += h.Count
		starts[h.Start] = true
	}
	if denied != digestDenied || sum != total || hours != total || len(starts) != digestHours || got.Missed == 0 {
		t.Errorf("%d denied, %d and %d of %d counted, %d hours, %d events missed", denied, sum, hours, total, len(starts), got.Missed)
	}
	if int(got.Missed)+len(got.Events) != digestEvents/20 {
		t.Errorf("%d and %d events", got.Missed, len(got.Events))
	}
	if !bytes.Contains(b, []byte("often.example")) {
		t.Error("the most frequent is not told")
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add([]byte(`{"digest":1,"seal":"` + zeroSeal + `"}` + "\n"))
	f.Add([]byte(`{"digest":1}` + "\n" + `{"time":"2026-11-22T10:00:00Z","plane":"dns","event":"hour","verdict":"deny","count":3}` + "\n" +
		`{"time":"2026-11-22T10:59:50Z","plane":"dns","verdict":"deny","name":"ads.example","count":1,"until":"2026-11-22T10:59:50Z"}` + "\n" +
		`{"time":"2026-11-22T10:59:50Z","seq":3,"plane":"system","event":"start"}` + "\n" +
		`{"plane":"system","event":"missed","count":2}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDigest(b)
		if err != nil {
			return
		}
		again, err := parseDigest(d.lines())
		if err != nil || !bytes.Equal(again.lines(), d.lines()) {
			t.Fatalf("%q: %v", d.lines(), err)
		}
	})
}
