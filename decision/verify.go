package decision

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// Report is what [Verify] found.
type Report struct {
	Segments, Seals, Records int
	FirstSeq, LastSeq        uint64
	LastSeal                 string   // hex; compared with one noted elsewhere, it shows whether the end was cut off
	Broken                   *Break   // the first broken place; nil: none
	Breaks                   int      // how many there are
	Notices                  []string // what is no break but should be known, [maxNotices] at most
}

// Break is a place where the journal is not as it was written.
type Break struct {
	Segment           string // file name
	Line              int    // of the seal that does not fit, or of the header; 0: the segment as a whole
	FirstSeq, LastSeq uint64 // of the records that the seal stands for; 0: none known
	What              string
}

func (b *Break) String() string {
	s := "segment " + b.Segment
	if b.Line > 0 {
		s += fmt.Sprintf(", line %d", b.Line)
	}
	if b.FirstSeq > 0 {
		s += fmt.Sprintf(", records %d to %d", b.FirstSeq, b.LastSeq)
	}
	return s + ": " + b.What
}

// maxNotices is how many notices a report holds; the last says that there are more.
const maxNotices = 100

func (r *Report) broken(b Break) {
	if r.Breaks++; r.Breaks == 1 {
		r.Broken = &b
	}
}

func (r *Report) notice(format string, args ...any) {
	switch len(r.Notices) {
	case maxNotices:
	case maxNotices - 1:
		r.Notices = append(r.Notices, "and more")
	default:
		r.Notices = append(r.Notices, fmt.Sprintf(format, args...))
	}
}

// Verify checks every seal in a journal's folder, and the chain over its
// segments. What a crash leaves unsealed is a notice, and so are segments
// missing at the start, which retention deletes. The error is for a folder that
// cannot be read, not for a break. The box may write to the folder meanwhile.
//
// Verify shows what was changed after it was sealed, unless all seals from
// there on were made anew. Against that, and against an end that was cut off
// whole, compare [Report.LastSeal] with one noted elsewhere.
func Verify(dir string) (Report, error) { return VerifyNewest(dir, 0) }

// VerifyNewest is [Verify] of the newest n segments, of all if n is zero. That the first
// of them follows those before is not checked.
func VerifyNewest(dir string, n int) (Report, error) {
	var rep Report
	all, err := list(dir)
	if err != nil {
		return rep, err
	}
	if n > 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	var before *inspection // of the segment before
	for i, l := range all {
		in, err := verifySegment(dir, l.number, before)
		if errors.Is(err, fs.ErrNotExist) && deletedSince(dir, l.number) {
			continue
		}
		if err != nil {
			in = &inspection{name: l.name(), headerErr: err}
		}
		in.number = l.number
		switch {
		case before != nil:
			rep.link(before, in)
		case i == 0 && l.number > 1 && n == 0:
			rep.notice("the journal begins with segment %s; those before it were deleted", in.name)
		case l.number == 1 && in.headerErr == nil && in.Header.Prev != (prev{Seal: zeroSeal}):
			rep.broken(Break{Segment: in.name, Line: 1, What: "the first segment follows another"})
		}
		rep.segment(in)
		before = in
	}
	if before != nil {
		rep.end(before)
	}
	return rep, nil
}

// Verify is [VerifyNewest] of the journal's own folder.
func (j *Journal) Verify(n int) (Report, error) { return VerifyNewest(j.cfg.Dir, n) }

// deletedSince reports whether retention has deleted a segment meanwhile.
func deletedSince(dir string, number uint64) bool {
	all, err := list(dir)
	return err == nil && (len(all) == 0 || all[0].number > number)
}

// verifySegment inspects a segment, and compares what a compressed one says of
// itself: reports are made from that.
func verifySegment(dir string, number uint64, before *inspection) (*inspection, error) {
	src, err := openSegment(dir, number, maxSegment+1)
	if err != nil {
		return nil, err
	}
	defer src.close()
	chain := zeroSeal
	if before != nil {
		chain = before.seal
	}
	in := src.inspect(chain)
	if src.z != nil && in.lost == nil {
		in.lost = in.compare(dir, number)
	}
	in.rollup, in.digest = nil, nil
	return in, nil
}

// compare returns an error if the summary, the rollup or the digest of a compressed
// segment is not that of its records.
func (in *inspection) compare(dir string, number uint64) error {
	f, plain, err := openFile(dir, number)
	if err != nil || plain {
		return err
	}
	defer f.Close()
	sum, err := readSummary(f)
	if err != nil {
		return err
	}
	rows, err := readRollup(f)
	if err != nil {
		return err
	}
	says, _ := json.Marshal(sum)
	is, _ := json.Marshal(in.summary)
	if !bytes.Equal(says, is) {
		return errors.New("its summary is not that of its records")
	}
	if !bytes.Equal(rows, in.rollup.lines()) {
		return errors.New("its rollup is not that of its records")
	}
	digest, err := readDigest(f)
	switch {
	case errors.Is(err, errNotThere): // it is older than digests, and made anew where it is asked for
	case err != nil:
		return err
	case !bytes.Equal(digest, in.summed().lines()):
		return errors.New("its digest is not that of its records")
	}
	return nil
}

// link checks how a segment follows the one before, which ends with it.
func (rep *Report) link(before, in *inspection) {
	h := &in.Header
	switch {
	case in.number != before.number+1:
		rep.end(before)
		rep.broken(Break{Segment: in.name, What: fmt.Sprintf("segments %08d to %08d before it are missing", before.number+1, in.number-1)})
	case in.headerErr != nil:
		rep.end(before)
	case h.Prev.Segment == before.number && h.Prev.Seal == before.seal && sameTail(h.Prev.Tail, before.rest):
		rep.misfits(before, before.misfits)
		if before.rest != nil {
			rep.notice("segment %s ends in %d lines without a seal: a crash or a full disk; the next segment seals them", before.name, before.rest.Lines)
		}
	case h.Prev.Segment == before.number && h.Prev.Seal == before.sealFits && sameTail(h.Prev.Tail, before.restFits):
		rep.misfits(before, before.misfits-1)
		rep.notice("segment %s ends in %d lines that its last seal does not fit: a crash; the next segment seals them", before.name, before.restFits.Lines)
	default:
		rep.misfits(before, before.misfits)
		rep.broken(Break{Segment: in.name, Line: 1, What: "it does not follow the end of segment " + before.name})
	}
}

// end takes a segment that no other is known to follow.
func (rep *Report) end(in *inspection) {
	rep.misfits(in, in.misfits)
	if in.rest != nil {
		rep.notice("segment %s ends in %d lines without a seal: they are being written, or a crash left them", in.name, in.rest.Lines)
	}
}

func (rep *Report) misfits(in *inspection, n int) {
	if n > 0 {
		rep.broken(Break{in.name, in.misfit.line, in.misfit.first, in.misfit.last, "the seal does not fit what it seals"})
		rep.Breaks += n - 1
	}
}

func sameTail(a, b *tail) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// segment takes what is to be said of a segment alone.
func (rep *Report) segment(in *inspection) {
	rep.Segments++
	rep.Seals += in.seals
	rep.Records += in.Records
	rep.LastSeal = in.seal
	if in.Records > 0 {
		rep.LastSeq = max(rep.LastSeq, in.Last)
		if rep.FirstSeq == 0 {
			rep.FirstSeq = in.Header.First
		}
	}
	switch {
	case in.headerErr != nil:
		rep.broken(Break{Segment: in.name, Line: 1, What: in.headerErr.Error()})
	case in.Header.Segment != in.number:
		rep.broken(Break{Segment: in.name, Line: 1, What: fmt.Sprintf("it was written as segment %08d", in.Header.Segment)})
	}
	if in.lost != nil {
		rep.broken(Break{Segment: in.name, What: in.lost.Error()})
	}
	for _, d := range in.damage {
		rep.notice("%v", d)
	}
}
