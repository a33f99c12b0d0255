package decision

import (
	"bytes"
	"errors"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Read yields the records in a journal's folder that match q, oldest first.
// Damage is yielded as a [*Damage] error, after which reading goes on; any
// other error is the last. Of lines that cannot match damage may not be told. The box may write to the folder meanwhile; then the
// last line may be told as torn although it is only being written.
func Read(dir string, q Query) iter.Seq2[Record, error] {
	return readUntil(dir, q, edge{seq: math.MaxUint64, active: math.MaxUint64}, nil)
}

// Read yields the records that match q, oldest first: those on the disk, then
// those that still wait in memory, as of the moment when reading begins. Errors
// are as for the function [Read].
func (j *Journal) Read(q Query) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		// What is on the disk is no longer in memory, and moves only in this
		// direction: so look at memory first, and on the disk at what was older.
		j.mu.Lock()
		memory := bytes.Clone(j.pending)
		e := edge{seq: j.written, active: j.active, sealed: j.sealed}
		j.mu.Unlock()
		for r, err := range readUntil(j.cfg.Dir, q, e, &j.heads) {
			if !yield(r, err) {
				return
			}
		}
		for l := range bytes.Lines(memory) {
			r, err := ParseRecord(l)
			if (err != nil || q.Match(&r)) && !yield(r, err) {
				return
			}
		}
	}
}

// edge is where the disk ends and memory begins.
type edge struct {
	seq    uint64 // the last on the disk
	active uint64 // the last segment; later ones are not read
	sealed int64  // bytes of it that are
}

func readUntil(dir string, q Query, e edge, heads *heads) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		all, err := list(dir)
		if err != nil {
			yield(Record{}, err)
			return
		}
		way := newWay(dir, &q, all, heads)
		marks := q.marks()
		for i, l := range all {
			if l.number > e.active {
				return
			}
			if !way.read[i] {
				continue
			}
			if !way.next(i) {
				return
			}
			p := part{number: l.number, limit: maxSegment + 1, last: e.seq, marks: marks}
			if l.number == e.active {
				p.limit = e.sealed
			}
			if i+1 < len(all) {
				next, _ := peek(dir, all[i+1].number)
				p.again = next.Header.First
			}
			if !p.read(dir, &q, yield) {
				return
			}
		}
	}
}

// way is which segments are to be read, and how far that is.
type way struct {
	read     []bool
	size     []int64
	progress Progress
	tell     func(Progress) bool
}

func newWay(dir string, q *Query, all []listed, heads *heads) *way {
	w := &way{read: make([]bool, len(all)), size: make([]int64, len(all)), tell: q.Progress}
	for i, l := range all {
		if w.read[i] = !q.passes(dir, l, heads); !w.read[i] || w.tell == nil {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, l.name())); err == nil { // else it is gone
			w.size[i] = info.Size()
			w.progress.Total += info.Size()
		}
	}
	return w
}

// next reports whether to read the i-th segment.
func (w *way) next(i int) bool {
	if w.tell == nil {
		return true
	}
	now := w.progress
	w.progress.Done += w.size[i]
	return w.tell(now)
}

// passes reports whether a segment is known to hold nothing for q. Only the
// compressed ones know: clocks are set back, so a header's time bounds nothing.
func (q *Query) passes(dir string, l listed, heads *heads) bool {
	if l.plain {
		return false
	}
	s, err := heads.span(dir, l.number)
	return err == nil && (s.records == 0 || !q.touches(s.from, s.to) || s.last <= q.After)
}

// part is what is to be read of a segment.
type part struct {
	number uint64
	limit  int64    // bytes of a plain file
	last   uint64   // seq
	marks  [][]byte // see Query.marks
	again  uint64   // the seq from which on the next segment may write again what this one ends with; 0: nothing
}

// read yields the part's records that match q, and reports whether to go on.
func (p *part) read(dir string, q *Query, yield func(Record, error) bool) bool {
	src, err := openSegment(dir, p.number, p.limit)
	if errors.Is(err, fs.ErrNotExist) {
		return true // deleted since it was listed
	}
	if err != nil {
		return yield(Record{}, &Damage{Segment: plainName(p.number), Err: err})
	}
	defer src.close()
	// Only the last batch and the tail can be written again: what is still held
	// when the segment ends.
	var batch, current []Record
	for l, d := range src.lines() {
		var r Record
		ok := false
		if d == nil && p.unmarked(l.raw) {
			continue
		}
		if d == nil {
			r, ok, d = src.record(l)
		}
		switch {
		case d != nil:
			if !yield(Record{}, d) {
				return false
			}
		case !ok: // a header or a seal
			for _, r := range batch {
				if !yield(r, nil) {
					return false
				}
			}
			batch, current = current, nil
		case r.Seq > p.last || !q.Match(&r):
		case p.again > 0 && r.Seq >= p.again:
			current = append(current, r)
		case !yield(r, nil):
			return false
		}
	}
	return true
}

// recordStart is how the lines of records begin that the journal writes.
var recordStart = []byte(`{"time":`)

// unmarked reports whether a line is a record that is not looked for.
func (p *part) unmarked(line []byte) bool {
	if len(p.marks) == 0 || !bytes.HasPrefix(line, recordStart) {
		return false
	}
	return slices.ContainsFunc(p.marks, func(mark []byte) bool { return !bytes.Contains(line, mark) })
}

// Usages yields the rollups of the segments whose records touch [since, until),
// oldest segment first; a zero time is no bound. Errors are as for [Read].
func Usages(dir string, since, until time.Time) iter.Seq2[Usage, error] {
	q := Query{Since: since, Until: until}
	return func(yield func(Usage, error) bool) {
		all, err := list(dir)
		if err != nil {
			yield(Usage{}, err)
			return
		}
		for _, l := range all {
			if q.passes(dir, l, nil) {
				continue
			}
			rows, err := usages(dir, l.number)
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted since it was listed
			}
			if err != nil && !yield(Usage{}, &Damage{Segment: l.name(), Err: err}) {
				return
			}
			for _, row := range rows {
				if q.touches(row.Hour, row.Hour.Add(time.Hour-1)) && !yield(row, nil) {
					return
				}
			}
		}
	}
}

// usages returns the rollup of a segment, made anew where none can be read.
func usages(dir string, number uint64) ([]Usage, error) {
	f, plain, err := openFile(dir, number)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !plain {
		if _, err = readSummary(f); err == nil {
			if b, err := readRollup(f); err == nil {
				return parseRollup(b)
			}
		}
	}
	src, err := openSegment(dir, number, maxSegment+1)
	if err != nil {
		return nil, err
	}
	defer src.close()
	in := src.inspect("")
	rows, err := parseRollup(in.rollup.lines())
	if err == nil {
		err = in.lost // the rows are of the rest
	}
	return rows, err
}
