package decision

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var errPower = errors.New("the power is gone")

// power is a disk that can be cut off from its power. What was flushed stays;
// of the rest as much as chance wants.
type power struct {
	dir    string
	left   int // operations before the cut
	rand   *rand.Rand
	files  map[string]*onDisk // by the name they have now
	undo   []func()           // changes of names since the last flush of the folder
	failed bool
}

type onDisk struct{ written, flushed int64 }

// step is called before each operation.
func (p *power) step() error {
	if p.left == 0 {
		p.failed = true
		return errPower
	}
	p.left--
	return nil
}

func (p *power) disk() disk {
	real := realDisk()
	return disk{
		create: func(name string) (*os.File, error) {
			if err := p.step(); err != nil {
				return nil, err
			}
			p.files[name] = new(onDisk)
			return real.create(name)
		},
		write: func(f *os.File, b []byte) (int, error) {
			file := p.file(f)
			if err := p.step(); err != nil {
				if n := p.rand.IntN(len(b) + 1); file != nil { // begun
					real.write(f, b[:n])
					file.written += int64(n)
				}
				return 0, err
			}
			file.written += int64(len(b))
			return real.write(f, b)
		},
		sync: func(f *os.File) error {
			if err := p.step(); err != nil {
				return err
			}
			file := p.file(f)
			file.flushed = file.written
			return nil
		},
		truncate: func(f *os.File, size int64) error {
			if err := p.step(); err != nil {
				return err
			}
			p.file(f).written = size
			return real.truncate(f, size)
		},
		rename: func(from, to string) error {
			if err := p.step(); err != nil {
				return err
			}
			old, _ := os.ReadFile(to)
			file := p.files[from]
			p.undo = append(p.undo, func() {
				os.Rename(to, from)
				p.files[from] = file
				delete(p.files, to)
				if old != nil {
					os.WriteFile(to, old, 0o640)
				}
			})
			p.files[to] = file
			delete(p.files, from)
			return real.rename(from, to)
		},
		remove: func(name string) error {
			if err := p.step(); err != nil {
				return err
			}
			if content, err := os.ReadFile(name); err == nil {
				file := p.files[name]
				p.undo = append(p.undo, func() {
					os.WriteFile(name, content, 0o640)
					if file != nil {
						p.files[name] = file
					}
				})
			}
			delete(p.files, name)
			return real.remove(name)
		},
		syncDir: func(dir string) error {
			if err := p.step(); err != nil {
				return err
			}
			p.undo = nil
			return nil
		},
	}
}

// file finds an open file by its inode, since it may have got another name.
func (p *power) file(f *os.File) *onDisk {
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	for name, file := range p.files {
		if other, err := os.Stat(name); err == nil && os.SameFile(info, other) {
			return file
		}
	}
	return nil
}

// cut leaves the folder as a power cut would.
func (p *power) cut(t *testing.T) {
	for n := p.rand.IntN(len(p.undo) + 1); n > 0; n-- { // names change in order, or not at all
		p.undo[len(p.undo)-1]()
		p.undo = p.undo[:len(p.undo)-1]
	}
	for name, file := range p.files {
		if rest := file.written - file.flushed; rest > 0 {
			if err := os.Truncate(name, file.flushed+p.rand.Int64N(rest+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// crashed runs a box until the power is cut after some operations; it returns
// the seq that is known to be on the disk, and whether the power was cut at all.
func crashed(t *testing.T, dir string, ops int, seed uint64, run string) (flushed uint64, cut bool) {
	p := &power{dir: dir, left: ops, rand: rand.New(rand.NewPCG(seed, uint64(ops))), files: make(map[string]*onDisk)}
	for _, name := range mustGlob(t, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		p.files[name] = &onDisk{info.Size(), info.Size()}
	}
	small := defaults()
	small.segment = 1500
	now := at("2026-11-22T10:00:00Z")
	size := int64(1 << 30)
	if seed%2 == 1 {
		size = 8 * 4096 // so that segments are deleted, too
	}
	j := mustOpen(t, Config{Dir: dir, MaxSize: size, Boot: run, Now: func() time.Time { return now },
		Trusted: func() (time.Time, bool) { return now, true }}, p.disk(), small)
	for i := range 12 {
		for range 3 {
			j.Record(event(fmt.Sprintf("%s-%d %s", run, j.seq+1, strings.Repeat("x", 40))))
		}
		if j.flush() == nil {
			flushed = j.written
		}
		if i%4 == 3 {
			j.tidy(context.Background())
		}
		now = now.Add(time.Minute)
	}
	j.writer.close()
	p.cut(t)
	return flushed, p.failed
}

// stride thins out what would else be tried at every step.
func stride() int {
	if testing.Short() {
		return 7
	}
	return 1
}

func mustGlob(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The power is cut after each operation on the disk in turn, over two runs:
// what was flushed is there, in order and once; what was not is there, too, or
// gone; damage is at most one torn line a run; every seal fits.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(2) {
		for ops := 0; ; ops += stride() {
			dir := t.TempDir()
			first, cut := crashed(t, dir, ops, seed, "a")
			if !cut {
				if ops < 50 {
					t.Fatalf("a run has %d operations only", ops)
				}
				break
			}
			second, _ := crashed(t, dir, (ops*7+int(seed))%60, seed+100, "b")
			// A third run finds the journal and goes on.
			j := mustOpen(t, Config{Dir: dir, Boot: "c"}, quickDisk(), defaults())
			j.Record(event("last"))
			if err := j.flush(); err != nil {
				t.Fatal(err)
			}
			j.writer.close()
			if err := j.tidy(context.Background()); err != nil {
				t.Fatal(err)
			}
			checkCrashed(t, dir, fmt.Sprintf("seed %d, cut after %d", seed, ops), max(first, second), seed%2 == 1)
			if t.Failed() {
				return
			}
		}
	}
}

func checkCrashed(t *testing.T, dir, name string, flushed uint64, pruned bool) {
	t.Helper()
	records, damage := collect(t, dir, Query{})
	if len(damage) > 2 {
		t.Errorf("%s: damage %q", name, damage)
	}
	for _, d := range damage {
		if !strings.Contains(d, "torn") {
			t.Errorf("%s: damage %q", name, damage)
		}
	}
	there := make(map[uint64]bool)
	last := uint64(0)
	first := uint64(1)
	if pruned {
		first = records[0].Seq
	}
	for _, r := range records {
		if r.Seq <= last {
			t.Errorf("%s: seq %d follows %d", name, r.Seq, last)
		}
		last = r.Seq
		there[r.Seq] = true
	}
	for seq := first; seq <= flushed; seq++ {
		if !there[seq] {
			t.Errorf("%s: seq %d was flushed and is gone", name, seq)
		}
	}
	rep, err := Verify(dir)
	if err != nil || rep.Broken != nil {
		t.Errorf("%s: %v, %v", name, rep.Broken, err)
	}
}
