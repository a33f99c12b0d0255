package strictyaml

import (
	"errors"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A Reader reads one value. It adds a problem where it cannot.
type Reader func(Node)

// A Key is one key of a mapping.
type Key struct {
	name     string
	required bool
	read     Reader
}

// Required is a key that must be there.
func Required(name string, read Reader) Key { return Key{name, true, read} }

// Optional is a key that may be there.
func Optional(name string, read Reader) Key { return Key{name, false, read} }

// Map reads a mapping with these keys and no others, in the order of the file.
func Map(keys ...Key) Reader {
	return func(n Node) {
		if n.y.Kind != yaml.MappingNode {
			n.wrongKind("a mapping")
			return
		}
		seen := make(map[string]bool, len(keys))
		for i := 0; i+1 < len(n.y.Content); i += 2 {
			name := Node{n.doc, n.y.Content[i]}
			k, ok := name.known(keys)
			if !ok || name.repeated(seen) {
				continue
			}
			k.read(Node{n.doc, n.y.Content[i+1]})
		}
		for _, k := range keys {
			if k.required && !seen[k.name] {
				n.Problem(k.name, "missing key", "")
			}
		}
	}
}

// known finds the key of a mapping's name.
func (n Node) known(keys []Key) (Key, bool) {
	if n.y.Kind != yaml.ScalarNode {
		n.wrongKind("a key")
		return Key{}, false
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		if k.name == n.y.Value {
			return k, true
		}
		names[i] = k.name
	}
	hint := "known keys: " + strings.Join(names, ", ")
	if near := Near(n.y.Value, names); near != "" {
		hint = DidYouMean(near)
	}
	n.Problem(n.y.Value, "unknown key", hint)
	return Key{}, false
}

func (n Node) repeated(seen map[string]bool) bool {
	if seen[n.y.Value] {
		n.Problem(n.y.Value, "duplicate key", "")
		return true
	}
	seen[n.y.Value] = true
	return false
}

// DidYouMean is the hint that names what was likely meant; empty for "".
func DidYouMean(near string) string {
	if near == "" {
		return ""
	}
	return "did you mean " + strconv.Quote(near) + "?"
}

// Dict reads a mapping whose keys are the user's own names.
func Dict(entry func(name, value Node)) Reader {
	return func(n Node) {
		if n.y.Kind != yaml.MappingNode {
			n.wrongKind("a mapping")
			return
		}
		seen := make(map[string]bool)
		for i := 0; i+1 < len(n.y.Content); i += 2 {
			name := Node{n.doc, n.y.Content[i]}
			if _, ok := name.Text(); ok && !name.repeated(seen) {
				entry(name, Node{n.doc, n.y.Content[i+1]})
			}
		}
	}
}

// List reads a list, each item by the same reader.
func List(item Reader) Reader {
	return func(n Node) {
		if n.y.Kind != yaml.SequenceNode {
			n.wrongKind(aList)
			return
		}
		for _, c := range n.y.Content {
			item(Node{n.doc, c})
		}
	}
}

// Each reads a list of values as [Value] does, into v. The list replaces what v
// held, even when it is empty. A repeated text is a problem.
func Each[T any](v *[]T, parse func(text string) (T, error)) Reader {
	return func(n Node) {
		list, seen := []T{}, make(map[string]bool)
		List(func(item Node) {
			text, ok := item.Text()
			if !ok {
				return
			}
			if seen[text] {
				item.Problem(text, "duplicate", "")
				return
			}
			seen[text] = true
			value, err := parse(text)
			if err != nil {
				item.failed(text, err)
				return
			}
			list = append(list, value)
		})(n)
		if n.y.Kind == yaml.SequenceNode {
			*v = list
		}
	}
}

// Value reads one value, turned from its text by parse. An error of parse is a
// problem, and its text the message; one that is a [Problem] may give a hint.
func Value[T any](v *T, parse func(text string) (T, error)) Reader {
	return func(n Node) {
		text, ok := n.Text()
		if !ok {
			return
		}
		value, err := parse(text)
		if err != nil {
			n.failed(text, err)
			return
		}
		*v = value
	}
}

// failed adds what parse said of a text.
func (n Node) failed(text string, err error) {
	var p Problem
	if errors.As(err, &p) {
		n.Problem(text, p.Message, p.Hint)
		return
	}
	n.Problem(text, err.Error(), "")
}

// String reads any value as it is written. It is not empty.
func String(v *string) Reader {
	return func(n Node) {
		switch text, ok := n.Text(); {
		case !ok:
		case strings.TrimSpace(text) == "":
			n.Problem("", "must not be empty", "")
		default:
			*v = text
		}
	}
}

// OneOf reads a word, which names one of the values.
func OneOf[T any](v *T, names []string, values []T) Reader {
	return func(n Node) {
		text, ok := n.Text()
		if !ok {
			return
		}
		for i, name := range names {
			if name == text {
				*v = values[i]
				return
			}
		}
		hint := DidYouMean(Near(text, names))
		n.Problem(text, "must be "+strings.Join(names, " or "), hint)
	}
}

// Bool reads true or false.
func Bool(v *bool) Reader {
	return func(n Node) {
		text, ok := n.Text()
		switch {
		case !ok:
		case text != "true" && text != "false":
			n.Problem(text, "must be true or false", "")
		case n.quoted():
			n.Problem(text, "must be true or false", "without quotes")
		default:
			*v = text == "true"
		}
	}
}

// Int reads a whole number in decimal, from min to max.
func Int[T ~int | ~int64 | ~uint16 | ~uint32](v *T, min, max T) Reader {
	return func(n Node) {
		text, ok := n.Text()
		if !ok {
			return
		}
		i, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			n.Problem(text, "must be a whole number", "")
		case n.quoted():
			n.Problem(text, "must be a whole number", "without quotes")
		case min == max && i != int64(min):
			n.Problem(text, "must be "+strconv.FormatInt(int64(min), 10), "")
		case i < int64(min) || i > int64(max):
			n.Problem(text, "must be from "+strconv.FormatInt(int64(min), 10)+" to "+strconv.FormatInt(int64(max), 10), "")
		default:
			*v = T(i)
		}
	}
}
