package decision

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestEscape(t *testing.T) {
	for _, tt := range []struct{ name, in, json, term, cell string }{
		{"plain", "central.payxpert.com", `"central.payxpert.com"`, "central.payxpert.com", "central.payxpert.com"},
		{"empty", "", `""`, "", ""},
		{"letters", "bücher.例え", `"bücher.例え"`, "bücher.例え", "bücher.例え"},
		{"escape sequence", "a\x1b]0;x\a", `"a\u001b]0;x\u0007"`, `a\x1b]0;x\x07`, `"a\x1b]0;x\x07"`},
		{"line ends", "a\r\nb", `"a\u000d\u000ab"`, `a\x0d\x0ab`, `a\x0d\x0ab`},
		{"NUL and DEL", "\x00\x7f", `"\u0000\u007f"`, `\x00\x7f`, `\x00\x7f`},
		{"C1", "\u009b31m", `"\u009b31m"`, `\u009b31m`, `\u009b31m`},
		{"bidi", "moc.\u202elive", `"moc.\u202elive"`, `moc.\u202elive`, `moc.\u202elive`},
		{"bidi isolate", "\u2066x\u2069", `"\u2066x\u2069"`, `\u2066x\u2069`, `\u2066x\u2069`},
		{"unseen", "a\u200bb\ufeff\u00ad", `"a\u200bb\ufeff\u00ad"`, `a\u200bb\ufeff\u00ad`, `a\u200bb\ufeff\u00ad`},
		{"unseen, beyond the first plane", "a\U000e0041", `"a\udb40\udc41"`, `a\U000e0041`, `a\U000e0041`},
		{"space that is none", "a\u00a0\u3000", `"a\u00a0\u3000"`, `a\u00a0\u3000`, `a\u00a0\u3000`},
		{"separators", "\u2028\u2029", `"\u2028\u2029"`, `\u2028\u2029`, `\u2028\u2029`},
		{"HTML", "</script><!--&amp;", `"\u003c/script\u003e\u003c!--\u0026amp;"`, "</script><!--&amp;", `"</script><!--&amp;"`},
		{"quotes", `a"b\c'`, `"a\"b\\c'"`, `a"b\c'`, `"a""b\c'"`},
		{"no UTF-8", "a\xff\xc3", `"a\udcff\udcc3"`, `a\xff\xc3`, `a\xff\xc3`},
		{"a surrogate in UTF-8 is no UTF-8", "\xed\xb3\xbf", `"\udced\udcb3\udcbf"`, `\xed\xb3\xbf`, `\xed\xb3\xbf`},
		{"U+FFFD itself", "\ufffd", "\"\ufffd\"", "\ufffd", "\ufffd"},
		{"formula", "=1+1", `"=1+1"`, "=1+1", "'=1+1"},
		{"formula +", "+1", `"+1"`, "+1", "'+1"},
		{"formula -", "-1", `"-1"`, "-1", "'-1"},
		{"formula @", "@SUM(A1)", `"@SUM(A1)"`, "@SUM(A1)", "'@SUM(A1)"},
		{"formula, full width", "＝1", `"＝1"`, "＝1", "'＝1"},
		{"formula behind a tab", "\t=1", `"\u0009=1"`, `\x09=1`, `\x09=1`},
		{"formula with a comma", `=HYPERLINK("a","b")`, `"=HYPERLINK(\"a\",\"b\")"`, `=HYPERLINK("a","b")`, `"'=HYPERLINK(""a"",""b"")"`},
		{"not at the start", "a=b", `"a=b"`, "a=b", "a=b"},
		{"semicolon", "a;b", `"a;b"`, "a;b", `"a;b"`},
	} {
		if got := string(AppendString(nil, tt.in)); got != tt.json {
			t.Errorf("%s: JSON %s, want %s", tt.name, got, tt.json)
		}
		if got := Printable(tt.in); got != tt.term {
			t.Errorf("%s: terminal %s, want %s", tt.name, got, tt.term)
		}
		if got := CSVCell(tt.in); got != tt.cell {
			t.Errorf("%s: cell %s, want %s", tt.name, got, tt.cell)
		}
	}
}

// The promises of the escapes, tried on any bytes.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a", "\x1b[31m", "\u202e", "=1", "\xff", "\U000e0001", `"<>&\`, "a,b\n", "\ud7ff\ue000"} {
		f.Add(s)
	}
	f.Fuzz(checkEscapes)
}

func TestEscapeAny(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { checkEscapes(t, string(rapid.SliceOf(rapid.Byte()).Draw(rt, "s"))) })
	for r := rune(0); r <= unicode.MaxRune; r += rune(7 * stride()) {
		checkEscapes(t, string(r))
	}
}

func checkEscapes(t *testing.T, s string) {
	t.Helper()
	lit := AppendString(nil, s)
	if !utf8.Valid(lit) || strings.ContainsFunc(string(lit), func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune("<>&", r)
	}) {
		t.Errorf("%q: JSON %s", s, lit)
	}
	sc := scanner{b: lit}
	if got := sc.text(); got != s || sc.err != nil {
		t.Errorf("%q came back as %q (%v)", s, got, sc.err)
	}
	var std string
	if err := json.Unmarshal(lit, &std); err != nil {
		t.Errorf("%q: encoding/json: %v", s, err)
	} else if utf8.ValidString(s) && std != s {
		t.Errorf("%q: encoding/json reads %q", s, std)
	}
	shown := Printable(s)
	if !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q: terminal %q", s, shown)
	}
	if s != "" && len(shown) < len(s) {
		t.Errorf("%q: terminal %q hides something", s, shown)
	}
	row, err := csv.NewReader(strings.NewReader("x," + CSVCell(s) + ",y\n")).Read()
	if err != nil || len(row) != 3 || strings.TrimPrefix(row[1], "'") != strings.TrimPrefix(shown, "'") {
		t.Fatalf("%q: cell %q is read as %q (%v)", s, CSVCell(s), row, err)
	}
	if strings.ContainsAny(row[1][:min(1, len(row[1]))], "=+-@\t\r") {
		t.Errorf("%q: cell %q starts a formula", s, row[1])
	}
}
