package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"tillgate/decision"
)

// A display is what text is written for: a terminal, or a file or pipe, which
// gets no colours and one line for each thing.
type display struct {
	width  int // of a terminal, in columns; 0: none
	colour bool
}

// minWidth is what is laid out for on a terminal that is narrower, or that
// does not say.
const minWidth = 80

func newDisplay(w io.Writer, getenv func(string) string) display {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return display{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 0
	}
	return display{
		width:  max(width, minWidth),
		colour: getenv("NO_COLOR") == "" && getenv("TERM") != "dumb", // https://no-color.org
	}
}

// The colours, as parameters of SGR (ECMA-48).
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	faint  = "2"
	bold   = "1"
)

// paint gives text a colour.
func (d display) paint(colour, text string) string {
	if !d.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// facts writes pairs of a label and a text, the texts below each other. An
// empty text is left out.
func (d display) facts(w io.Writer, pairs ...[2]string) {
	column := 0
	for _, p := range pairs {
		if p[1] != "" {
			column = max(column, utf8.RuneCountInString(p[0])+4)
		}
	}
	for _, p := range pairs {
		if p[1] != "" {
			d.hang(w, d.paint(faint, pad("  "+p[0], column)), column, p[1])
		}
	}
}

// hang writes text behind what takes column characters. On a terminal, what
// does not fit goes on below itself.
func (d display) hang(w io.Writer, before string, column int, text string) {
	lines := []string{text}
	if d.width > 0 {
		lines = wrap(text, d.width-column)
	}
	fmt.Fprintf(w, "%s%s\n", before, lines[0])
	for _, line := range lines[1:] {
		fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", column), line)
	}
}

// wrap breaks text at spaces into lines of at most width characters. A word
// that is longer has a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// pad fills text up with spaces.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// printable is for what came over the wire or out of a file.
func printable(s string) string { return decision.Printable(s) }

// plural is a number of things.
func plural[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n) + " " + thing + "s"
}
