package decision

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// chained is a journal of four plain segments, each with a header on line 1,
// records on lines 2, 3 and 5, and seals on lines 4 and 6.
func chained(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 4 {
		j := mustOpen(t, Config{Dir: dir, Boot: "b"}, quickDisk(), defaults())
		j.batch(t, fmt.Sprintf("%d-1", i), fmt.Sprintf("%d-2", i))
		j.batch(t, fmt.Sprintf("%d-3", i))
		j.writer.close()
	}
	return dir
}

// edit changes a file.
func edit(t *testing.T, name string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// swap returns a change of one text by another.
func swap(old, new string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
}

// withoutLines returns a change that takes out lines from to to.
func withoutLines(from, to int) func([]byte) []byte {
	return func(b []byte) []byte {
		lines := strings.SplitAfter(string(b), "\n")
		return []byte(strings.Join(append(lines[:from-1:from-1], lines[to:]...), ""))
	}
}

func TestVerify(t *testing.T) {
	second := plainName(2)
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		broken string // how the first is told
		breaks int
		notice string
	}{
		{"nothing", func(t *testing.T, dir string) {}, "", 0, ""},
		{"a letter", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), swap(`"1-2"`, `"1-9"`)) },
			"segment 00000002.jsonl, line 4, records 4 to 5: the seal does not fit what it seals", 1, ""},
		{"a letter in the first batch of all", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, plainName(1)), swap(`"0-1"`, `"9-1"`)) },
			"segment 00000001.jsonl, line 4, records 1 to 2: the seal", 1, ""},
		{"a letter in the last batch of a segment: is no crash", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), swap(`"1-3"`, `"1-9"`)) },
			"segment 00000002.jsonl, line 6, records 6 to 6: the seal", 1, ""},
		{"two batches", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, second), swap(`"1-1"`, `"1-9"`))
			edit(t, filepath.Join(dir, second), swap(`"1-3"`, `"1-9"`))
			edit(t, filepath.Join(dir, plainName(4)), swap(`"3-3"`, `"3-9"`))
		}, "segment 00000002.jsonl, line 4, records 4 to 5: the seal", 3, ""},
		{"a record taken out", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), withoutLines(3, 3)) },
			"segment 00000002.jsonl, line 3, records 4 to 4: the seal", 1, ""},
		{"a batch taken out", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), withoutLines(2, 4)) },
			"segment 00000002.jsonl, line 3, records 6 to 6: the seal", 1, ""},
		{"the last batch of a segment taken out", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), withoutLines(5, 6)) },
			"segment 00000003.jsonl, line 1: it does not follow the end of segment 00000002.jsonl", 1, ""},
		{"a seal taken out", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), withoutLines(4, 4)) },
			"segment 00000002.jsonl, line 5, records 4 to 6: the seal", 1, ""},
		{"the last seal of a segment taken out", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), withoutLines(6, 6)) },
			"segment 00000003.jsonl, line 1: it does not follow", 1, ""},
		{"a header changed", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), swap(`"boot":"b"`, `"boot":"c"`)) },
			"segment 00000002.jsonl, line 4, records 4 to 5: the seal", 1, ""},
		{"a header spoiled", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, second), swap(`"segment":2`, `"segment":x`))
		},
			"segment 00000002.jsonl, line 1: the segment has no header", 2, ""},
		{"a header taken out", func(t *testing.T, dir string) { edit(t, filepath.Join(dir, second), withoutLines(1, 1)) },
			"segment 00000002.jsonl, line 1: the segment has no header", 2, ""},
		{"a header of another chain", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, second), func(b []byte) []byte {
				return regexp.MustCompile(`"seal":"[0-9a-f]{64}"`).ReplaceAll(b, []byte(`"seal":"`+zeroSeal+`"`))
			})
		}, "segment 00000002.jsonl, line 1: it does not follow the end of segment 00000001.jsonl", 4, ""},
		{"a segment taken out", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, second)) },
			"segment 00000003.jsonl: segments 00000002 to 00000002 before it are missing", 1, ""},
		{"a segment taken out, the rest renamed", func(t *testing.T, dir string) {
			os.Rename(filepath.Join(dir, plainName(3)), filepath.Join(dir, second))
			os.Rename(filepath.Join(dir, plainName(4)), filepath.Join(dir, plainName(3)))
		}, "segment 00000002.jsonl, line 1: it does not follow the end of segment 00000001.jsonl", 4, ""},
		{"two segments exchanged", func(t *testing.T, dir string) {
			os.Rename(filepath.Join(dir, second), filepath.Join(dir, "x"))
			os.Rename(filepath.Join(dir, plainName(3)), filepath.Join(dir, second))
			os.Rename(filepath.Join(dir, "x"), filepath.Join(dir, plainName(3)))
		}, "segment 00000002.jsonl, line 1: it does not follow the end of segment 00000001.jsonl", 5, ""},
		{"the first segment deleted, as retention does", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, plainName(1))) },
			"", 0, "the journal begins with segment 00000002.jsonl; those before it were deleted"},
		{"the first segment deleted, the next in its place", func(t *testing.T, dir string) {
			os.Rename(filepath.Join(dir, second), filepath.Join(dir, plainName(1)))
		}, "segment 00000001.jsonl, line 1: the first segment follows another", 3, ""},
		{"lines after the last seal of a segment", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, second), func(b []byte) []byte { return append(b, "{}\n"...) })
		}, "segment 00000003.jsonl, line 1: it does not follow", 1, "segment 00000002.jsonl, line 7: a record without time and seq"},
		{"lines after the last seal of all", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, plainName(4)), func(b []byte) []byte { return append(b, fullLine+"\n{"...) })
		}, "", 0, "segment 00000004.jsonl ends in 2 lines without a seal"},
		{"an unreadable segment", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, second))
			os.Symlink(second, filepath.Join(dir, second))
		}, "segment 00000003.jsonl: segments 00000002 to 00000002 before it are missing", 1, ""},
		{"an empty segment", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, second), func([]byte) []byte { return nil })
		},
			"segment 00000002.jsonl, line 1: the segment has no header", 2, ""},
	} {
		dir := chained(t)
		tt.change(t, dir)
		check := func(how string) {
			t.Helper()
			rep, err := Verify(dir)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if rep.Broken != nil {
				got = rep.Broken.String()
			}
			if !strings.HasPrefix(strings.ReplaceAll(got, ".zst", ""), tt.broken) || (got == "") != (tt.broken == "") || rep.Breaks != tt.breaks {
				t.Errorf("%s%s: %d breaks, the first: %q\nwant %d, %q", tt.name, how, rep.Breaks, got, tt.breaks, tt.broken)
			}
			notices := strings.ReplaceAll(strings.Join(rep.Notices, "\n"), ".zst", "")
			if !strings.Contains(notices, tt.notice) || tt.notice == "" && tt.broken == "" && notices != "" {
				t.Errorf("%s%s: notices %q, want %q", tt.name, how, rep.Notices, tt.notice)
			}
		}
		check("")
		// The same once the box has compressed what it found.
		d := quickDisk()
		for n := uint64(1); n <= 4; n++ {
			if info, err := os.Lstat(filepath.Join(dir, plainName(n))); err == nil && info.Mode().IsRegular() {
				if err := pack(context.Background(), &d, dir, n); err != nil {
					t.Fatal(err)
				}
			}
		}
		check(", compressed")
	}
}

func TestVerifyReport(t *testing.T) {
	dir := chained(t)
	rep := intact(t, dir)
	b, err := os.ReadFile(filepath.Join(dir, plainName(4)))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	last, _ := parseSeal([]byte(lines[5]))
	if d := diff(Report{Segments: 4, Seals: 8, Records: 12, FirstSeq: 1, LastSeq: 12, LastSeal: last}, rep); d != "" {
		t.Error(d)
	}
	if _, err := Verify(filepath.Join(dir, "none")); err == nil {
		t.Error("no folder is no error")
	}
	if rep, err := Verify(t.TempDir()); err != nil || diff(rep, Report{}) != "" {
		t.Errorf("empty: %+v, %v", rep, err)
	}
}

// What a crash leaves is bound by the next segment: it is a notice, and a
// change to it is a break.
func TestVerifyCrash(t *testing.T) {
	for _, tt := range []struct {
		name   string
		crash  func([]byte) []byte
		notice string
	}{
		{"a torn line", func(b []byte) []byte { return append(b, `{"time":"20`...) }, "ends in 1 lines without a seal"},
		{"lines and a torn one", func(b []byte) []byte { return append(b, fullLine+"\n"+fullLine+"\n{"...) }, "ends in 3 lines without a seal"},
		{"zeros", func(b []byte) []byte { return append(b, make([]byte, 5000)...) }, "ends in 1 lines without a seal"},
		{"a seal that does not fit", func(b []byte) []byte {
			return appendSeal(append(b, "\x00\x00\x00\n"...), strings.Repeat("0a", 32))
		}, "ends in 2 lines that its last seal does not fit"},
		{"a seal that does not fit, and a torn line", func(b []byte) []byte {
			return append(appendSeal(append(b, fullLine+"\n"...), strings.Repeat("0a", 32)), "{"...)
		}, "ends in 3 lines that its last seal does not fit"},
		{"the last batch half there", func(b []byte) []byte { return bytes.Replace(b, []byte(`"3-3"`), make([]byte, 5), 1) },
			"ends in 2 lines that its last seal does not fit"},
		{"the only batch half there", func(b []byte) []byte {
			return bytes.Replace(withoutLines(5, 6)(b), []byte(`"3-1"`), make([]byte, 5), 1)
		}, "ends in 4 lines that its last seal does not fit"},
	} {
		dir := chained(t)
		crashed := filepath.Join(dir, plainName(4))
		edit(t, crashed, tt.crash)
		before, _ := collect(t, dir, Query{})
		j := mustOpen(t, Config{Dir: dir, Boot: "b"}, quickDisk(), defaults())
		j.batch(t, "goes on")
		rep := intact(t, dir)
		if !strings.Contains(strings.Join(rep.Notices, "\n"), "segment 00000004.jsonl "+tt.notice) {
			t.Errorf("%s: notices %q, want %q", tt.name, rep.Notices, tt.notice)
		}
		after, _ := collect(t, dir, Query{})
		if len(after) != len(before)+1 || after[len(after)-1].Detail != "goes on" {
			t.Errorf("%s: %d records before, %d after", tt.name, len(before), len(after))
		}
		edit(t, crashed, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		if rep, err := Verify(dir); err != nil || rep.Broken == nil {
			t.Errorf("%s: a change to it is not seen (%v)", tt.name, err)
		}
	}
}

// A box goes on from whatever it finds: seq never starts again while records
// are there, and what was broken stays told, no more.
func TestRecover(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
		next   uint64
		breaks int
	}{
		{"nothing changed", func(b []byte) []byte { return b }, 13, 0},
		{"all zeros", func(b []byte) []byte { return make([]byte, len(b)) }, 10, 1},
		{"empty", func(b []byte) []byte { return nil }, 10, 1},
		{"the header torn", func(b []byte) []byte { return b[:20] }, 10, 1},
		{"the header alone", func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] }, 10, 0},
		{"no header", withoutLines(1, 1), 13, 2},
		{"a far greater seq", swap(`"seq":11`, `"seq":1100`), 1101, 1},
		{"a seq that leaves none", swap(`"seq":11`, `"seq":18446744073709551615`), 13, 1},
	} {
		dir := chained(t)
		edit(t, filepath.Join(dir, plainName(4)), tt.change)
		j := mustOpen(t, Config{Dir: dir, Boot: "b"}, quickDisk(), defaults())
		j.batch(t, "goes on")
		records, _ := collect(t, dir, Query{})
		if last := records[len(records)-1]; last.Detail != "goes on" || last.Seq != tt.next {
			t.Errorf("%s: goes on with seq %d, want %d", tt.name, last.Seq, tt.next)
		}
		rep, err := Verify(dir)
		if err != nil || rep.Breaks != tt.breaks || rep.Segments != 5 {
			t.Errorf("%s: %d breaks, want %d: %v", tt.name, rep.Breaks, tt.breaks, rep.Broken)
		}
	}
}

// Reports are made from summaries and rollups, so these are verified, too.
func TestVerifySummary(t *testing.T) {
	dir := chained(t)
	d := quickDisk()
	if err := pack(context.Background(), &d, dir, 2); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, packedName(2))
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sum, rest, ok := skippable(good)
	rollup, frames, ok2 := skippable(rest)
	if !ok || !ok2 {
		t.Fatal("it does not begin with two skippable frames")
	}
	enc, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	r := denial("10.0.0.1", "")
	r.Time = at("2026-11-22T10:00:00Z")
	forged := enc.EncodeAll(append(r.AppendJSON(nil), '\n'), nil)
	for _, tt := range []struct {
		name        string
		sum, rollup []byte
		want        string
	}{
		{"as it is", sum, rollup, ""},
		{"fewer records", bytes.Replace(sum, []byte(`"records":3`), []byte(`"records":2`), 1), rollup, "its summary is not that of its records"},
		{"no JSON", []byte("{"), rollup, "reading the summary"},
		{"too large", bytes.Repeat([]byte(" "), maxSummary+1), rollup, "reading the summary"},
		{"a rollup of its own", sum, forged, "its rollup is not that of its records"},
		{"a rollup that does not decode", sum, []byte("junk"), "reading the rollup"},
		{"a rollup that decodes to too much", sum, enc.EncodeAll(make([]byte, maxRollup+1<<20), nil), "reading the rollup"},
	} {
		b := appendSkippable(appendSkippable(nil, summaryMagic, tt.sum), rollupMagic, tt.rollup)
		if err := os.WriteFile(name, append(b, frames...), 0o600); err != nil {
			t.Fatal(err)
		}
		rep, err := Verify(dir)
		if err != nil {
			t.Fatal(err)
		}
		if tt.want == "" && rep.Broken == nil {
			continue
		}
		if rep.Broken == nil || !strings.Contains(rep.Broken.What, tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, rep.Broken, tt.want)
		}
	}
}

// A report does not grow with the damage.
func TestVerifyNotices(t *testing.T) {
	dir := chained(t)
	edit(t, filepath.Join(dir, plainName(4)), func(b []byte) []byte { return append(b, strings.Repeat("junk\n", 2*maxNotices)...) })
	rep, err := Verify(dir)
	if err != nil || len(rep.Notices) != maxNotices || rep.Notices[maxNotices-1] != "and more" {
		t.Errorf("%d notices, %v", len(rep.Notices), err)
	}
	src, err := openSegment(dir, 4, maxSegment)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	if n := len(src.inspect("").damage); n != maxDamage {
		t.Errorf("%d damaged places are kept", n)
	}
}
