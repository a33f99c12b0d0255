// Package strictyaml reads configuration files as tables of keys, and says all
// that is wrong with them at once, in the user's words and with the place.
//
// A file is read by readers that are put together as the file is:
//
//	doc := strictyaml.Parse("tillgate.yaml", data)
//	doc.Read(strictyaml.Map(
//		strictyaml.Optional("cache", strictyaml.Map(
//			strictyaml.Optional("entries", strictyaml.Int(&c.Entries, 0, 1_000_000)),
//			strictyaml.Optional("stale", strictyaml.Duration(&c.Stale, 0, 24*time.Hour)),
//		)),
//	))
//	err := doc.Problems().Err()
//
// A reader writes its value only when it is right: what a file does not say
// keeps its default. Unknown and repeated keys, anchors, aliases, tags, values
// left empty and a second document are problems.
//
// YAML is walked as nodes and not decoded into structs: the decoder names Go
// types in its messages, and forgets the line.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// MaxSize bounds a document, in bytes. A node takes some two hundred bytes of
// memory for its two of text at least.
const MaxSize = 1 << 20

// maxProblems bounds what is kept of one document.
const maxProblems = 200

// A Document is one file.
type Document struct {
	file     string
	root     *yaml.Node // nil when it cannot be read at all
	problems Problems
	more     bool // than maxProblems
}

// Parse parses data, of at most [MaxSize] bytes. What is wrong with its syntax
// is in [Document.Problems]; file is what the problems call it.
func Parse(file string, data []byte) *Document {
	d := &Document{file: file}
	if len(data) > MaxSize {
		d.add(Problem{Line: 1, Column: 1, Message: fmt.Sprintf("the file is larger than %d KiB", MaxSize>>10)})
		return d
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.syntax(data, err)
		return d
	}
	var root, second yaml.Node
	switch err := d.load(loader, &root); {
	case errors.Is(err, io.EOF): // only comments: a mapping without keys
		d.root = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
		return d
	case err != nil:
		d.syntax(data, err)
		return d
	}
	switch err := d.load(loader, &second); {
	case err == nil:
		d.add(Problem{Line: second.Line, Column: second.Column,
			Message: "a second document", Hint: "only one is read: remove the line ---"})
		return d
	case !errors.Is(err, io.EOF):
		d.syntax(data, err)
		return d
	}
	d.root = root.Content[0]
	d.refuse(d.root)
	return d
}

// load reads the next document. The parser panics on what it thinks cannot
// happen; an edit of a file must not end the box, so that is an error here.
func (d *Document) load(loader *yaml.Loader, node *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not YAML: %v", r)
		}
	}()
	if err := loader.Load(node); err != nil {
		return err
	}
	if node.Kind != yaml.DocumentNode || len(node.Content) != 1 {
		return errors.New("not YAML")
	}
	return nil
}

// syntax turns what the parser says into a problem.
func (d *Document) syntax(data []byte, err error) {
	p := Problem{Line: 1, Column: 1, Message: "not YAML"}
	var le *yaml.LoadError
	if errors.As(err, &le) {
		p.Message = "not YAML: " + le.Message
		mark, began := le.Mark, le.ContextMark
		if mark.Line == 0 {
			mark = began
		}
		if mark.Line > 0 {
			p.Line, p.Column = mark.Line, max(mark.Column, 1)
		}
		// An open bracket or quote is found at the end of the file only.
		if began.Line > 0 && began.Line < mark.Line {
			p.Hint = fmt.Sprintf("it began in line %d", began.Line)
		}
		switch {
		case tabIndents(data, p.Line):
			p.Message, p.Hint = "not YAML: a tab", "indent with spaces"
		case strings.HasPrefix(le.Message, "unknown anchor"):
			p.Hint = "put names that begin with * in quotes"
		}
	}
	d.add(p)
}

// tabIndents reports whether a line, counted from 1, has a tab before its text.
func tabIndents(data []byte, line int) bool {
	lines := bytes.SplitN(data, []byte("\n"), line+1)
	if len(lines) < line {
		return false
	}
	text := lines[line-1]
	return bytes.ContainsRune(text[:len(text)-len(bytes.TrimLeft(text, " \t"))], '\t')
}

// refuse finds what YAML has and a configuration has no need of. A document
// with aliases is not read further: it may be larger than its text.
func (d *Document) refuse(n *yaml.Node) {
	at := Node{d, n}
	switch {
	case n.Kind == yaml.AliasNode:
		at.Problem("*"+n.Value, "an alias", "write the value out")
		d.root = nil
	case n.Anchor != "":
		at.Problem("&"+n.Anchor, "an anchor", "remove it: aliases are not read")
	case n.Style&yaml.TaggedStyle != 0:
		at.Problem(n.Tag, "a tag", "remove it")
	}
	for _, c := range n.Content {
		d.refuse(c)
	}
}

// Read reads the document's root. It does nothing when the syntax is wrong.
func (d *Document) Read(r Reader) {
	if d.root != nil {
		r(Node{d, d.root})
	}
}

// Problems returns all that was found so far.
func (d *Document) Problems() Problems { return d.problems }

func (d *Document) add(p Problem) {
	p.File = d.file
	switch {
	case len(d.problems) < maxProblems:
		d.problems = append(d.problems, p)
	case !d.more:
		d.more = true
		d.problems = append(d.problems, Problem{File: d.file, Line: p.Line, Column: p.Column,
			Message: "more problems, not shown", Hint: "fix the others first"})
	}
}

// A Node is a value in a document, with its place.
type Node struct {
	doc *Document
	y   *yaml.Node
}

// Line returns the line that the value begins in, from 1.
func (n Node) Line() int { return n.y.Line }

// Column returns the column that the value begins at, from 1, in characters.
func (n Node) Column() int { return n.y.Column }

// IsFlow reports whether a list or a mapping is written in brackets.
func (n Node) IsFlow() bool { return n.y.Style&yaml.FlowStyle != 0 }

// File returns the name of the document's file.
func (n Node) File() string { return n.doc.file }

// Told reports whether a further problem will be told, and not only that there
// are more: whether a hint is worth looking for.
func (n Node) Told() bool { return len(n.doc.problems) < maxProblems }

// Problem adds a problem at the node's place. An empty text or hint is left out.
func (n Node) Problem(text, message, hint string) {
	n.doc.add(Problem{Line: n.y.Line, Column: n.y.Column, Text: text, Message: message, Hint: hint})
}

// IsNull reports whether there is no value.
func (n Node) IsNull() bool { return n.y.ShortTag() == "!!null" }

// IsMap reports whether the value is a mapping.
func (n Node) IsMap() bool { return n.y.Kind == yaml.MappingNode }

// IsList reports whether the value is a list.
func (n Node) IsList() bool { return n.y.Kind == yaml.SequenceNode }

// Len returns how many items a list has, or keys a mapping.
func (n Node) Len() int {
	if n.IsMap() {
		return len(n.y.Content) / 2
	}
	return len(n.y.Content)
}

// Text returns the value as it is written, without quotes. It is false, and a
// problem, for a list, a mapping and for nothing.
func (n Node) Text() (string, bool) {
	if n.y.Kind != yaml.ScalarNode {
		n.wrongKind("one value")
		return "", false
	}
	if n.y.ShortTag() == "!!null" {
		n.Problem("", "no value", "give one, or remove the key")
		return "", false
	}
	return n.y.Value, true
}

func (n Node) quoted() bool {
	return n.y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// wrongKind says that a value has the wrong shape.
func (n Node) wrongKind(want string) {
	got := "one value"
	switch {
	case n.y.Kind == yaml.SequenceNode:
		got = aList
	case n.y.Kind == yaml.MappingNode:
		got = "a mapping"
	case n.y.ShortTag() == "!!null":
		n.Problem("", "no value", "give one, or remove the key")
		return
	}
	hint := ""
	if n.y.Kind == yaml.ScalarNode && want == aList {
		hint = "written [" + n.y.Value + "]"
	}
	n.Problem(n.y.Value, "must be "+want+", not "+got, hint)
}

const aList = "a list"
