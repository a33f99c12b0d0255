package decision

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
)

// Bounds of what is read back. What the journal writes stays below them.
const (
	maxSegment = 16 << 20  // bytes of a segment, plain or compressed; the rest is told as damage
	maxLine    = 160 << 10 // bytes of a record's line; a longer one is told as damage
)

// Damage is a place of the journal that cannot be read. Reading goes on after it.
type Damage struct {
	Segment string // file name
	Line    int    // from 1; after a damaged frame of a compressed segment, of those that are left; 0: all of it
	Err     error
}

func (d *Damage) Error() string {
	if d.Line == 0 {
		return fmt.Sprintf("journal segment %s: %v", d.Segment, d.Err)
	}
	return fmt.Sprintf("journal segment %s, line %d: %v", d.Segment, d.Line, d.Err)
}

func (d *Damage) Unwrap() error { return d.Err }

// A source reads the lines of one segment, plain or compressed.
type source struct {
	name string
	file *os.File
	r    *bufio.Reader
	z    *frames // nil: plain
	long []byte  // a line that r has no room for
	cut  error   // why lines ended before the segment did
}

// openFile opens a segment's file. It may be compressed or deleted at any
// moment: the plain file goes when the compressed one is whole; if that is gone,
// too, the error is [fs.ErrNotExist].
func openFile(dir string, number uint64) (f *os.File, plain bool, err error) {
	f, err = os.Open(filepath.Join(dir, plainName(number)))
	if plain = !errors.Is(err, fs.ErrNotExist); !plain {
		f, err = os.Open(filepath.Join(dir, packedName(number)))
	}
	return f, plain, err
}

// openSegment opens a segment to read its lines; limit bounds what is read of a
// plain one.
func openSegment(dir string, number uint64, limit int64) (*source, error) {
	f, plain, err := openFile(dir, number)
	if err != nil {
		return nil, err
	}
	s := &source{name: filepath.Base(f.Name()), file: f}
	if plain {
		s.r = bufio.NewReaderSize(io.LimitReader(f, limit), 64<<10)
		return s, nil
	}
	if s.z, err = newFrames(f); err != nil {
		f.Close()
		return nil, err
	}
	s.r = bufio.NewReaderSize(s.z, 64<<10)
	return s, nil
}

// peek returns what a segment says of itself before its records. Of a plain one
// that is the header alone, whose time is about that of the first record.
func peek(dir string, number uint64) (summary, error) {
	f, plain, err := openFile(dir, number)
	if err != nil {
		return summary{}, err
	}
	defer f.Close()
	if !plain {
		return readSummary(f)
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxSummary)).ReadBytes('\n')
	if err != nil {
		return summary{}, errNoHeader
	}
	h, err := parseHeader(line)
	if err != nil {
		return summary{}, err
	}
	return summary{Header: *h, From: h.Time}, nil
}

func (s *source) close() {
	s.file.Close()
	if s.z != nil {
		s.z.dec.Close()
	}
}

// A line is one line of a segment.
type line struct {
	n    int    // from 1
	raw  []byte // with its end; valid until the next
	torn bool   // it has no end
}

// lines yields every line, torn and overlong ones too. Where something cannot
// be read it yields a [*Damage], and goes on if it can.
func (s *source) lines() iter.Seq2[line, *Damage] {
	return func(yield func(line, *Damage) bool) {
		total := 0
		for n := 1; ; n++ {
			raw, err := s.line()
			if total += len(raw); total > maxSegment {
				raw, err = nil, errTooLarge
			}
			if len(raw) > 0 && !yield(line{n, raw, raw[len(raw)-1] != '\n'}, nil) || err == io.EOF {
				return
			}
			if err != nil && !yield(line{}, &Damage{s.name, n, err}) {
				return
			}
			if err != nil && err != errFrame {
				s.cut = err
				return
			}
		}
	}
}

var (
	errTooLarge = errors.New("the segment is too large; the rest is not read")
	errTooLong  = errors.New("too long for a record")
	errTorn     = errors.New("torn off; one record may be lost")
	errNoRecord = errors.New("a record without time and seq")
)

// line returns the next line, and what comes instead of the next one.
func (s *source) line() ([]byte, error) {
	s.long = s.long[:0]
	for {
		part, err := s.r.ReadSlice('\n')
		if err == nil && len(s.long) == 0 {
			return part, nil
		}
		s.long = append(s.long, part...)
		if err != bufio.ErrBufferFull || len(s.long) > maxSegment {
			return s.long, err
		}
	}
}

// record returns the record on a line; ok is false for a header and a seal,
// which hold none.
func (s *source) record(l line) (r Record, ok bool, d *Damage) {
	if _, sealed := parseSeal(l.raw); sealed || l.n == 1 && bytes.HasPrefix(l.raw, []byte(headerStart)) {
		return Record{}, false, nil
	}
	switch {
	case l.torn:
		return Record{}, false, &Damage{s.name, l.n, errTorn}
	case len(l.raw) > maxLine:
		return Record{}, false, &Damage{s.name, l.n, errTooLong}
	}
	r, err := ParseRecord(l.raw)
	if err == nil && (r.Seq == 0 || r.Time.IsZero()) {
		err = errNoRecord
	}
	if err != nil {
		return Record{}, false, &Damage{s.name, l.n, err}
	}
	return r, true, nil
}
