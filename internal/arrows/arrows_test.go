// Package arrows pins which package may import which, and a few habits that a
// reader may rely on. The table is the architecture: a new arrow, or a new
// library, is a line of it, to be argued for in its commit.
package arrows

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows holds every package of the module and what it may import beyond the
// standard library, tests aside. Paths without a dot are packages of the module;
// a library stands for all of its packages.
var arrows = map[string]string{
	"policy": `internal/strictyaml
		github.com/fsnotify/fsnotify golang.org/x/net`,
	"decision":         `policy github.com/klauspost/compress`,
	"internal/clock":   `golang.org/x/sys`,
	"internal/pktinfo": `golang.org/x/sys`,
	"report":           `policy decision`,
	"internal/h2":      `golang.org/x/net`,
	"internal/crew":    ``,
	"resolver": `policy decision internal/clock internal/crew internal/h2 internal/pktinfo
		github.com/miekg/dns github.com/google/renameio/v2 golang.org/x/sync`,
	"ntprelay": `policy decision internal/clock internal/pktinfo
		github.com/beevik/ntp golang.org/x/sync golang.org/x/sys`,
	"proxy":    `policy decision github.com/elazarl/goproxy internal/crew internal/pktinfo golang.org/x/sync golang.org/x/sys`,
	"firewall": `policy decision github.com/mdlayher/netlink github.com/google/renameio/v2 golang.org/x/sys`,
	"console":  `policy decision internal/check report github.com/google/renameio/v2 golang.org/x/crypto`,
	"replay":   `policy decision golang.org/x/net`,
	"cmd/tillgate": `policy decision report internal/check internal/clock internal/strictyaml resolver proxy ntprelay firewall console replay packaging
		github.com/google/renameio/v2
		github.com/spf13/cobra github.com/coreos/go-systemd/v22 github.com/miekg/dns
		golang.org/x/crypto/x509roots/fallback golang.org/x/sync golang.org/x/sys golang.org/x/term`,
	"internal/strictyaml":            `go.yaml.in/yaml/v4`,
	"internal/arrows":                ``,
	"internal/check":                 `policy github.com/miekg/dns`,
	"internal/storelab":              `policy golang.org/x/sys`,
	"internal/storelab/cmd/storelab": `policy internal/storelab`,
	"cmd/storesim":                   `policy internal/storelab github.com/miekg/dns golang.org/x/sync`,
	"internal/bench":                 `policy internal/storelab golang.org/x/sys`,
	"internal/bench/cmd/bench":       `internal/bench`,
	"packaging":                      ``,
}

// Tests may import these as well: all of them the first, each its own.
const testLibraries = `github.com/google/go-cmp github.com/rogpeppe/go-internal
	go.uber.org/goleak pgregory.net/rapid internal/storelab`

var testArrows = map[string]string{
	"cmd/tillgate": `golang.org/x/net github.com/santhosh-tekuri/jsonschema/v6 go.yaml.in/yaml/v4
		github.com/chromedp/chromedp github.com/chromedp/cdproto`,
	"console":           `github.com/prometheus/client_golang`,
	"internal/storelab": `github.com/miekg/dns`,
}

// oneFile holds the libraries that only one file of a package may know, its tests aside.
var oneFile = map[string]string{
	"policy github.com/fsnotify/fsnotify": "watch.go",
	"proxy github.com/elazarl/goproxy":    "connect.go",
	"cmd/tillgate github.com/miekg/dns":   "alive.go",
}

// What nobody imports: templates switch off the linker's pruning of methods,
// and cgo the cross-compiling.
var forbidden = []string{"html/template", "text/template", "C"}

const module = "tillgate"

// A source is one Go file of the module.
type source struct {
	file   string // from the root
	syntax *ast.File
	fset   *token.FileSet
}

func (s source) pkg() string  { return path.Dir(s.file) }
func (s source) isTest() bool { return strings.HasSuffix(s.file, "_test.go") }

func (s source) at(n ast.Node) string {
	return s.file + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// read parses every Go file below root, but those of other modules.
func read(root string) (sources []source, err error) {
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			other := err == nil && file != root
			if name := d.Name(); other || name == "testdata" || strings.HasPrefix(name, ".git") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		s := source{fset: token.NewFileSet()}
		if s.syntax, err = parser.ParseFile(s.fset, file, nil, parser.SkipObjectResolution); err != nil {
			return err
		}
		s.file, err = filepath.Rel(root, file)
		sources = append(sources, s)
		return err
	})
	return sources, err
}

// imports returns the problems of a file's imports.
func imports(s source) (problems []string) {
	allowed := strings.Fields(arrows[s.pkg()])
	if s.isTest() {
		allowed = append(allowed, s.pkg()) // from package x_test
		allowed = append(allowed, strings.Fields(testLibraries+" "+testArrows[s.pkg()])...)
	}
	for _, spec := range s.syntax.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		if slices.Contains(forbidden, name) {
			problems = append(problems, fmt.Sprintf("%s: nothing imports %s", s.at(spec), name))
		}
		own, isOwn := strings.CutPrefix(name, module+"/")
		if first, _, _ := strings.Cut(name, "/"); !isOwn && !strings.Contains(first, ".") {
			continue // of the standard library
		}
		if !slices.ContainsFunc(allowed, func(a string) bool {
			return own == a || !isOwn && (name == a || strings.HasPrefix(name, a+"/"))
		}) {
			problems = append(problems, fmt.Sprintf("%s: %s may not import %s", s.at(spec), s.pkg(), own))
		}
		if only := oneFile[s.pkg()+" "+name]; only != "" && path.Base(s.file) != only && !s.isTest() {
			problems = append(problems, fmt.Sprintf("%s: only %s imports %s", s.at(spec), only, name))
		}
	}
	return problems
}

// habits returns where a file breaks them: init does its work unasked, and a
// package that ends the program takes the decision from its caller.
func habits(s source) (problems []string) {
	isMain := s.syntax.Name.Name == "main"
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				problems = append(problems, s.at(n)+": a func init")
			}
		case *ast.SelectorExpr:
			of, _ := n.X.(*ast.Ident)
			if of == nil || isMain || s.isTest() {
				break
			}
			call := of.Name + "." + n.Sel.Name
			if call == "os.Exit" || strings.HasPrefix(call, "log.Fatal") || strings.HasPrefix(call, "log.Panic") {
				problems = append(problems, s.at(n)+": "+call+" outside package main")
			}
		}
		return true
	})
	return problems
}

func TestArrows(t *testing.T) {
	sources, err := read("../..")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, s := range sources {
		if _, known := arrows[s.pkg()]; !known && !seen[s.pkg()] {
			t.Errorf("package %s is not in the table of arrows", s.pkg())
		}
		seen[s.pkg()] = true
		for _, p := range append(imports(s), habits(s)...) {
			t.Error(p)
		}
	}
	for pkg := range arrows {
		if !seen[pkg] {
			t.Errorf("the table of arrows has package %s, which is not there", pkg)
		}
	}
}

// The checks find what they are for.
func TestChecks(t *testing.T) {
	for _, tt := range []struct{ file, text, want string }{
		{"resolver/x.go", `import "tillgate/policy"`, ""},
		{"resolver/x.go", `import "tillgate/proxy"`, "resolver/x.go:2: resolver may not import proxy"},
		{"resolver/x.go", `import "golang.org/x/system"`, "resolver/x.go:2: resolver may not import golang.org/x/system"},
		{"decision/x.go", `import "github.com/klauspost/compress/zstd"`, ""},
		{"decision/x.go", `import "github.com/miekg/dns"`, "decision/x.go:2: decision may not import github.com/miekg/dns"},
		{"policy/watch.go", `import "github.com/fsnotify/fsnotify"`, ""},
		{"policy/x.go", `import "github.com/fsnotify/fsnotify"`, "policy/x.go:2: only watch.go imports github.com/fsnotify/fsnotify"},
		{"policy/watch_test.go", `import "github.com/fsnotify/fsnotify"`, ""},
		{"policy/x.go", `import "text/template"`, "policy/x.go:2: nothing imports text/template"},
		{"policy/x.go", `import "github.com/google/go-cmp/cmp"`, "policy/x.go:2: policy may not import github.com/google/go-cmp/cmp"},
		{"policy/x_test.go", `import "github.com/google/go-cmp/cmp"`, ""},
		{"policy/x_test.go", `import "tillgate/policy"`, ""},
		{"policy/x_test.go", `import "tillgate/decision"`, "policy/x_test.go:2: policy may not import decision"},
		{"policy/x.go", `func init() {}`, "policy/x.go:2: a func init"},
		{"policy/x.go", `func (t T) init() {}`, ""},
		{"policy/x.go", `func f() { os.Exit(1) }`, "policy/x.go:2: os.Exit outside package main"},
		{"policy/x.go", `func f() { log.Fatalf("") }`, "policy/x.go:2: log.Fatalf outside package main"},
		{"policy/x_test.go", `func f() { os.Exit(1) }`, ""},
	} {
		s := source{file: tt.file, fset: token.NewFileSet()}
		var err error
		if s.syntax, err = parser.ParseFile(s.fset, tt.file, "package x\n"+tt.text, parser.SkipObjectResolution); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(append(imports(s), habits(s)...), "\n"); got != tt.want {
			t.Errorf("%s with %s: %q, want %q", tt.file, tt.text, got, tt.want)
		}
	}
}
