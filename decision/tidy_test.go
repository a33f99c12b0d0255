package decision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

// days fills a journal with one segment a day.
func days(t *testing.T, dir string, clock *settable, n int) {
	t.Helper()
	for range n {
		j := mustOpen(t, Config{Dir: dir, Now: clock.now, Boot: "b"}, quickDisk(), defaults())
		j.batch(t, "of "+clock.t.Format(time.DateOnly))
		j.writer.close()
		clock.t = clock.t.Add(day)
	}
}

func prunes(t *testing.T, dir string) string {
	var s []string
	records, _ := collect(t, dir, Query{})
	for _, r := range records {
		if r.Event == EventPrune {
			s = append(s, r.Detail)
		}
	}
	return strings.Join(s, " | ")
}

// Segments go when the last of their records is too old, by trusted time only,
// and never the one that is being written.
func TestKeep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		keep  time.Duration
		later time.Duration // after the last record
		never bool          // the time is not trusted
		want  string
		state State
	}{
		{"nothing is old", 400 * day, 0, false, "1 2 3 4 5", OK},
		{"the last of the first is just as old", 400 * day, 396 * day, false, "1 2 3 4 5", OK},
		{"the first is too old", 400 * day, 396*day + 1, false, "2 3 4 5", OK},
		{"nobody knows the time", 400 * day, 1000 * day, true, "1 2 3 4 5", OK},
		{"all are too old", 400 * day, 1000 * day, false, "5", OK},
		{"kept for less than a year", 30 * day, 28 * day, false, "3 4 5", Bad},
	} {
		dir := t.TempDir()
		clock := &settable{at("2026-01-01T10:00:00Z")}
		days(t, dir, clock, 5)
		clock.t = clock.t.Add(-day + tt.later)
		cfg := Config{Dir: dir, Keep: tt.keep, Now: clock.now, Trusted: clock.trusted}
		if tt.never {
			cfg.Trusted = func() (time.Time, bool) { return clock.t, false }
		}
		j := mustOpen(t, cfg, quickDisk(), defaults())
		if err := j.tidy(context.Background()); err != nil {
			t.Fatal(err)
		}
		var got []string
		all, err := list(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range all {
			if l.number <= 5 {
				got = append(got, fmt.Sprint(l.number))
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v are left, want %s", tt.name, got, tt.want)
		}
		if h := j.Health(); h.State != tt.state {
			t.Errorf("%s: health %+v", tt.name, h)
		}
		if gone := 5 - len(got); (prunes(t, dir) == "") != (gone == 0) {
			t.Errorf("%s: told %q", tt.name, prunes(t, dir))
		}
		j.writer.close()
		intact(t, dir)
	}
}

// What a box writes before it knows the time has no age of its own.
func TestKeepUntrusted(t *testing.T) {
	dir := t.TempDir()
	for _, day := range []string{"1970-01-01", "2026-01-01", "1970-01-01", "2026-01-03", "1970-01-01"} {
		clock := &settable{at(day + "T10:00:00Z")}
		j := mustOpen(t, Config{Dir: dir, Now: clock.now, Coarse: func() bool { return clock.t.Year() > 2000 }}, quickDisk(), defaults())
		j.batch(t, day)
		j.writer.close()
	}
	clock := &settable{at("2027-02-06T10:00:00Z")} // 401 days after the second segment, 399 after the fourth
	j := mustOpen(t, Config{Dir: dir, Now: clock.now, Trusted: clock.trusted}, quickDisk(), defaults())
	if err := j.tidy(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "00000003.jsonl.zst 00000004.jsonl.zst 00000005.jsonl 00000006.jsonl" {
		t.Errorf("left: %s", got)
	}
	if got, want := prunes(t, dir), "segments 00000001 to 00000002 are deleted, older than 400 days; seq 3 is now the first; the last deleted record is of 2026-01-01T10:00:00Z"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if s := j.Stats(); s.Segments != 3 || s.Bytes != 3*4096 || !s.Oldest.Equal(at("1970-01-01T10:00:00Z")) {
		t.Errorf("%+v", s)
	}
}

// The size wins over the age; what is younger than a year turns the health bad
// until a year of records is there again, over restarts.
func TestMaxSize(t *testing.T) {
	dir := t.TempDir()
	clock := &settable{at("2026-01-01T10:00:00Z")}
	days(t, dir, clock, 20)
	l := defaults()
	l.segment = 4096
	cfg := Config{Dir: dir, MaxSize: 8 * 4096, Now: clock.now, Trusted: clock.trusted}
	j := mustOpen(t, cfg, quickDisk(), l)
	if err := j.tidy(context.Background()); err != nil {
		t.Fatal(err)
	}
	// Two of eight are kept free; the prune record needed a segment, after that.
	if got, want := names(t, dir), "00000015.jsonl.zst 00000016.jsonl.zst 00000017.jsonl.zst 00000018.jsonl.zst 00000019.jsonl.zst 00000020.jsonl 00000021.jsonl"; got != want {
		t.Errorf("left: %s\nwant: %s", got, want)
	}
	if got, want := prunes(t, dir), "segments 00000001 to 00000014 are deleted, for a max_size of 32768 bytes; seq 15 is now the first; the last deleted record is of 2026-01-14T10:00:00Z"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	bad := func(j *Journal, want State) {
		t.Helper()
		if h := j.Health(); h.State != want || want == Bad && !strings.Contains(h.Text, "2026-01-14") {
			t.Errorf("health at %v: %+v", clock.t, h)
		}
	}
	bad(j, Bad)
	j.writer.close()
	rep := intact(t, dir)
	if rep.FirstSeq != 15 || len(rep.Notices) != 1 || !strings.Contains(rep.Notices[0], "begins with segment 00000015") {
		t.Errorf("%+v", rep)
	}

	cfg.MaxSize = 1 << 20
	j = mustOpen(t, cfg, quickDisk(), l)
	tidy := func() {
		t.Helper()
		if err := j.tidy(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	tidy()
	bad(j, Bad)
	clock.t = at("2027-01-14T09:59:59Z")
	tidy()
	bad(j, Bad)
	clock.t = at("2027-01-14T10:00:00Z")
	tidy()
	bad(j, OK)
}

// A damaged summary hinders no deletion.
func TestPruneDamaged(t *testing.T) {
	dir := t.TempDir()
	clock := &settable{at("2026-01-01T10:00:00Z")}
	days(t, dir, clock, 4)
	j := mustOpen(t, Config{Dir: dir, Now: clock.now}, quickDisk(), defaults())
	if err := j.tidy(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{1, 3} {
		if err := os.WriteFile(filepath.Join(dir, packedName(n)), []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clock.t = clock.t.Add(1000 * day)
	j = mustOpen(t, Config{Dir: dir, Now: clock.now, Trusted: clock.trusted}, quickDisk(), defaults())
	if err := j.tidy(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "00000003.jsonl.zst 00000004.jsonl 00000005.jsonl" {
		t.Errorf("left: %s", got) // the third is as old as the next, which is being written
	}
	if got, want := prunes(t, dir), "segments 00000001 to 00000002 are deleted, older than 400 days"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// That segments go is on the disk before they go; if it cannot be, they go all
// the same: it may be what the disk needs.
func TestPruneIsToldFirst(t *testing.T) {
	for _, full := range []bool{false, true} {
		dir := t.TempDir()
		clock := &settable{at("2026-01-01T10:00:00Z")}
		days(t, dir, clock, 3)
		f := &faulty{}
		d := f.disk()
		told, remove := "", d.remove
		d.remove = func(name string) error {
			told += prunes(t, dir)
			return remove(name)
		}
		j := mustOpen(t, Config{Dir: dir, Now: clock.now, Trusted: clock.trusted}, d, defaults())
		if err := j.tidy(context.Background()); err != nil || names(t, dir) != "00000001.jsonl.zst 00000002.jsonl.zst 00000003.jsonl" {
			t.Fatalf("%v, left: %s", err, names(t, dir))
		}
		clock.t = clock.t.Add(1000 * day)
		want := "00000003.jsonl 00000004.jsonl"
		if full {
			f.set(faults{create: syscall.ENOSPC})
			want = "00000003.jsonl"
		}
		if err := j.tidy(context.Background()); err != nil || names(t, dir) != want {
			t.Errorf("full %v: %v, left: %s", full, err, names(t, dir))
		}
		if told == "" != full {
			t.Errorf("full %v: told %q before", full, told)
		}
	}
}

// Serve packs full segments at once, and looks at ages every hour.
func TestServeTidies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := mustOpen(t, Config{Dir: dir, Keep: day, Trusted: func() (time.Time, bool) { return time.Now(), true }}, quickDisk(), defaults())
		j.batch(t, "the run before")
		j.writer.close()
		j = mustOpen(t, Config{Dir: dir, Keep: day, Trusted: func() (time.Time, bool) { return time.Now(), true }}, quickDisk(), defaults())
		stop := serve(t, j)
		j.Record(event("1"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := names(t, dir); got != "00000001.jsonl.zst 00000002.jsonl" {
			t.Errorf("at once: %s", got)
		}
		time.Sleep(day + time.Hour)
		synctest.Wait()
		if got := names(t, dir); got != "00000003.jsonl" {
			t.Errorf("a day later: %s", got)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		intact(t, dir)
	})
}

// A segment that cannot be compressed is a warning, told once, and no reason
// to stop.
func TestTidyError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
		j.batch(t, "1")
		j.writer.close()
		d := quickDisk()
		create := d.create
		var broken atomic.Bool
		broken.Store(true)
		d.create = func(name string) (*os.File, error) {
			if broken.Load() && strings.HasSuffix(name, packedExt+tmpExt) {
				return nil, syscall.ENOSPC
			}
			return create(name)
		}
		j = mustOpen(t, Config{Dir: dir}, d, defaults())
		serve(t, j)
		j.Record(event("2"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if h := j.Health(); h.State != Warn || !strings.Contains(h.Text, "compressing segment 00000001.jsonl: no space left on device") {
			t.Errorf("health %+v", h)
		}
		broken.Store(false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if h := j.Health(); h.State != OK || names(t, dir) != "00000001.jsonl.zst 00000002.jsonl" {
			t.Errorf("health %+v, left: %s", h, names(t, dir))
		}
	})
}

// A journal that was deleted by hand under the box.
func TestTidyGone(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	if err := j.tidy(context.Background()); err != nil {
		t.Errorf("empty: %v", err)
	}
	j.batch(t, "1")
	j.writer.close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := j.tidy(context.Background()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
	j.Record(event("2"))
	if err := j.flush(); err == nil || j.Health().State != Bad {
		t.Errorf("gone: %v, %+v", err, j.Health())
	}
}
