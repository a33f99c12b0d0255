package decision

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A compressed segment is a Zstandard file (RFC 8878), so that zstd -dc gives
// the plain one:
//
//	skippable frame 0: the summary, one JSON object
//	skippable frame 1: the rollup, JSON lines in a Zstandard frame of their own
//	skippable frame 2: the digest, the same; those of before it was made have none
//	frame, frame, ...: the segment, at most frameSize bytes each, with checksums
//
// The frames are small and stand alone, so that damage costs one of them, not
// what follows, and neither writer nor reader needs more memory than one.
const (
	frameSize     = 256 << 10
	summaryMagic  = 0x184d2a50
	rollupMagic   = 0x184d2a51
	digestMagic   = 0x184d2a52
	skippableMask = 0xfffffff0
	maxSummary    = 64 << 10 // bytes of skippable frame 0
	maxRollup     = 2 << 20  // bytes of the rollup's lines, before compression
)

var frameMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// errFrame is what a damaged part of a compressed segment is read as. Reading
// can go on after it.
var errFrame = errors.New("damaged; up to 256 KiB of lines are lost")

// frames reads the content of a compressed segment.
type frames struct {
	data []byte // what is left of the file
	err  error  // what ended the file early
	dec  *zstd.Decoder
	buf  []byte // a frame
	out  []byte // what is left of it
}

func newFrames(file io.Reader) (*frames, error) {
	dec, err := newDecoder(maxSegment)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSegment))
	return &frames{data: data, err: err, dec: dec}, nil
}

// newDecoder bounds what a frame may hold, whatever it says.
func newDecoder(limit uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(limit))
}

// Read implements [io.Reader].
func (f *frames) Read(p []byte) (int, error) {
	for len(f.out) == 0 {
		if len(f.data) == 0 {
			return 0, cmp.Or(f.err, io.EOF)
		}
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// next decodes one frame. It ends where the next begins; but the magic number
// may stand within a frame by chance, so if one up to there does not decode, it
// is tried up to the magic number after.
func (f *frames) next() error {
	if _, rest, ok := skippable(f.data); ok {
		f.data = rest
		return nil
	}
	if bytes.HasPrefix(f.data, frameMagic) {
		end := len(frameMagic) + nextMagic(f.data[len(frameMagic):])
		if f.decode(end) {
			return nil
		}
		if end < len(f.data) && f.decode(end+len(frameMagic)+nextMagic(f.data[end+len(frameMagic):])) {
			return nil
		}
		f.data = f.data[end:]
		return errFrame
	}
	f.data = f.data[nextMagic(f.data):]
	return errFrame
}

func (f *frames) decode(end int) bool {
	out, err := f.dec.DecodeAll(f.data[:end], f.buf[:0])
	if err != nil {
		return false
	}
	f.data, f.buf, f.out = f.data[end:], out, out
	return true
}

// nextMagic returns where in b a frame may begin; at its end, if nowhere.
func nextMagic(b []byte) int {
	if i := bytes.Index(b, frameMagic); i >= 0 {
		return i
	}
	return len(b)
}

// skippable splits a skippable frame off b, if b begins with one.
func skippable(b []byte) (content, rest []byte, ok bool) {
	if len(b) < 8 || binary.LittleEndian.Uint32(b)&skippableMask != summaryMagic {
		return nil, nil, false
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if b = b[8:]; uint64(size) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:size], b[size:], true
}

func appendSkippable(dst []byte, magic uint32, content []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(content)))
	return append(dst, content...)
}

// readSummary reads skippable frame 0 of a compressed segment.
func readSummary(r io.Reader) (summary, error) {
	var s summary
	b, err := readSkippable(r, summaryMagic, maxSummary)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return summary{}, fmt.Errorf("reading the summary: %w", err)
	}
	return s, nil
}

// readRollup reads skippable frame 1, which follows the summary. See [rollup].
func readRollup(r io.Reader) ([]byte, error) {
	return readPacked(r, "rollup", rollupMagic, maxRollup)
}

// readDigest reads skippable frame 2, which follows the rollup. See [Digest].
func readDigest(r io.Reader) ([]byte, error) {
	return readPacked(r, "digest", digestMagic, maxDigest)
}

// readPacked reads a skippable frame whose content is a Zstandard frame.
func readPacked(r io.Reader, what string, magic uint32, limit int) ([]byte, error) {
	b, err := readSkippable(r, magic, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", what, err)
	}
	dec, err := newDecoder(uint64(limit) + 64<<10)
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	if b, err = dec.DecodeAll(b, nil); err != nil {
		return nil, fmt.Errorf("reading the %s: %w", what, err)
	}
	return b, nil
}

var errNotThere = errors.New("not where it should be")

func readSkippable(r io.Reader, magic uint32, limit int) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[4:])
	if binary.LittleEndian.Uint32(head[:]) != magic || uint64(size) > uint64(limit) {
		return nil, errNotThere
	}
	b := make([]byte, size)
	_, err := io.ReadFull(r, b)
	return b, err
}
