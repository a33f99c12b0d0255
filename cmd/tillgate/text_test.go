package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, []string{""}},
		{"one two three", 13, []string{"one two three"}},
		{"one two three", 12, []string{"one two", "three"}},
		{"one two three", 1, []string{"one", "two", "three"}},
		{"  one \n two ", 20, []string{"one two"}},
		{"größe größe", 11, []string{"größe größe"}},
	} {
		if diff := cmp.Diff(tt.want, wrap(tt.text, tt.width)); diff != "" {
			t.Errorf("%q at %d (-want +got):\n%s", tt.text, tt.width, diff)
		}
	}
}

func TestFacts(t *testing.T) {
	pairs := [][2]string{{"why", "no rule names it"}, {"empty", ""}, {"nearest", "a rule that is quite long"}, {"", "and another"}}
	var pipe, terminal strings.Builder
	display{}.facts(&pipe, pairs...)
	display{width: 30}.facts(&terminal, pairs...)
	for name, tt := range map[string]struct{ want, got string }{
		"pipe": {`  why      no rule names it
  nearest  a rule that is quite long
           and another
`, pipe.String()},
		"terminal": {`  why      no rule names it
  nearest  a rule that is
           quite long
           and another
`, terminal.String()},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What is no terminal has neither colours nor a width, whatever it asks for.
func TestDisplayOfAPipe(t *testing.T) {
	if d := newDisplay(&strings.Builder{}, func(string) string { return "" }); d != (display{}) {
		t.Errorf("%+v", d)
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                 "0s",
		59*time.Second + 999e6:       "59s",
		time.Minute:                  "1m00s",
		time.Hour - time.Second:      "59m59s",
		25*time.Hour + 3*time.Minute: "1d01h",
		2*time.Hour + 3*time.Minute:  "2h03m",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 4096: "4.0 KiB", 3 << 29: "1.5 GiB", 1 << 50: "1024.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestJoinLines(t *testing.T) {
	if got := joinLines("a\nb"); got != "a; b" {
		t.Errorf("%q", got)
	}
	long := joinLines(strings.Repeat("ä", maxDetail))
	if want := strings.Repeat("ä", maxDetail/2) + " ..."; long != want {
		t.Errorf("%d bytes, want %d", len(long), len(want))
	}
	if odd := joinLines("x" + strings.Repeat("ä", maxDetail)); !strings.HasSuffix(odd, "ä ...") {
		t.Errorf("cut within a character: %q", odd[len(odd)-10:])
	}
}
