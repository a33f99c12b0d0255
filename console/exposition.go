package console

import (
	"math"
	"strconv"
	"strings"
)

// exposition is text of Prometheus' format 0.0.4. It is written by hand: client_golang is
// 2 MB of a binary that a router has to hold, most of it protobuf, which nobody here asks for.
// The tests have its linter read it.
type exposition struct{ b []byte }

// The kinds of families.
const (
	counter = "counter"
	gauge   = "gauge"
)

// family begins a family: its samples come next. Help is a line.
func (e *exposition) family(name, kind, help string) {
	e.b = append(e.b, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

// sample is one value of a family, with the names and values of its labels in turn.
func (e *exposition) sample(name string, value float64, labels ...string) {
	e.b = append(e.b, name...)
	for i := 0; i < len(labels); i += 2 {
		open := byte(',')
		if i == 0 {
			open = '{'
		}
		e.b = append(e.b, open)
		e.b = append(e.b, labels[i]+`="`+labelEscapes.Replace(labels[i+1])+`"`...)
	}
	if len(labels) > 0 {
		e.b = append(e.b, '}')
	}
	e.b = append(e.b, ' ')
	if value == math.Trunc(value) && math.Abs(value) < 1<<53 {
		e.b = strconv.AppendInt(e.b, int64(value), 10)
	} else {
		e.b = strconv.AppendFloat(e.b, value, 'g', -1, 64)
	}
	e.b = append(e.b, '\n')
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// one is a family that is one sample.
func (e *exposition) one(name, kind, help string, value float64) {
	e.family(name, kind, help)
	e.sample(name, value)
}

// is writes a sample for each word: 1 for that which is so, 0 for the others.
func (e *exposition) is(name, label, word string, words []string, labels ...string) {
	for _, w := range words {
		value := 0.0
		if w == word {
			value = 1
		}
		e.sample(name, value, append(labels, label, w)...)
	}
}
