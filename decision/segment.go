package decision

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// format is the version that headers carry.
const format = 1

// maxSeq is beyond any box's life: a greater one is damage, and not gone on from.
const maxSeq = 1 << 62

// header is the first line of a segment.
type header struct {
	Segment uint64    `json:"segment"`
	Format  int       `json:"format"`
	Boot    string    `json:"boot"`
	Time    time.Time `json:"time"`
	First   uint64    `json:"first"` // no record of the segment has a smaller seq; one in the tail before that has not is written again here
	Prev    prev      `json:"prev"`
}

// prev is the segment before. In the first, only Seal is given.
type prev struct {
	Segment uint64    `json:"segment,omitempty"`
	Seal    string    `json:"seal"`           // its last
	To      time.Time `json:"to,omitzero"`    // its last record with a trusted time
	Tail    *tail     `json:"tail,omitempty"` // what follows the seal
}

// tail is what a crash left behind the last seal of a segment.
type tail struct {
	Lines  int    `json:"lines"` // begun
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	Torn   bool   `json:"torn,omitempty"` // the last line has no end
}

// zeroSeal is the seal before the first.
var zeroSeal = strings.Repeat("0", 2*sha256.Size)

// tailOf returns b as a tail, nil if there is none.
func tailOf(b []byte) *tail {
	if len(b) == 0 {
		return nil
	}
	sum := sha256.Sum256(b)
	t := &tail{Lines: bytes.Count(b, []byte("\n")), Bytes: len(b), SHA256: hex.EncodeToString(sum[:])}
	if b[len(b)-1] != '\n' {
		t.Lines++
		t.Torn = true
	}
	return t
}

func (h *header) line() ([]byte, error) {
	b, err := json.Marshal(h)
	return append(b, '\n'), err // of a year beyond 9999
}

const headerStart = `{"segment":`

var errNoHeader = errors.New("the segment has no header")

func parseHeader(line []byte) (*header, error) {
	h := new(header)
	if err := json.Unmarshal(line, h); err != nil || !bytes.HasPrefix(line, []byte(headerStart)) {
		return nil, errNoHeader
	}
	if h.Format != format {
		return nil, fmt.Errorf("format %d, this version reads %d", h.Format, format)
	}
	if !isSeal([]byte(h.Prev.Seal)) || h.First == 0 || h.First > maxSeq {
		return nil, errNoHeader
	}
	return h, nil
}

const sealStart, sealEnd = `{"seal":"`, `"}`

// seal returns the seal of batch.
func seal(before string, batch []byte) string {
	d := sha256.New()
	d.Write([]byte(before))
	d.Write([]byte{'\n'})
	d.Write(batch)
	return hex.EncodeToString(d.Sum(nil))
}

func appendSeal(dst []byte, seal string) []byte {
	return append(dst, sealStart+seal+sealEnd+"\n"...)
}

// parseSeal returns the seal if line, with or without its end, is one.
func parseSeal(line []byte) (string, bool) {
	s, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte(sealStart))
	if s, ok2 := bytes.CutSuffix(s, []byte(sealEnd)); ok && ok2 && isSeal(s) {
		return string(s), true
	}
	return "", false
}

func isSeal(s []byte) bool {
	for _, c := range s {
		if strings.IndexByte(hexDigits, c) < 0 {
			return false
		}
	}
	return len(s) == len(zeroSeal)
}

// Names in the folder.
const (
	plainExt  = ".jsonl"
	packedExt = ".jsonl.zst"
	tmpExt    = ".tmp" // being written; left by a crash
)

func plainName(n uint64) string  { return fmt.Sprintf("%08d", n) + plainExt }
func packedName(n uint64) string { return fmt.Sprintf("%08d", n) + packedExt }

// listed is a segment as the folder lists it.
type listed struct {
	number uint64
	plain  bool // there is a plain file, which wins over a compressed one
	packed bool
}

func (l listed) name() string {
	if l.plain {
		return plainName(l.number)
	}
	return packedName(l.number)
}

// list returns the segments in dir, oldest first.
func list(dir string) ([]listed, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	byNumber := make(map[uint64]*listed)
	for _, e := range entries {
		digits, _, _ := strings.Cut(e.Name(), ".")
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || n == 0 || !e.Type().IsRegular() {
			continue
		}
		l := byNumber[n]
		if l == nil {
			l = &listed{number: n}
		}
		switch e.Name() {
		case plainName(n):
			l.plain = true
		case packedName(n):
			l.packed = true
		default:
			continue
		}
		byNumber[n] = l
	}
	var all []listed
	for _, l := range byNumber {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b listed) int { return cmp.Compare(a.number, b.number) })
	return all, nil
}
