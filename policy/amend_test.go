package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAmend(t *testing.T) {
	services := `services:
  # it is needed
  - id: local/new
    reason: # to be filled in: why does the store need it?
    destinations:
      # often
      - {host: a.example, ports: [tcp/443, tcp/80]}
      - {host: "*.b.example", ports: [tcp/443]}
`
	for _, tt := range []struct{ what, before, after string }{
		{"block style", `version: 1 # one
classes:
  pos:
    networks: [10.20.0.0/24]
    services: # theirs
      - payxpert/emv # row 1
      - payxpert/apm
  pc: {networks: [10.20.9.0/24]}

# The store's own.
services:
  # for printers
  - id: local/old
    reason: ticket
    destinations: [{host: old.example, ports: [tcp/443]}]
deny: [{host: d.example}]
`, `# top
version: 1 # one
classes:
  # why
  pos:
    networks: [10.20.0.0/24]
    services: # theirs
      - local/new
      - payxpert/logs
      - payxpert/emv # row 1
      - payxpert/apm
  pc: {networks: [10.20.9.0/24]}

# The store's own.
` + services + `  # for printers
  - id: local/old
    reason: ticket
    destinations: [{host: old.example, ports: [tcp/443]}]
deny: [{host: d.example}]
`},
		{"flow style, no services", `version: 1
classes:
  pos: {networks: [10.20.0.0/24], services: [payxpert/emv], mode: observe}`, `# top
version: 1
classes:
  # why
  pos: {networks: [10.20.0.0/24], services: [local/new, payxpert/logs, payxpert/emv], mode: observe}
` + "\n" + services},
		{"a class with nothing, in brackets", "version: 1\nclasses: {pos: {networks: [10.20.0.0/24]}}\n", "# top\nversion: 1\n# why\nclasses: {pos: {services: [local/new, payxpert/logs], networks: [10.20.0.0/24]}}\n\n" + services},
		{"a class with nothing, below", "version: 1\nclasses:\n  pos:\n    networks: [10.20.0.0/24]\n", "# top\nversion: 1\nclasses:\n  # why\n  pos:\n    services: [local/new, payxpert/logs]\n    networks: [10.20.0.0/24]\n\n" + services},
		{"an empty list, after letters of two bytes", "version: 1\nclasses: {pos: {interfaces: [größe], services: []}}\n", "# top\nversion: 1\n# why\nclasses: {pos: {interfaces: [größe], services: [local/new, payxpert/logs]}}\n\n" + services},
		{"services in brackets", "version: 1\nclasses: {pos: {networks: [10.20.0.0/24]}}\nservices: []\n", ""},
		{"all in brackets", "{version: 1, classes: {pos: {networks: [10.20.0.0/24]}}}\n", ""},
	} {
		a := Amendment{
			Comment: []string{"top"},
			Grants:  []Grant{{Comment: []string{"why"}, Class: "pos", Services: []string{"local/new", "payxpert/logs"}}},
			Services: []NewService{{Comment: []string{"it is needed"}, ID: "local/new", Destinations: []NewDestination{
				{Comment: []string{"often"}, Host: "a.example", Ports: []Port{{TCP, 443}, {TCP, 80}}},
				{Host: "*.b.example", Ports: []Port{{TCP, 443}}},
			}}},
		}
		file := File{Name: FileName, Data: []byte(tt.before)}
		got, err := Amend(file, a, "")
		if diff := cmp.Diff(tt.after, string(got.Data)); diff != "" || (err == nil) != (tt.after != "") {
			t.Errorf("%s: %v (-want +got):\n%s", tt.what, err, diff)
		}
		if tt.after == "" {
			continue
		}
		// Nobody applies it blindly, but with reasons it is good.
		if _, err := Compile([]File{got}); err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "no reason") {
			t.Errorf("%s, without a reason: %v", tt.what, err)
		}
		got, err = Amend(file, a, "ticket 7")
		if err != nil {
			t.Fatal(err)
		}
		set, err := Compile([]File{got})
		if err != nil {
			t.Fatalf("%s: %v\n%s", tt.what, err, got.Data)
		}
		if n := len(set.classNamed("pos").Services); n < 2 {
			t.Errorf("%s: %d services of the class", tt.what, n)
		}
	}
}

// However a file is written, adding to it ends well or with an error.
func FuzzAmend(f *testing.F) {
	f.Add([]byte("version: 1\nclasses:\n  pos:\n    networks: [10.20.0.0/24]\n    services:\n      - payxpert/emv\nservices:\n"))
	f.Add([]byte("{version: 1, classes: {pos: {networks: [10.20.0.0/24], services: []}}}"))
	f.Add([]byte("classes: {pos: {ü: []}}\r\nservices:\r\n  - id: x\r\n"))
	f.Add([]byte("version: 1\rclasses:\r  pos:\r    services:\r      - a/b\r"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := File{Name: FileName, Data: data}
		a := Amendment{Comment: []string{"top"}, Grants: []Grant{{Class: "pos", Services: []string{"local/new"}}},
			Services: []NewService{{ID: "local/new", Destinations: []NewDestination{{Host: "a.example", Ports: []Port{{TCP, 443}}}}}}}
		got, err := Amend(file, a, "ticket")
		if err == nil && len(got.Data) <= len(data) {
			t.Errorf("nothing was added to %q: %q", data, got.Data)
		}
	})
}
