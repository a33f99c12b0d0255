package strictyaml

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A config has one field of each kind.
type config struct {
	Name  string
	Count int
	Port  uint16
	On    bool
	Color int
	At    time.Time
	Every time.Duration
	Room  int64
	Words []string
	Half  float64
	List  []string
	Named map[string]string
}

// half takes even numbers: a parser of a package that uses this one.
func half(text string) (float64, error) {
	switch text {
	case "2":
		return 1, nil
	case "3":
		return 0, Problem{Message: "odd", Hint: "take one less"}
	}
	return 0, errors.New("no number that is known here")
}

func word(text string) (string, error) {
	if strings.Contains(text, " ") {
		return "", errors.New("more than one word")
	}
	return text, nil
}

// read is the table of keys of config.
func read(c *config) Reader {
	return Map(
		Required("name", String(&c.Name)),
		Optional("count", Int(&c.Count, 1, 10)),
		Optional("port", Int(&c.Port, 0, math.MaxUint16)),
		Optional("on", Bool(&c.On)),
		Optional("color", OneOf(&c.Color, []string{"red", "green"}, []int{1, 2})),
		Optional("at", Time(&c.At)),
		Optional("every", Duration(&c.Every, time.Second, 400*24*time.Hour)),
		Optional("room", Size(&c.Room, 0, 2<<40)),
		Optional("words", Each(&c.Words, word)),
		Optional("half", Value(&c.Half, half)),
		Optional("list", List(Map(Required("item", func(n Node) {
			if text, ok := n.Text(); ok {
				c.List = append(c.List, text)
			}
		})))),
		Optional("named", Dict(func(name, value Node) {
			k, _ := name.Text()
			v, ok := value.Text()
			if ok {
				c.Named[k] = v
			}
		})),
	)
}

// defaults stay where the file says nothing, or nothing good.
func defaults() config {
	return config{Name: "none", Count: 3, Words: []string{"a"}, Every: time.Minute, Named: map[string]string{}}
}

func TestRead(t *testing.T) {
	const text = `
name: till 1 # the first
count: 10
port: 65535
on: true
color: green
at: 2027-01-31T01:00:00+01:00
every: 1d12h
room: 2GiB
words: [x, "y"]
half: 2
list:
  - item: one
  - {item: '2'}
named: {b: 1, a: "", true: yes}
`
	got := defaults()
	doc := Parse("box.yaml", []byte(text))
	doc.Read(read(&got))
	if err := doc.Problems().Err(); err != nil {
		t.Fatal(err)
	}
	want := config{Name: "till 1", Count: 10, Port: 65535, On: true, Color: 2, At: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		Every: 36 * time.Hour, Room: 2 << 30, Words: []string{"x", "y"}, Half: 1, List: []string{"one", "2"},
		Named: map[string]string{"a": "", "b": "1", "true": "yes"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadProblems(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"name: x", nil},
		{"# nothing", []string{`box.yaml:1:1: missing key: "name"`}},
		{"", []string{`box.yaml:1:1: missing key: "name"`}},
		{"---\n...\n", []string{`box.yaml:2:1: no value (give one, or remove the key)`}},
		{"[]", []string{`box.yaml:1:1: must be a mapping, not a list`}},
		{"name: x\nname: y", []string{`box.yaml:2:1: duplicate key: "name"`}},
		{"name: x\nCount: 1", []string{`box.yaml:2:1: unknown key: "Count" (did you mean "count"?)`}},
		{"name: x\n[a]: 1", []string{`box.yaml:2:1: must be a key, not a list`}},
		{"name: x\n<<: {count: 1}", []string{`box.yaml:2:1: unknown key: "<<" (known keys: name, count, port, on, color, at, every, room, words, half, list, named)`}},
		{"name:", []string{`box.yaml:1:6: no value (give one, or remove the key)`}},
		{"name: ~", []string{`box.yaml:1:7: no value (give one, or remove the key)`}},
		{"name: ' '", []string{`box.yaml:1:7: must not be empty`}},
		{"name: {}", []string{`box.yaml:1:7: must be one value, not a mapping`}},
		{"name: x\ncount: 0", []string{`box.yaml:2:8: must be from 1 to 10: "0"`}},
		{"name: x\ncount: 99999999999999999999", []string{`box.yaml:2:8: must be a whole number: "99999999999999999999"`}},
		{"name: x\ncount: 0x1", []string{`box.yaml:2:8: must be a whole number: "0x1"`}},
		{"name: x\ncount: 1.0", []string{`box.yaml:2:8: must be a whole number: "1.0"`}},
		{"name: x\ncount: '1'", []string{`box.yaml:2:8: must be a whole number: "1" (without quotes)`}},
		{"name: x\nport: 65536", []string{`box.yaml:2:7: must be from 0 to 65535: "65536"`}},
		{"name: x\non: yes", []string{`box.yaml:2:5: must be true or false: "yes"`}},
		{"name: x\non: 'true'", []string{`box.yaml:2:5: must be true or false: "true" (without quotes)`}},
		{"name: x\ncolor: blue", []string{`box.yaml:2:8: must be red or green: "blue"`}},
		{"name: x\ncolor: geen", []string{`box.yaml:2:8: must be red or green: "geen" (did you mean "green"?)`}},
		{"name: x\nat: 2027-01-31", []string{`box.yaml:2:5: must be a time: "2027-01-31" (written 2027-01-31T00:00:00Z)`}},
		{"name: x\nevery: 10", []string{`box.yaml:2:8: must be a duration: "10" (written 1800ms, 10s, 5m, 6h or 400d)`}},
		{"name: x\nevery: 999ms", []string{`box.yaml:2:8: must be from 1s to 400d: "999ms"`}},
		{"name: x\nroom: 2GB", []string{`box.yaml:2:7: must be a size: "2GB" (written 512MiB or 2GiB)`}},
		{"name: x\nroom: 3TiB", []string{`box.yaml:2:7: must be from 0 to 2TiB: "3TiB"`}},
		{"name: x\nwords: x", []string{`box.yaml:2:8: must be a list, not one value: "x" (written [x])`}},
		{"name: x\nwords: [a, b c, a, {}, ]", []string{
			`box.yaml:2:12: more than one word: "b c"`, `box.yaml:2:17: duplicate: "a"`, `box.yaml:2:20: must be one value, not a mapping`}},
		{"name: x\nhalf: 3", []string{`box.yaml:2:7: odd: "3" (take one less)`}},
		{"name: x\nhalf: 4", []string{`box.yaml:2:7: no number that is known here: "4"`}},
		{"name: x\nlist: [item: 1, itme: 2, 3]", []string{
			`box.yaml:2:17: unknown key: "itme" (did you mean "item"?)`, `box.yaml:2:17: missing key: "item"`,
			`box.yaml:2:26: must be a mapping, not one value: "3"`}},
		{"name: x\nnamed: {a: 1, a: 2, [b]: 1, ~: 1}", []string{
			`box.yaml:2:15: duplicate key: "a"`, `box.yaml:2:21: must be one value, not a list`, `box.yaml:2:29: no value (give one, or remove the key)`}},
		{"name: &n x", []string{`box.yaml:1:7: an anchor: "&n" (remove it: aliases are not read)`}},
		{"name: !box x", []string{`box.yaml:1:7: a tag: "!box" (remove it)`}},
		{"name: &n x\nwords: [*n, *n]", []string{`box.yaml:1:7: an anchor: "&n" (remove it: aliases are not read)`,
			`box.yaml:2:9: an alias: "*n" (write the value out)`, `box.yaml:2:13: an alias: "*n" (write the value out)`}},
		{"name: &n [*n]", []string{`box.yaml:1:7: an anchor: "&n" (remove it: aliases are not read)`, `box.yaml:1:11: an alias: "*n" (write the value out)`}},
		{"name: x\n--- # more\nname: y", []string{`box.yaml:2:1: a second document (only one is read: remove the line ---)`}},
		{"name: x\n---\n{", []string{`box.yaml:4:1: not YAML: did not find expected node content`}},
		{"name: [", []string{`box.yaml:2:1: not YAML: did not find expected node content`}},
		{"name: *n", []string{`box.yaml:1:7: not YAML: unknown anchor 'n' referenced (put names that begin with * in quotes)`}},
		{"name: x\nwords:\n  - *.ads.example", []string{`box.yaml:3:5: not YAML: unknown anchor '.ads.example' referenced (put names that begin with * in quotes)`}},
		{"name: x\nlist:\n\t- item: 1", []string{`box.yaml:3:1: not YAML: a tab (indent with spaces)`}},
		{"name: x\nnamed:\n  a: 1\n\tb: 2", []string{`box.yaml:4:1: not YAML: a tab (indent with spaces)`}},
		{"name: x\nnamed:\n  a: @b", []string{`box.yaml:3:6: not YAML: found character that cannot start any token`}},
		{"name: \"a\n\n", []string{`box.yaml:3:1: not YAML: found unexpected end of stream (it began in line 1)`}},
		{"name: \x1b[31m", []string{`box.yaml:1:1: not YAML: control characters are not allowed (value: 27)`}},
		{"name: \"\\e[31m\"\ncount: \"\\e[31m\"", []string{`box.yaml:2:8: must be a whole number: "\x1b[31m"`}},
	} {
		c := defaults()
		doc := Parse("box.yaml", []byte(tt.text))
		doc.Read(read(&c))
		var got []string
		if err := doc.Problems().Err(); err != nil {
			got = strings.Split(err.Error(), "\n")
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestBounds(t *testing.T) {
	doc := Parse("box.yaml", []byte(strings.Repeat(" ", MaxSize+1)))
	doc.Read(func(Node) { t.Error("what is too large is read") })
	if err := doc.Problems().Err(); err == nil || err.Error() != "box.yaml:1:1: the file is larger than 1024 KiB" {
		t.Error(err)
	}
	c := defaults()
	doc = Parse("box.yaml", []byte("name: x\nwords: ["+strings.Repeat("a b,", 10_000)+"]"))
	doc.Read(read(&c))
	if n := len(doc.Problems()); n != maxProblems+1 {
		t.Errorf("%d problems are kept, want %d and one that says that there are more", n, maxProblems)
	}
	p := Problem{File: "f", Message: "m", Text: strings.Repeat("é", 10_000)}
	if n := len(p.Error()); n > 2*maxText {
		t.Errorf("a problem of %d bytes", n)
	}
}

func TestProblemsSorted(t *testing.T) {
	got := Problems{
		{File: "b", Line: 2, Column: 1, Message: "3"},
		{File: "b", Line: 1, Column: 9, Message: "2"},
		{File: "b", Message: "1"},
		{File: "a", Line: 7, Column: 1, Message: "0", Text: "\u202etxt", Hint: "h"},
	}.Err()
	want := `a:7:1: 0: "\u202etxt" (h)` + "\nb: 1\nb:1:9: 2\nb:2:1: 3"
	if got.Error() != want {
		t.Errorf("%s\nwant:\n%s", got, want)
	}
	if err := Problems(nil).Err(); err != nil {
		t.Errorf("no problems: %v", err)
	}
}

func TestNear(t *testing.T) {
	words := []string{"networks", "interfaces", "services", "time", "mode", "id"}
	for word, want := range map[string]string{
		"netwroks":                      "networks",
		"network":                       "networks",
		"service":                       "services",
		"Services":                      "services",
		"tiem":                          "time",
		"timer":                         "time",
		"moed":                          "mode",
		"xxxx":                          "",
		"m":                             "",
		"":                              "",
		"ids":                           "id",
		"interface":                     "interfaces",
		strings.Repeat("networks", 100): "",
	} {
		if got := Near(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b  string
		limit int
		want  int
	}{
		{"", "", 9, 0},
		{"abc", "abc", 9, 0},
		{"abc", "", 9, 3},
		{"abc", "acb", 9, 1},
		{"abc", "abd", 9, 1},
		{"abc", "xabc", 9, 1},
		{"kitten", "sitting", 9, 3},
		{"kitten", "sitting", 2, 2},
		{"a", "abcdefghij", 3, 3},
		{"abc", "abc", 0, 0},
	} {
		if got := Distance(tt.a, tt.b, tt.limit); got != tt.want {
			t.Errorf("%q to %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := Distance(tt.b, tt.a, tt.limit); got != tt.want {
			t.Errorf("%q to %q: %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
