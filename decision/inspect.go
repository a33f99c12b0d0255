package decision

import "time"

// summary is what a compressed segment says of itself before its content.
type summary struct {
	Header  header    `json:"header"`
	Last    uint64    `json:"last"`             // seq; Header.First-1: no records
	From    time.Time `json:"from,omitzero"`    // the first moment of any record
	To      time.Time `json:"to,omitzero"`      // the last
	Trusted time.Time `json:"trusted,omitzero"` // the last at a trusted time
	Records int       `json:"records"`
}

// add takes one more record into account.
func (s *summary) add(r *Record) {
	s.Records++
	if r.Seq <= maxSeq {
		s.Last = max(s.Last, r.Seq)
	}
	if s.From.IsZero() || r.Time.Before(s.From) {
		s.From = r.Time
	}
	if end := r.end(); end.After(s.To) {
		s.To = end
	}
	if end := r.end(); !r.UntrustedTime && end.After(s.Trusted) {
		s.Trusted = end
	}
}

// A batch is what one seal stands for.
type batch struct {
	line        int    // of the seal
	first, last uint64 // seq; 0: no record can be read
}

// inspection is what one pass over a segment finds.
type inspection struct {
	summary
	name      string
	number    uint64 // of the file
	rollup    *rollup
	digest    *digester
	headerErr error
	seals     int
	misfits   int     // seals that do not fit
	misfit    batch   // the first of them
	damage    []error // [maxDamage] at most
	lost      error   // the first that lost whole frames, or the rest

	// What follows the last seal. If that does not fit, it may be half of what
	// a crash left: then sealFits is the seal before, and restFits what follows
	// that; else they are the same.
	seal, sealFits string
	rest, restFits *tail

	current, sealed []byte // lines since the last seal; the batch before, with its seal
	batch           batch  // the one that current will be
	fits            bool
}

// maxDamage is how many damaged places of a segment are kept by name.
const maxDamage = 100

// inspect reads a segment to its end. before is the seal that its first one
// should follow if it has no header to say so.
func (s *source) inspect(before string) *inspection {
	in := &inspection{name: s.name, rollup: newRollup(maxRollup), digest: newDigester(), headerErr: errNoHeader, seal: before, fits: true}
	for l, d := range s.lines() {
		if d != nil {
			if in.damaged(d); in.lost == nil {
				in.lost = d.Err
			}
			continue
		}
		if l.n == 1 {
			if h, err := parseHeader(l.raw); err == nil {
				in.Header, in.seal, in.headerErr = *h, h.Prev.Seal, nil
				in.Last = h.First - 1
			} else {
				in.headerErr = err
			}
		}
		in.line(s, l)
	}
	in.rest = tailOf(in.current)
	if in.fits {
		in.sealFits, in.restFits = in.seal, in.rest
	} else {
		in.restFits = tailOf(append(in.sealed, in.current...))
	}
	in.current, in.sealed = nil, nil
	return in
}

// summed is the digest of the whole segment.
func (in *inspection) summed() *Digest {
	d := in.digest.digest()
	if in.headerErr == nil { // else they depend on the segment before
		d.seal, d.fits = in.seal, in.sealFits
	}
	return &d
}

func (in *inspection) damaged(err error) {
	if len(in.damage) < maxDamage {
		in.damage = append(in.damage, err)
	}
}

func (in *inspection) line(s *source, l line) {
	if stated, ok := parseSeal(l.raw); ok && !l.torn {
		in.batch.line = l.n
		in.fits = seal(in.seal, in.current) == stated
		if !in.fits {
			if in.misfits++; in.misfits == 1 {
				in.misfit = in.batch
			}
		}
		in.seals++
		in.seal, in.sealFits = stated, in.seal
		in.batch = batch{}
		in.sealed = append(append(in.sealed[:0], in.current...), l.raw...)
		in.current = in.current[:0]
		return
	}
	in.current = append(in.current, l.raw...)
	r, ok, d := s.record(l)
	if d != nil {
		in.damaged(d)
	}
	if ok {
		in.add(&r)
		in.rollup.add(&r)
		in.digest.add(&r)
		in.batch.last = r.Seq
		if in.batch.first == 0 {
			in.batch.first = r.Seq
		}
	}
}
