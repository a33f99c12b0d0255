package decision

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Digests yields the digests of the segments whose records touch [since, until), oldest
// first; a zero time is no bound. A segment has at most a day. Errors are as for [Read].
func Digests(dir string, since, until time.Time) iter.Seq2[Digest, error] {
	return digests(dir, Query{Since: since, Until: until}, nil, func(number uint64) (Digest, error) { return digestOf(dir, number) })
}

// Digests yields what the function [Digests] does, up to what is on the disk. Of the open
// segment only that is read which was written since it was asked last.
func (j *Journal) Digests(since, until time.Time) iter.Seq2[Digest, error] {
	return digests(j.cfg.Dir, Query{Since: since, Until: until}, &j.heads, func(number uint64) (Digest, error) {
		j.mu.Lock()
		active, sealed := j.active, j.sealed
		j.mu.Unlock()
		if number != active {
			return digestOf(j.cfg.Dir, number)
		}
		return j.open.digest(j.cfg.Dir, number, sealed)
	})
}

func digests(dir string, q Query, heads *heads, read func(number uint64) (Digest, error)) iter.Seq2[Digest, error] {
	return func(yield func(Digest, error) bool) {
		all, err := list(dir)
		if err != nil {
			yield(Digest{}, err)
			return
		}
		for _, l := range all {
			if q.passes(dir, l, heads) {
				continue
			}
			d, err := read(l.number)
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted since it was listed
			}
			d.Segment = l.number
			if err != nil && !yield(d, &Damage{Segment: l.name(), Err: err}) || err == nil && !yield(d, nil) {
				return
			}
		}
	}
}

// digestOf returns the digest of a segment, made anew where none can be read. With an
// error it is of what could be read.
func digestOf(dir string, number uint64) (Digest, error) {
	f, plain, err := openFile(dir, number)
	if err != nil {
		return Digest{}, err
	}
	defer f.Close()
	if !plain {
		if d, err := storedDigest(f); err == nil {
			return d, nil
		}
	}
	src, err := openSegment(dir, number, maxSegment+1)
	if err != nil {
		return Digest{}, err
	}
	defer src.close()
	in := src.inspect("")
	d := in.summed()
	d.header = in.Header
	return *d, in.lost
}

// storedDigest reads the digest of a compressed segment.
func storedDigest(f io.Reader) (Digest, error) {
	s, err := readSummary(f)
	if err != nil {
		return Digest{}, err
	}
	if _, err := readSkippable(f, rollupMagic, maxRollup); err != nil {
		return Digest{}, err
	}
	b, err := readDigest(f)
	if err != nil {
		return Digest{}, err
	}
	d, err := parseDigest(b)
	d.header = s.Header
	return d, err
}

// Follows returns why a segment does not follow the one before it, as far as what the two
// say of themselves can tell. Only [Verify] shows whether that is so.
func (d *Digest) Follows(before *Digest) error {
	h := &d.header
	switch {
	case d.Segment != before.Segment+1:
		return fmt.Errorf("segments %08d to %08d are missing", before.Segment+1, d.Segment-1)
	case h.Segment != d.Segment || h.Prev.Segment != before.Segment || h.Prev.Seal != before.seal && h.Prev.Seal != before.fits:
		return fmt.Errorf("segment %08d does not follow the end of segment %08d", d.Segment, before.Segment)
	}
	return nil
}

// openDigest is the digest of the open segment, as far as it was read.
type openDigest struct {
	mu   sync.Mutex
	read readSegment
}

type readSegment struct {
	number uint64
	at     int64 // bytes
	made   *digester
	header header
	seal   string
}

// digest reads on, up to the given length of the segment's file.
func (open *openDigest) digest(dir string, number uint64, sealed int64) (Digest, error) {
	open.mu.Lock()
	defer open.mu.Unlock()
	f, err := os.Open(filepath.Join(dir, plainName(number)))
	if errors.Is(err, fs.ErrNotExist) { // it is the last one of the run before
		return digestOf(dir, number)
	}
	if err != nil {
		return Digest{}, err
	}
	defer f.Close()
	o := &open.read
	if o.number != number || o.made == nil {
		*o = readSegment{number: number, made: newDigester()}
	}
	if _, err := f.Seek(o.at, io.SeekStart); err != nil {
		return Digest{}, err
	}
	src := &source{name: plainName(number), r: bufio.NewReaderSize(io.LimitReader(f, sealed-o.at), 64<<10)}
	for l, damage := range src.lines() {
		if damage != nil || l.torn { // it is read again when the segment has ended, and told then
			break
		}
		if o.at == 0 {
			if h, err := parseHeader(l.raw); err == nil {
				o.header = *h
			}
		}
		o.at += int64(len(l.raw))
		if seal, ok := parseSeal(l.raw); ok {
			o.seal = seal
			continue
		}
		if r, err := ParseRecord(l.raw); err == nil && r.Seq != 0 {
			o.made.add(&r)
		}
	}
	d := o.made.digest()
	d.header, d.seal, d.fits = o.header, o.seal, o.seal
	return d, nil
}

// Oldest returns when the first segment in a journal's folder begins; zero: there is none,
// or it does not say.
func Oldest(dir string) (time.Time, error) {
	all, err := list(dir)
	if err != nil || len(all) == 0 {
		return time.Time{}, err
	}
	s, _ := peek(dir, all[0].number)
	return s.From, nil
}
