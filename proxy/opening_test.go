package proxy

import (
	"strings"
	"testing"
)

// TestOpening: each is told at its last byte, and not before.
func TestOpening(t *testing.T) {
	for _, tt := range []struct {
		raw  string
		want opening
	}{
		{"\x16", openingTLS},
		{"\x00", openingOther},
		{"\x80", openingOther},
		{"\r", openingOther},
		{"\n", openingOther},
		{"g", openingOther},
		{"-", openingOther},
		{"GET / HTTP/1.1\r\n", openingHTTP},
		{"GET / HTTP/1.0\r\n", openingHTTP},
		{"M-SEARCH * HTTP/1.1\r\n", openingHTTP},
		{"GET /a b HTTP/1.1\r\n", openingHTTP},                 // the gate has more to say of it,
		{"GET / HTTP/1.1\n", openingHTTP},                      // of this,
		{"GET " + strings.Repeat("x", maxHead-3), openingHTTP}, // and of this
		{"GET / HTTP/1.2\r\n", openingOther},
		{"PRI * HTTP/2.0\r\n", openingOther},
		{"GET /\r\n", openingOther},
		{"GET / HTTP/1.1 \r\n", openingOther},
		{"USER ftp\r\n", openingOther},
		{"EHLO till.example\r\n", openingOther},
		{"EHLO till.example\n", openingOther},
		{"SSH-2", openingOther},
		{"QUIT\r", openingOther},
		{"Ge", openingOther},
		{"G\x00", openingOther},
		{"G\xc3", openingOther},
		{"GET\t", openingOther},
		{strings.Repeat("G", maxMethod+1), openingOther},
	} {
		for i := range len(tt.raw) {
			if got := openingOf([]byte(tt.raw[:i])); got != openingUnknown {
				t.Fatalf("%.40q: %d after %d bytes", tt.raw, got, i)
			}
		}
		for _, more := range []string{"", "\x00"} {
			if got := openingOf([]byte(tt.raw + more)); got != tt.want {
				t.Errorf("%.40q and %q: %d, want %d", tt.raw, more, got, tt.want)
			}
		}
	}
}
