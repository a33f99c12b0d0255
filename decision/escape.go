package decision

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What came over the wire is shown in four places: a journal's line, a
// terminal, a web page and a spreadsheet. This file is the one place that knows
// what is dangerous where.

// danger says where a character must not stand as it is.
type danger uint8

const (
	inJSON danger = 1 << iota // the JSON string: by its grammar, or in HTML and scripts that hold it
	inTerm                    // the terminal
)

// ascii is the danger of the characters below 0x80. The quote ' stands for
// itself: JSON here is never put into an HTML attribute.
var ascii = func() (t [utf8.RuneSelf]danger) {
	for c := range t {
		switch {
		case c < ' ' || c == 0x7f: // C0 and DEL: escape sequences, line ends, NUL
			t[c] = inJSON | inTerm
		case strings.IndexByte(`"\<>&`, byte(c)) >= 0:
			t[c] = inJSON
		}
	}
	return t
}()

// dangerOf returns where r, which was size bytes long, is dangerous. Beyond
// ASCII whatever does not print is so everywhere: C1 controls, bidi and other
// format controls (Cf), line and paragraph separators (Zl, Zp), spaces that
// look like nothing, private and unassigned characters, and bytes that are no
// UTF-8.
func dangerOf(r rune, size int) danger {
	if r < utf8.RuneSelf {
		return ascii[r]
	}
	if !unicode.IsPrint(r) || r == utf8.RuneError && size == 1 {
		return inJSON | inTerm
	}
	return 0
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string that is safe in a terminal, in HTML
// and in a script, and from which a parser gets s back. A byte that is no UTF-8
// becomes a lone surrogate, \udc80 to \udcff, as Python's surrogateescape
// (PEP 383) has it; other parsers read U+FFFD there.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0 // of what is yet to be copied as it is
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if dangerOf(r, size)&inJSON == 0 {
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == utf8.RuneError:
			dst = appendU(dst, 0xdc00|rune(s[i]))
		case r >= 0x10000: // a surrogate pair, RFC 8259 section 7
			dst = appendU(dst, 0xd800+(r-0x10000)>>10)
			dst = appendU(dst, 0xdc00+(r-0x10000)&0x3ff)
		default:
			dst = appendU(dst, r)
		}
		i += size
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func appendU(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// Printable returns s for a terminal: what would move the cursor, change the
// reading direction or not be seen becomes a visible escape such as \x1b.
func Printable(s string) string {
	var b []byte // nil as long as s can stay as it is
	start := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if dangerOf(r, size)&inTerm != 0 {
			b = append(b, s[start:i]...)
			switch {
			case r < utf8.RuneSelf || r == utf8.RuneError:
				b = append(b, '\\', 'x', hexDigits[s[i]>>4], hexDigits[s[i]&15])
			case r < 0x10000:
				b = appendU(b, r)
			default:
				b = append(b, '\\', 'U', '0', '0', hexDigits[r>>20&15], hexDigits[r>>16&15],
					hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			}
			start = i + size
		}
		i += size
	}
	if b == nil {
		return s
	}
	return string(append(b, s[start:]...))
}

// CSVCell returns s as a text cell of a CSV file: printable, never a formula to
// a spreadsheet, and quoted where needed (RFC 4180; the semicolon because it is
// the separator where the comma is the decimal sign).
func CSVCell(s string) string {
	s = Printable(s) // so a cell holds no tab and no line end
	if first, _ := utf8.DecodeRuneInString(s); strings.ContainsRune("=+-@＝＋－＠", first) && s != "" {
		s = "'" + s
	}
	if strings.ContainsAny(s, `",;`) {
		s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
