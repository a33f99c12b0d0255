package decision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// quickDisk waits for no disk, where a test is not about that.
func quickDisk() disk {
	d := realDisk()
	d.sync = func(*os.File) error { return nil }
	d.syncDir = func(string) error { return nil }
	return d
}

// faults are what fails on a disk; nil: nothing.
type faults struct {
	create, write, sync, truncate, rename, remove, syncDir error
	short                                                  int // bytes that a failing write writes all the same
}

// faulty is a disk whose faults come and go.
type faulty struct {
	mu  sync.Mutex
	now faults
}

func (f *faulty) set(now faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = now
}

func (f *faulty) get() faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *faulty) disk() disk {
	real := quickDisk()
	return disk{
		create: func(name string) (*os.File, error) {
			if err := f.get().create; err != nil {
				return nil, err
			}
			return real.create(name)
		},
		write: func(file *os.File, b []byte) (int, error) {
			if now := f.get(); now.write != nil {
				n, _ := real.write(file, b[:min(now.short, len(b))])
				return n, now.write
			}
			return real.write(file, b)
		},
		sync: func(file *os.File) error { return f.get().sync },
		truncate: func(file *os.File, size int64) error {
			return firstError(f.get().truncate, func() error { return real.truncate(file, size) })
		},
		rename: func(from, to string) error {
			return firstError(f.get().rename, func() error { return real.rename(from, to) })
		},
		remove:  func(name string) error { return firstError(f.get().remove, func() error { return real.remove(name) }) },
		syncDir: func(string) error { return f.get().syncDir },
	}
}

func firstError(err error, do func() error) error {
	if err != nil {
		return err
	}
	return do()
}

// Every fault of the disk, before the first segment and within one: records
// wait, the operator and the journal are told once, and when the disk is well
// nothing is missing, nothing is there twice, and every seal fits.
func TestDiskFaults(t *testing.T) {
	readOnly := faults{create: syscall.EROFS, write: syscall.EIO, sync: syscall.EIO, truncate: syscall.EROFS,
		rename: syscall.EROFS, remove: syscall.EROFS, syncDir: syscall.EIO}
	for _, tt := range []struct {
		name string
		bad  faults
	}{
		{"full", faults{write: syscall.ENOSPC}},
		{"full in the middle of a batch", faults{write: syscall.ENOSPC, short: 300}},
		{"full, and cannot be cut off", faults{write: syscall.ENOSPC, short: 300, truncate: syscall.EIO}},
		{"full in the first line, and cannot be cut off", faults{write: syscall.ENOSPC, short: 30, truncate: syscall.EIO}},
		{"all written, and cannot be cut off", faults{write: syscall.EIO, short: 1 << 20, truncate: syscall.EIO}},
		{"sync fails", faults{sync: syscall.EIO}},
		{"sync fails, and cannot be cut off", faults{sync: syscall.EIO, truncate: syscall.EIO}},
		{"no file can be made", faults{create: syscall.EDQUOT, write: syscall.EDQUOT}},
		{"no name can be given", faults{rename: syscall.ENOSPC, write: syscall.ENOSPC}},
		{"names are not on the disk", faults{syncDir: syscall.EIO, sync: syscall.EIO}},
		{"read-only", readOnly},
	} {
		for _, begun := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, begun %v", tt.name, begun), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testDiskFault(t, tt.bad, begun) })
			})
		}
	}
}

func testDiskFault(t *testing.T, bad faults, begun bool) {
	dir := t.TempDir()
	var log strings.Builder
	f := &faulty{}
	j := mustOpen(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))}, f.disk(), defaults())
	if begun {
		j.Record(event("0"))
		if err := j.flush(); err != nil {
			t.Fatal(err)
		}
	}
	f.set(bad)
	stop := serve(t, j)
	j.Record(event("1"))
	j.Record(event("2"))
	time.Sleep(5 * time.Second)
	synctest.Wait()
	h := j.Health()
	if h.State != Bad || !h.Since.Equal(at("2000-01-01T00:00:05Z")) || !strings.Contains(h.Text, "cannot be written") {
		t.Errorf("health: %+v", h)
	}
	j.Record(event("3"))
	time.Sleep(time.Minute)
	synctest.Wait()
	// In memory and on the disk, there is everything once.
	want := "1 2 journal: cannot be written; records wait in memory: "
	var seen []Record
	for r, err := range j.Read(Query{}) {
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, r)
	}
	if got := details(seen); !strings.Contains(got, want) || !strings.HasSuffix(got, " 3") {
		t.Errorf("meanwhile: %s", got)
	}

	f.set(faults{})
	time.Sleep(5 * time.Second)
	synctest.Wait()
	if h := j.Health(); h.State != OK {
		t.Errorf("health: %+v", h)
	}
	j.Record(event("4"))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors are logged, want 1:\n%s", n, &log)
	}
	if !strings.Contains(log.String(), `level=INFO msg="the journal is written again" after=1m`) {
		t.Errorf("log:\n%s", &log)
	}

	records, damage := collect(t, dir, Query{})
	if len(damage) > 0 && bad.truncate == nil {
		t.Errorf("damage: %q", damage)
	}
	for i := 1; i < len(records); i++ {
		if records[i].Seq != records[i-1].Seq+1 {
			t.Errorf("seq %d follows %d", records[i].Seq, records[i-1].Seq)
		}
	}
	got := details(records)
	if begun {
		got = strings.TrimPrefix(got, "0 ")
	}
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " 3 journal: written again, after 1m5s 4") {
		t.Errorf("at the end: %s", got)
	}
	rep := intact(t, dir)
	if rep.Records < len(records) || rep.Segments > 2 {
		t.Errorf("%d records in %d segments, read %d", rep.Records, rep.Segments, len(records))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// Memory is bounded: what it has no room for is counted, told once, and a gap
// record says how much it was when the disk is back.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log strings.Builder
		f := &faulty{now: faults{create: syscall.ENOSPC}}
		small := defaults()
		small.pending = 2000
		j := mustOpen(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))}, f.disk(), small)
		sub, err := j.Subscribe(Query{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		stop := serve(t, j)
		for i := range 58 {
			r := event(fmt.Sprint(i))
			r.Count = 10
			j.Record(r)
			time.Sleep(time.Second)
			if n := j.Stats().Pending; n > small.pending {
				t.Fatalf("%d bytes wait", n)
			}
		}
		dropped := j.Stats().Dropped
		if h := j.Health(); !strings.Contains(h.Text, fmt.Sprintf("%d records are lost", dropped/10)) {
			t.Errorf("health: %+v", h)
		}
		f.set(faults{})
		time.Sleep(4 * time.Second)
		j.Record(event("back"))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		records, _ := collect(t, dir, Query{})
		gap := slices.IndexFunc(records, func(r Record) bool { return r.Event == EventGap })
		if gap < 0 {
			t.Fatalf("no gap in %s", details(records))
		}
		g := records[gap]
		var kept uint64
		for _, r := range records[:gap] {
			if r.Count > 0 {
				kept += r.Count
			}
		}
		if g.Count != dropped || kept+g.Count != 580 || g.Seq != records[gap-1].Seq+dropped/10+1 {
			t.Errorf("gap %+v: %d were dropped, %d kept", g, dropped, kept)
		}
		if g.Time.Before(records[gap-1].Time) || !g.Until.Equal(at("2000-01-01T00:00:57Z")) {
			t.Errorf("gap from %v to %v", g.Time, g.Until)
		}
		if got := details(records[gap+1:]); got != "journal: written again, after 55s back" {
			t.Errorf("after the gap: %s", got)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
			t.Errorf("%d errors are logged, want one of the disk and one of the loss:\n%s", n, &log)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings are logged, want one of the gap:\n%s", n, &log)
		}
		// Those who follow missed nothing, and are told of the gap.
		n := 0
		for {
			r, err := sub.Next(t.Context())
			if errors.Is(err, ErrClosed) {
				break
			}
			if n++; r.Event == EventGap && r.Seq != g.Seq {
				t.Errorf("the follower's gap is %+v", r)
			}
		}
		if n != 58+4 {
			t.Errorf("the follower got %d records", n)
		}
		intact(t, dir)
	})
}

// shared is a log that is read while it is written.
type shared struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A disk that does not answer is told of while one waits for it: the write that
// does not end, and, before that, every record that is lost.
func TestHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log shared
		answer := make(chan struct{})
		d := quickDisk()
		d.sync = func(*os.File) error { <-answer; return nil }
		small := defaults()
		small.pending = 1000
		j := mustOpen(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))}, d, small)
		stop := serve(t, j)
		health := func(want State, since, text string) {
			t.Helper()
			synctest.Wait()
			h := j.Health()
			if h.State != want || !h.Since.Equal(at(since)) || !strings.Contains(h.Text, text) {
				t.Errorf("at %v: %+v, want %v since %s, %q", time.Now(), h, want, since, text)
			}
		}
		logged := func(want int, text string) {
			t.Helper()
			if n := strings.Count(log.String(), text); n != want {
				t.Errorf("at %v, %q is logged %d times, want %d:\n%s", time.Now(), text, n, want, &log)
			}
		}

		j.Record(event("1"))
		time.Sleep(19 * time.Second) // the write began at 00:05
		health(OK, "0001-01-01T00:00:00Z", "")
		for range 20 {
			j.Record(event("2"))
		}
		health(Bad, "2000-01-01T00:00:19Z", "records are lost")
		logged(1, "records are lost")
		logged(0, "cannot be written")
		time.Sleep(time.Second)
		health(Bad, "2000-01-01T00:00:05Z", "cannot be written (the disk does not answer for 15s)")
		logged(1, "the journal cannot be written")

		time.Sleep(time.Minute)
		close(answer)
		health(OK, "0001-01-01T00:00:00Z", "")
		logged(1, "the journal is written again")
		logged(1, "after=1m15s")
		logged(1, "the journal has a gap")
		logged(2, "level=ERROR")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		records, _ := collect(t, dir, Query{})
		gap := slices.IndexFunc(records, func(r Record) bool { return r.Event == EventGap })
		if lost := j.Stats().Dropped; gap < 0 || records[gap].Count != lost || lost < 10 {
			t.Errorf("%d are lost: %s", lost, details(records))
		}
		intact(t, dir)
	})
}

// What cannot be written to the end is an error of Serve.
func TestServeError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{now: faults{create: syscall.ENOSPC}}
		j := mustOpen(t, Config{Dir: t.TempDir()}, f.disk(), defaults())
		stop := serve(t, j)
		j.Record(event("1"))
		if err := stop(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "lost") {
			t.Errorf("error %v", err)
		}
	})
}

// Many records are written before sync, but not again and again to a bad disk.
func TestEarlyFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{now: faults{create: syscall.ENOSPC}}
		d := f.disk()
		var tries atomic.Int32
		inner := d.create
		d.create = func(name string) (*os.File, error) { tries.Add(1); return inner(name) }
		dir := t.TempDir()
		j := mustOpen(t, Config{Dir: dir}, d, defaults())
		serve(t, j)
		fill := func() {
			for j.Stats().Pending < 5*earlyFlush {
				j.Record(event(strings.Repeat("x", maxDetail)))
				synctest.Wait()
			}
			j.Record(event("1"))
			synctest.Wait()
		}
		fill()
		if n := tries.Load(); n != 1 {
			t.Errorf("tried %d times", n)
		}
		f.set(faults{})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		before := j.Stats().Syncs
		for j.Stats().Syncs == before && j.Stats().Pending < 2*earlyFlush {
			j.Record(event(strings.Repeat("x", maxDetail)))
			synctest.Wait()
		}
		if j.Stats().Syncs == before {
			t.Error("nothing is written early")
		}
		if now := time.Now(); !now.Equal(at("2000-01-01T00:00:05Z")) {
			t.Errorf("written at %v", now)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		if n := cap(j.pending); n > 2*earlyFlush {
			t.Errorf("%d bytes are kept for what waits", n)
		}
	})
}

// A real file system, full and read-only.
func TestTmpfs(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		if os.Getenv("TILLGATE_E2E") == "required" {
			t.Fatalf("mounting a file system: %v", err)
		}
		t.Skipf("mounting a file system: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	j := mustOpen(t, Config{Dir: filepath.Join(dir, "journal")}, realDisk(), defaults())
	defer j.writer.close()
	n := 0
	for ; j.Health().State == OK; n++ {
		j.Record(event(strings.Repeat("x", 1000)))
		j.flush()
		if n > 1000 {
			t.Fatal("it is never full")
		}
	}
	if err := j.flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full: %v", err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if err := j.flush(); err != nil || j.Health().State != OK {
		t.Errorf("with room: %v, %+v", err, j.Health())
	}
	j.flush()
	records, damage := collect(t, filepath.Join(dir, "journal"), Query{})
	if len(records) != n+2 || len(damage) > 0 {
		t.Errorf("%d records, want %d and two of health; damage %q", len(records), n, damage)
	}
	j.writing.Lock()
	j.writer.close() // a file open for writing keeps a file system writable
	j.writing.Unlock()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	j.Record(event("1"))
	if err := j.flush(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	again := mustOpen(t, Config{Dir: filepath.Join(dir, "journal")}, realDisk(), defaults())
	again.Record(event("2"))
	if err := again.flush(); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		t.Errorf("opened read-only: %v", err)
	}
	if err := again.tidy(context.Background()); err != nil && !errors.Is(err, syscall.EROFS) {
		t.Error(err)
	}
}
