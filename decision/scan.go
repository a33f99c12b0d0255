package decision

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// scanner reads JSON (RFC 8259) from b. After the first error it reads nothing.
type scanner struct {
	b    []byte
	i    int
	seen uint64 // keys, by index
	at   int    // index of the last key
	err  error
}

// fail keeps the first error.
func (s *scanner) fail(err error) {
	if s.err == nil && err != nil {
		s.err = err
	}
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		if c := s.b[s.i]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return
		}
		s.i++
	}
}

// next steps over c if it is what comes next.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.err != nil || s.i >= len(s.b) || s.b[s.i] != c {
		return false
	}
	s.i++
	return true
}

func (s *scanner) want(c byte) {
	if !s.next(c) {
		s.fail(errSyntax)
	}
}

// list yields once before each element of an array.
func (s *scanner) list() func(func() bool) {
	return func(yield func() bool) {
		s.want('[')
		for n := 0; s.err == nil && !s.next(']'); n++ {
			if n > 0 {
				s.want(',')
			}
			if s.err == nil && !yield() {
				return
			}
		}
	}
}

func (s *scanner) text() string {
	s.want('"')
	if s.err != nil {
		return ""
	}
	start := s.i
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			v := s.b[start:s.i]
			s.i++
			return s.valid(v)
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.fail(errSyntax)
			return ""
		}
	}
	s.fail(errSyntax)
	return ""
}

func (s *scanner) valid(v []byte) string {
	if !utf8.Valid(v) {
		s.fail(errSyntax)
	}
	return string(v)
}

// escaped reads on in a string that began at start and has its first backslash
// at s.i.
func (s *scanner) escaped(start int) string {
	var out []byte
	for s.i < len(s.b) {
		c := s.b[s.i]
		if c >= ' ' && c != '"' && c != '\\' {
			s.i++
			continue
		}
		out = append(out, s.valid(s.b[start:s.i])...)
		if c != '\\' || s.i+1 >= len(s.b) {
			break
		}
		s.i += 2
		if e := s.b[s.i-1]; e == 'u' {
			out = s.appendRune(out)
		} else if k := strings.IndexByte(`"\/bfnrt`, e); k >= 0 {
			out = append(out, "\"\\/\b\f\n\r\t"[k])
		} else {
			s.fail(errSyntax)
		}
		start = s.i
	}
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		s.fail(errSyntax)
		return ""
	}
	s.i++
	return string(out)
}

// appendRune reads what follows \u.
func (s *scanner) appendRune(out []byte) []byte {
	switch r := s.hex4(); {
	case 0xdc80 <= r && r <= 0xdcff: // see AppendString
		return append(out, byte(r))
	case 0xd800 <= r && r < 0xdc00:
		if s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
			s.i += 2
			if low := s.hex4(); 0xdc00 <= low && low < 0xe000 {
				return utf8.AppendRune(out, 0x10000+(r-0xd800)<<10+(low-0xdc00))
			}
		}
		s.fail(errSyntax)
	case 0xdc00 <= r && r < 0xe000:
		s.fail(errSyntax)
	default:
		return utf8.AppendRune(out, r)
	}
	return out
}

func (s *scanner) hex4() rune {
	if s.i+4 > len(s.b) {
		s.fail(errSyntax)
		return 0
	}
	n, err := strconv.ParseUint(string(s.b[s.i:s.i+4]), 16, 16)
	if err != nil {
		s.fail(errSyntax)
	}
	s.i += 4
	return rune(n)
}

// word reads a number or a literal as it stands.
func (s *scanner) word() string {
	s.space()
	start := s.i
	for s.i < len(s.b) {
		if c := s.b[s.i]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != 'E' {
			break
		}
		s.i++
	}
	return string(s.b[start:s.i])
}

func (s *scanner) uint(bits int) (n uint64) {
	s.space()
	start := s.i
	for ; s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9'; s.i++ {
		digit := uint64(s.b[s.i] - '0')
		if n > (math.MaxUint64-digit)/10 {
			s.fail(errValue)
		}
		n = n*10 + digit
	}
	if digits := s.i - start; digits == 0 || digits > 1 && s.b[start] == '0' || n > math.MaxUint64>>(64-bits) {
		s.fail(errValue)
	}
	return n
}

func (s *scanner) float() float64 {
	f, ok := number(s.word())
	if !ok || math.IsInf(f, 0) {
		s.fail(errValue)
	}
	return f
}

// number takes a number of JSON; one that is too large is infinite.
func number(w string) (f float64, ok bool) {
	f, err := strconv.ParseFloat(w, 64) // takes more: inf, 0x1p2, .5
	return f, (err == nil || errors.Is(err, strconv.ErrRange)) && json.Valid([]byte(w))
}

func (s *scanner) bool() bool {
	switch s.word() {
	case "true":
		return true
	case "false":
	default:
		s.fail(errValue)
	}
	return false
}

// time takes UTC alone: with an offset, a time at the edge of the calendar
// would not be written as it was read.
func (s *scanner) time() time.Time {
	v := s.text()
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil || !strings.HasSuffix(v, "Z") {
		s.fail(errValue)
	}
	return t
}

func (s *scanner) addr() netip.Addr {
	a, err := netip.ParseAddr(s.text())
	if err != nil {
		s.fail(errValue)
	}
	return a
}

func enum[T any](s *scanner, parse func(string) (T, bool)) T {
	v, ok := parse(s.text())
	if !ok {
		s.fail(errValue)
	}
	return v
}

// maxDepth bounds the nesting of what skip steps over.
const maxDepth = 8

// skip steps over any value.
func (s *scanner) skip(depth int) {
	if depth == maxDepth {
		s.fail(errSyntax)
	}
	s.space()
	if s.err != nil || s.i >= len(s.b) {
		s.fail(errSyntax)
		return
	}
	switch s.b[s.i] {
	case '"':
		s.text()
	case '[':
		for range s.list() {
			s.skip(depth + 1)
		}
	case '{':
		s.i++
		for n := 0; s.err == nil && !s.next('}'); n++ {
			if n > 0 {
				s.want(',')
			}
			s.text()
			s.want(':')
			s.skip(depth + 1)
		}
	default:
		w := s.word()
		if _, ok := number(w); !ok && w != "true" && w != "false" && w != "null" {
			s.fail(errSyntax)
		}
	}
}
