package decision

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// segments returns a plain segment and the same compressed, of a journal's
// second run.
func segments(t testing.TB) (plain, packed []byte) {
	dir := t.TempDir()
	for range 2 {
		j := mustOpen(t, Config{Dir: dir, Boot: "b"}, quickDisk(), defaults())
		j.batch(t, "1", "2")
		j.Record(full())
		j.batch(t, "3")
		j.writer.close()
	}
	plain, err := os.ReadFile(filepath.Join(dir, plainName(2)))
	if err != nil {
		t.Fatal(err)
	}
	d := quickDisk()
	if err := pack(context.Background(), &d, dir, 2); err != nil {
		t.Fatal(err)
	}
	packed, err = os.ReadFile(filepath.Join(dir, packedName(2)))
	if err != nil {
		t.Fatal(err)
	}
	return plain, packed
}

// Whatever stands in a segment's file is read to its end or bound, in a time
// and with memory that its size bounds; a box goes on after it.
func FuzzReadSegment(f *testing.F) {
	plain, packed := segments(f)
	f.Add(plain, false)
	f.Add(packed, true)
	f.Add(plain[:len(plain)-10], false)
	f.Add(packed[:len(packed)-10], true)
	f.Add(append(bytes.Clone(packed), packed...), true)
	f.Add(bytes.Repeat(frameMagic, 100), true)
	f.Add(appendSkippable(nil, summaryMagic, nil), true)
	f.Add([]byte("\x50\x2a\x4d\x18\xff\xff\xff\xff"), true)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, compressed bool) {
		name := filepath.Join(dir, plainName(1))
		os.Remove(name)
		if compressed {
			name = filepath.Join(dir, packedName(1))
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		records, _ := collect(t, dir, Query{})
		for i := range records {
			if r := &records[i]; r.Seq == 0 || r.Time.IsZero() {
				t.Errorf("%+v", r)
			}
		}
		var counted uint64
		for u, err := range Usages(dir, at("0001-01-01T00:00:00Z").Add(1), at("9999-12-31T23:59:59Z")) {
			if err == nil {
				counted += u.Count
			}
		}
		if !compressed { // the rollup of a compressed one is its own
			var want uint64
			for _, r := range records {
				if r.Plane.Decides() && r.Event == "" {
					want += r.attempts()
				}
			}
			if counted != want {
				t.Errorf("%d decisions are counted, read %d", counted, want)
			}
		}
	})
}

// Two segments of any content: nothing is told twice, and what a box writes
// after them follows them.
func FuzzVerify(f *testing.F) {
	plain, _ := segments(f)
	first := bytes.ReplaceAll(plain, []byte(`"segment":2`), []byte(`"segment":1`))
	f.Add(first, plain)
	f.Add([]byte{}, plain)
	f.Add(plain, []byte{})
	f.Add(plain[:len(plain)-20], plain[:30])
	f.Add([]byte(`{"segment":1,"format":1,"first":18446744073709551615}`+"\n"), []byte(`{"seal":"`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		dir := t.TempDir()
		for n, content := range map[uint64][]byte{1: a, 2: b} {
			if err := os.WriteFile(filepath.Join(dir, plainName(n)), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before, err := Verify(dir)
		if err != nil || before.Segments != 2 || (before.Broken == nil) != (before.Breaks == 0) {
			t.Fatalf("%+v, %v", before, err)
		}
		j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
		j.batch(t, "goes on")
		j.writer.close()
		after, err := Verify(dir)
		if err != nil || after.Segments != 3 || after.Seals != before.Seals+1 {
			t.Fatalf("%+v, %v", after, err)
		}
		// A last seal that does not fit is forgiven if a crash may have left it.
		if after.Breaks > before.Breaks || after.Breaks < before.Breaks-1 {
			t.Errorf("%d breaks before (%v), %d after (%v)", before.Breaks, before.Broken, after.Breaks, after.Broken)
		}
		records, _ := collect(t, dir, Query{})
		if len(records) == 0 || records[len(records)-1].Detail != "goes on" {
			t.Errorf("%d records", len(records))
		}
	})
}
