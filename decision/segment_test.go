package decision

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// settable is a clock for tests.
type settable struct{ t time.Time }

func (s *settable) now() time.Time             { return s.t }
func (s *settable) trusted() (time.Time, bool) { return s.t, !s.t.IsZero() }

// names returns the names in the folder.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// batch records events and flushes them.
func (j *Journal) batch(t testing.TB, details ...string) {
	t.Helper()
	for _, d := range details {
		j.Record(event(d))
	}
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
}

// A segment ends when it is full, after a day, when the clock is set back, and
// with its run; seq goes on.
func TestSegments(t *testing.T) {
	dir := t.TempDir()
	clock := &settable{at("2026-11-22T10:00:00Z")}
	l := defaults()
	l.segment = 2000
	cfg := Config{Dir: dir, Now: clock.now, MaxSize: 1 << 20}
	j := mustOpen(t, cfg, quickDisk(), l)
	j.batch(t, "1")
	j.batch(t, "2", strings.Repeat("x", 1000))
	if got := names(t, dir); got != "00000001.jsonl" {
		t.Errorf("not full: %s", got)
	}
	j.batch(t, strings.Repeat("x", 1000))
	clock.t = clock.t.Add(24*time.Hour - 1)
	j.batch(t, "5")
	if got := names(t, dir); got != "00000001.jsonl 00000002.jsonl" {
		t.Errorf("full: %s", got)
	}
	clock.t = clock.t.Add(1)
	j.batch(t, "6")
	if got := names(t, dir); got != "00000001.jsonl 00000002.jsonl 00000003.jsonl" {
		t.Errorf("after a day: %s", got)
	}
	clock.t = clock.t.Add(-time.Hour)
	j.batch(t, "7")
	j.writer.close()
	j = mustOpen(t, cfg, quickDisk(), l)
	j.batch(t, "8")
	j.batch(t, strings.Repeat("x", 4000)) // more than a segment: has one of its own
	j.batch(t, "10")
	if got := len(strings.Fields(names(t, dir))); got != 7 {
		t.Errorf("at the end: %s", names(t, dir))
	}
	records, damage := collect(t, dir, Query{})
	for i, r := range records {
		if r.Seq != uint64(i+1) {
			t.Errorf("record %d has seq %d", i+1, r.Seq)
		}
	}
	if len(records) != 10 || len(damage) > 0 {
		t.Errorf("%d records, damage %q", len(records), damage)
	}
	if rep := intact(t, dir); rep.Segments != 7 || rep.Seals != 9 || len(rep.Notices) > 0 {
		t.Errorf("%+v", rep)
	}
	h, err := peek(dir, 5)
	if err != nil || h.Header.Boot != j.Boot() || h.Header.First != 8 || h.Header.Prev.Segment != 4 ||
		!h.Header.Prev.To.Equal(clock.t) {
		t.Errorf("header %+v, %v", h.Header, err)
	}
}

// What a crash leaves is cleared away when the journal is opened: files begun,
// and of a segment that is there twice, the compressed one.
func TestOpenClears(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	j.batch(t, "1")
	j.writer.close()
	for _, name := range []string{"00000001.jsonl.zst", "00000001.jsonl.zst.tmp", "00000002.jsonl.tmp", "notes.tmp", "x.jsonl", "0.jsonl", "1.jsonl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "00000009.jsonl"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, damage := collect(t, dir, Query{}); len(got) != 1 || len(damage) > 0 {
		t.Errorf("before: %d records, damage %q", len(got), damage)
	}
	j = mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	if got := names(t, dir); got != "0.jsonl 00000001.jsonl 00000009.jsonl 1.jsonl notes.tmp x.jsonl" {
		t.Errorf("left: %s", got)
	}
	j.batch(t, "2")
	if got, _ := collect(t, dir, Query{}); details(got) != "1 2" {
		t.Errorf("records: %s", details(got))
	}
	intact(t, dir)
}

// What the format's description says can be checked with sed and sha256sum.
func TestSealByHand(t *testing.T) {
	if _, err := exec.LookPath("sha256sum"); err != nil {
		if os.Getenv("TILLGATE_E2E") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	for range 2 {
		j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
		j.batch(t, "1", "2", `\"seal":"`)
		j.batch(t, "4")
		j.writer.close()
	}
	run := func(script string) string {
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		return strings.TrimSuffix(string(out), "  -\n")
	}
	for _, f := range []string{"00000001.jsonl", "00000002.jsonl"} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(b), "\n")
		first, _ := parseSeal([]byte(lines[4]))
		second, _ := parseSeal([]byte(lines[6]))
		if got := run(`F=` + f + `; { sed -n 1p $F | grep -o '"seal":"[^"]*' | cut -d'"' -f4; sed -n 1,4p $F; } | sha256sum`); got != first {
			t.Errorf("%s, first seal: %s, is %s", f, got, first)
		}
		if got := run(`F=` + f + `; { sed -n 5p $F | cut -d'"' -f4; sed -n 6,6p $F; } | sha256sum`); got != second {
			t.Errorf("%s, second seal: %s, is %s", f, got, second)
		}
	}
}

// A compressed segment is the plain one to any reader of Zstandard.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 { // some frames
		for range 50 {
			b := make([]byte, 200)
			for i := range b {
				b[i] = byte(rnd.IntN(256))
			}
			j.Record(denial("10.0.0.1", string(b)))
		}
		if err := j.flush(); err != nil {
			t.Fatal(err)
		}
	}
	j.writer.close()
	name := filepath.Join(dir, plainName(1))
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("\x00junk\n" + strings.Repeat("y", frameSize+100) + "\nand no end")
	f.Close()
	plain, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, damageBefore := collect(t, dir, Query{})
	d := quickDisk()
	if err := pack(context.Background(), &d, dir, 1); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "00000001.jsonl.zst" {
		t.Fatal(got)
	}
	packed, err := os.ReadFile(filepath.Join(dir, packedName(1)))
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	unpacked, err := io.ReadAll(dec)
	if err != nil || !bytes.Equal(unpacked, plain) {
		t.Errorf("unpacked to %d bytes, want %d (%v)", len(unpacked), len(plain), err)
	}
	after, damageAfter := collect(t, dir, Query{})
	if d := diff(before, after); d != "" {
		t.Error(d)
	}
	for i := range damageBefore {
		damageBefore[i] = strings.ReplaceAll(damageBefore[i], plainExt, packedExt)
	}
	if d := diff(damageBefore, damageAfter); d != "" || len(damageAfter) != 3 {
		t.Error(d, damageAfter)
	}
	s, err := peek(dir, 1)
	if err != nil || s.Records != len(before) || s.Header.First != 1 || s.Last != before[len(before)-1].Seq ||
		!s.From.Equal(before[0].Time) || !s.To.Equal(before[len(before)-1].Time) || !s.Trusted.Equal(s.To) {
		t.Errorf("summary %+v, %v", s, err)
	}
	if n := bytes.Count(packed, frameMagic); n < len(plain)/frameSize {
		t.Errorf("%d frames for %d bytes", n, len(plain))
	}
}

// Packing stops when it is told to, and leaves nothing.
func TestPackStops(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	j.batch(t, "1")
	j.writer.close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d := quickDisk()
	if err := pack(ctx, &d, dir, 1); err == nil || names(t, dir) != "00000001.jsonl" {
		t.Errorf("%v, left: %s", err, names(t, dir))
	}
}

// A plain segment larger than any that the journal writes is read up to the
// bound, told, and kept as it is.
func TestSegmentTooLarge(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	j.batch(t, "1")
	j.writer.close()
	f, err := os.OpenFile(filepath.Join(dir, plainName(1)), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := full()
	r.Detail = strings.Repeat("x", maxDetail)
	line := string(r.AppendJSON(nil)) + "\n"
	for n := 0; n <= maxSegment; n += 1000 * len(line) {
		if _, err := f.WriteString(strings.Repeat(line, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	got, damage := collect(t, dir, Query{})
	if len(got) == 0 || (len(got)-1)*len(line) > maxSegment || len(damage) != 1 || !strings.Contains(damage[0], "too large") {
		t.Errorf("%d records, damage %q", len(got), damage)
	}
	d := quickDisk()
	if err := pack(context.Background(), &d, dir, 1); err == nil || names(t, dir) != "00000001.jsonl" {
		t.Errorf("packed: %v, %s", err, names(t, dir))
	}
	if rep, err := Verify(dir); err != nil || rep.Broken == nil || !strings.Contains(rep.Broken.What, "too large") {
		t.Errorf("%v %v", rep.Broken, err)
	}
}

func TestParseSeal(t *testing.T) {
	good := strings.Repeat("0123456789abcdef", 4)
	for line, want := range map[string]bool{
		`{"seal":"` + good + `"}`:                               true,
		`{"seal":"` + good + "\"}\n":                            true,
		`{"seal":"` + good + "\"}\n\n":                          false,
		`{"seal":"` + good + `"} `:                              false,
		`{"seal":"` + good[1:] + `"}`:                           false,
		`{"seal":"` + strings.ToUpper(good) + `"}`:              false,
		`{"seal":"` + good[:62] + `\n"}`:                        false,
		` {"seal":"` + good + `"}`:                              false,
		`{"seal":"` + good + `","time":"2026-11-22T10:00:00Z"}`: false,
		``: false,
	} {
		if got, ok := parseSeal([]byte(line)); ok != want || ok && got != good {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
}

func TestParseHeader(t *testing.T) {
	h := header{Segment: 2, Format: format, Boot: "b", Time: at("2026-11-22T10:00:00Z"), First: 5,
		Prev: prev{Segment: 1, Seal: zeroSeal, To: at("2026-11-21T10:00:00Z"), Tail: tailOf([]byte("a\nb"))}}
	line, err := h.line()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"segment":2,"format":1,"boot":"b","time":"2026-11-22T10:00:00Z","first":5,"prev":{"segment":1,"seal":"%s",`+
		`"to":"2026-11-21T10:00:00Z","tail":{"lines":2,"bytes":3,"sha256":"%s","torn":true}}}`+"\n", zeroSeal, h.Prev.Tail.SHA256)
	if string(line) != want {
		t.Errorf("got  %swant %s", line, want)
	}
	back, err := parseHeader(line)
	if err != nil || diff(h, *back) != "" {
		t.Errorf("%+v, %v", back, err)
	}
	for line, want := range map[string]string{
		``:                         "no header",
		`{}`:                       "no header",
		`{"segment":1`:             "no header",
		`{"segment":"1"}`:          "no header",
		`{"format":1,"segment":1}`: "no header",
		`{"segment":1,"format":1,"first":1,"prev":{"seal":"0"}}`:                                  "no header",
		`{"segment":1,"format":1,"first":0,"prev":{"seal":"` + zeroSeal + `"}}`:                   "no header",
		`{"segment":1,"format":1,"first":4611686018427387905,"prev":{"seal":"` + zeroSeal + `"}}`: "no header",
		`{"segment":1,"format":2}`: "format 2, this version reads 1",
	} {
		if _, err := parseHeader([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}
