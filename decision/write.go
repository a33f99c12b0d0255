package decision

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// When a segment is full.
const (
	segmentSize = 8 << 20 // bytes
	segmentAge  = 24 * time.Hour
)

// writer appends sealed batches to the last segment. It is guarded by
// [Journal.writing].
type writer struct {
	dir  string
	disk disk
	boot string
	full int // bytes

	f      *os.File // nil: the next batch begins a segment
	number uint64   // of the last segment, whether open or not; 0: there is none
	size   int64    // of f, up to the last seal
	opened time.Time
	seal   string    // the last
	to     time.Time // the last trusted time of a record of the last segment
	tail   *tail     // what follows the last seal when f is nil
	buf    []byte
}

// append writes lines, which are not empty, and their seal, and flushes them.
// They begin at seq first; their last trusted time is to. After an error all of
// them are to be given again.
func (w *writer) append(lines []byte, first uint64, now, to time.Time) error {
	if age := now.Sub(w.opened); w.f != nil && (w.size+int64(len(lines)) > int64(w.full) || age >= segmentAge || age < 0) {
		w.close()
	}
	if w.f == nil {
		return w.begin(lines, first, now, to)
	}
	s := seal(w.seal, lines)
	w.buf = appendSeal(append(w.buf[:0], lines...), s)
	if err := w.flush(w.f); err != nil {
		w.abandon()
		return err
	}
	w.size += int64(len(w.buf))
	w.seal, w.to = s, to
	return nil
}

// begin writes lines as the first batch of a segment. The segment has its name
// only when that batch is on the disk, so a failure leaves nothing of it, and
// there is none without a header.
func (w *writer) begin(lines []byte, first uint64, now, to time.Time) error {
	h := header{Segment: w.number + 1, Format: format, Boot: w.boot, Time: now.UTC(), First: first,
		Prev: prev{Segment: w.number, Seal: w.seal, To: w.to, Tail: w.tail}}
	head, err := h.line()
	if err != nil {
		return err
	}
	w.buf = append(append(w.buf[:0], head...), lines...)
	s := seal(w.seal, w.buf)
	w.buf = appendSeal(w.buf, s)

	name := filepath.Join(w.dir, plainName(h.Segment))
	f, err := w.disk.create(name + tmpExt)
	if err != nil {
		return err
	}
	_, err = w.disk.write(f, w.buf)
	if err == nil {
		err = w.disk.publish(f, w.dir, name+tmpExt, name)
	}
	if err != nil {
		f.Close()
		w.disk.remove(name + tmpExt)
		return err
	}
	w.f, w.number, w.size, w.opened = f, h.Segment, int64(len(w.buf)), now
	w.seal, w.to, w.tail = s, to, nil
	return nil
}

// flush writes buf in one piece and waits for the disk.
func (w *writer) flush(f *os.File) error {
	if _, err := w.disk.write(f, w.buf); err != nil {
		return err
	}
	return w.disk.sync(f)
}

// abandon ends the segment after a failed write: nobody knows what of it is on
// the disk. The batch is cut off where the disk still can, else it becomes the
// segment's tail, or, if it is there whole, a batch that will be there twice.
func (w *writer) abandon() {
	cut := w.disk.truncate(w.f, w.size)
	if cut == nil {
		cut = w.disk.sync(w.f)
	}
	w.close()
	if cut == nil {
		return
	}
	if src, err := openSegment(w.dir, w.number, maxSegment+1); err == nil {
		defer src.close()
		in := src.inspect("")
		w.seal, w.tail = in.sealFits, in.restFits
	}
}

// close ends the segment; the next batch begins another.
func (w *writer) close() {
	if w.f != nil {
		w.f.Close() // every byte was flushed before
		w.f = nil
	}
}

// recover learns where the journal in w.dir stands. It returns the last seq, and
// what cannot be read of the segments that it had to look at: the last, and
// before that as many as it takes to find a header.
func (w *writer) recover() (last uint64, damage []error, err error) {
	all, err := list(w.dir)
	if err != nil {
		return 0, nil, err
	}
	from := len(all) - 1
	for ; from > 0; from-- {
		if _, err := peek(w.dir, all[from].number); err == nil {
			break
		}
	}
	w.seal = zeroSeal
	for i := max(from, 0); i < len(all); i++ {
		src, err := openSegment(w.dir, all[i].number, maxSegment+1)
		if err != nil {
			return 0, nil, fmt.Errorf("reading the journal: %w", err)
		}
		in := src.inspect(w.seal)
		src.close()
		damage = append(damage, in.damage...)
		if in.headerErr != nil {
			damage = append(damage, &Damage{src.name, 1, in.headerErr})
		}
		last = max(last, in.Last)
		w.number, w.to = all[i].number, in.Trusted
		w.seal, w.tail = in.seal, in.rest
		if i == len(all)-1 {
			w.seal, w.tail = in.sealFits, in.restFits
		}
	}
	return last, damage, nil
}
