package strictyaml

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A Problem is one thing that is wrong in a file.
type Problem struct {
	File    string // as the user would write it
	Line    int    // from 1; 0: the file as a whole
	Column  int    // from 1, in characters; 0 where Line is
	Text    string // the offending text; may be empty
	Message string // what is wrong, without the text
	Hint    string // what to do; may be empty
}

// maxText is how much of an offending text is shown, in bytes.
const maxText = 120

// Error is the problem in one line: file:line:column: message: "text" (hint).
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column))
	}
	b.WriteString(": " + p.Message)
	if p.Text != "" {
		text, more := p.Text, ""
		if len(text) > maxText {
			text, more = strings.ToValidUTF8(text[:maxText], ""), "..."
		}
		// Quote escapes what a terminal would obey.
		b.WriteString(": " + strconv.Quote(text) + more)
	}
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems are all that is wrong, in all files.
type Problems []Problem

// Error is one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems as an error, sorted by file and place; nil when
// there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return ps
}
