package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/internal/strictyaml"
)

// small is a policy without packs; smaller differs from it.
const (
	small   = oneClass + aService
	smaller = "version: 1\npacks: []\nclasses: {pos: {networks: [10.20.0.0/24]}}\n"
	broken  = "version: 1\nclases: {}\n"
)

// write puts a file in a folder, with the folders above it.
func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// loadProblems loads the folder, and shows its path as DIR.
func loadProblems(t *testing.T, dir string) []string {
	t.Helper()
	_, err := Load(dir)
	got := lines(t, err)
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], dir, "DIR")
	}
	return got
}

func TestLoad(t *testing.T) {
	embedded, err := Embedded()
	must(t, err)
	payxpert, _ := embeddedPack("payxpert")
	for _, tt := range []struct {
		name  string
		files map[string]string
		hash  string
		packs []Pack
	}{
		{"no folder", nil, embedded.Hash(), embedded.Packs()},
		{"no policy", map[string]string{"tillgate.yaml": "x"}, embedded.Hash(), embedded.Packs()},
		{"a policy", map[string]string{"policy.yaml": small}, mustCompile(t, small).Hash(), nil},
		{"what editors leave", map[string]string{"policy.yaml": small, "packs/.acme.yaml.swp": "x", "packs/.acme.yaml": "x",
			"packs/acme.yaml~": "x", "packs/#acme.yaml#": "x", "packs/README": "x"}, mustCompile(t, small).Hash(), nil},
		{"a pack in place of the embedded one", map[string]string{
			"packs/payxpert.yaml": strings.Replace(string(payxpert.Data), "title: PayXpert", "title: Our", 1),
		}, "", []Pack{{"payxpert", "Our — Network & Firewall Considerations", embedded.Packs()[0].Source, false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tillgate")
			for name, data := range tt.files {
				write(t, filepath.Join(dir, name), data)
			}
			set, err := Load(dir)
			must(t, err)
			if tt.hash != "" && set.Hash() != tt.hash {
				t.Errorf("hash %s, want %s", set.Hash(), tt.hash)
			}
			if diff := cmp.Diff(tt.packs, set.Packs()); diff != "" {
				t.Errorf("packs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnsafeFiles(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, dir string)
		want []string
	}{
		{"all well", func(t *testing.T, dir string) {}, nil},
		{"others may write the policy", func(t *testing.T, dir string) {
			must(t, os.Chmod(dir+"/policy.yaml", 0o646))
		}, []string{"policy.yaml: others may write it (chmod go-w DIR/policy.yaml)"}},
		{"the group may write a pack", func(t *testing.T, dir string) {
			must(t, os.Chmod(dir+"/packs/acme.yaml", 0o664))
		}, []string{"packs/acme.yaml: its group may write it (chmod go-w DIR/packs/acme.yaml)"}},
		{"others may write the folder", func(t *testing.T, dir string) {
			must(t, os.Chmod(dir, 0o777))
		}, []string{"DIR: others may write it (chmod go-w DIR)"}},
		{"the group may write packs, and the policy is bad", func(t *testing.T, dir string) {
			must(t, os.Chmod(dir+"/packs", 0o775))
			write(t, dir+"/policy.yaml", broken)
		}, []string{
			`packs: its group may write it (chmod go-w DIR/packs)`,
			`policy.yaml:1:1: missing key: "classes"`,
			`policy.yaml:2:1: unknown key: "clases" (did you mean "classes"?)`,
		}},
		{"others may write all, and the policy is bad", func(t *testing.T, dir string) {
			write(t, dir+"/policy.yaml", broken)
			must(t, os.Chmod(dir, 0o777))
			must(t, os.Chmod(dir+"/policy.yaml", 0o666))
		}, []string{
			`DIR: others may write it (chmod go-w DIR)`,
			`policy.yaml: others may write it (chmod go-w DIR/policy.yaml)`,
			`policy.yaml:1:1: missing key: "classes"`,
			`policy.yaml:2:1: unknown key: "clases" (did you mean "classes"?)`,
		}},
		{"a symlink to a file that others may write", func(t *testing.T, dir string) {
			write(t, dir+"/elsewhere", small)
			must(t, os.Chmod(dir+"/elsewhere", 0o666))
			must(t, os.Remove(dir+"/policy.yaml"))
			must(t, os.Symlink("elsewhere", dir+"/policy.yaml"))
		}, []string{"policy.yaml: others may write it (chmod go-w DIR/policy.yaml)"}},
		{"a symlink that leads nowhere", func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/policy.yaml"))
			must(t, os.Symlink("nowhere", dir+"/policy.yaml"))
		}, []string{"policy.yaml: a symlink that leads nowhere"}},
		{"a pipe", func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/policy.yaml"))
			must(t, syscall.Mkfifo(dir+"/policy.yaml", 0o644))
		}, []string{"policy.yaml: not a regular file"}},
		{"a folder for a file", func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/policy.yaml"))
			must(t, os.Mkdir(dir+"/policy.yaml", 0o755))
		}, []string{"policy.yaml: not a regular file"}},
		{"a file for a folder", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir+"/packs"))
			write(t, dir+"/packs", "")
		}, []string{"packs: not a folder"}},
		{"a file for the whole folder", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(dir))
			write(t, dir, "")
		}, []string{"DIR: not a folder"}},
		{"a large file", func(t *testing.T, dir string) {
			must(t, os.Truncate(dir+"/policy.yaml", strictyaml.MaxSize+1))
		}, []string{"policy.yaml: larger than 1024 KiB"}},
		{"a pack with a bad name", func(t *testing.T, dir string) {
			write(t, dir+"/packs/Acme.yaml", acme)
		}, []string{"packs/Acme.yaml:1:1: not the name of a pack file (written packs/acme.yaml, in lower-case letters, digits and hyphens)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tillgate")
			write(t, dir+"/policy.yaml", small)
			write(t, dir+"/packs/acme.yaml", acme)
			tt.make(t, dir)
			if diff := cmp.Diff(tt.want, loadProblems(t, dir)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadFile(dir, "tillgate.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	write(t, dir+"/tillgate.yaml", "x")
	if data, err := ReadFile(dir, "tillgate.yaml"); string(data) != "x" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	must(t, os.Chmod(dir+"/tillgate.yaml", 0o666))
	var p strictyaml.Problem
	if data, err := ReadFile(dir, "tillgate.yaml"); data != nil || !errors.As(err, &p) || p.Message != "others may write it" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestTooManyPackFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range maxPackFiles + 1 {
		write(t, filepath.Join(dir, "packs", "p"+strings.Repeat("x", i%40)+string(rune('a'+i/40))+".yaml"), "")
	}
	got := strings.Join(loadProblems(t, dir), "\n")
	if !strings.Contains(got, "packs: more than 128 pack files") {
		t.Errorf("%.300s", got)
	}
}

// A fileInfo is what a file says of itself, for owners that a test cannot be.
type fileInfo struct {
	fs.FileInfo
	mode fs.FileMode
	uid  uint32
}

func (f fileInfo) Mode() fs.FileMode  { return f.mode }
func (f fileInfo) ModTime() time.Time { return time.Time{} }
func (f fileInfo) Sys() any           { return &syscall.Stat_t{Uid: f.uid} }

func TestCheckOwner(t *testing.T) {
	for _, tt := range []struct {
		mode fs.FileMode
		uid  uint32
		want string
	}{
		{0o644, 0, ""},
		{0o600, 990, ""}, // ourselves
		{0o444, 990, ""},
		{0o644, 1000, "it belongs to user 1000, who could change it: chown root '/etc/our policy'"},
		{0o664, 0, "its group may write it: chmod go-w '/etc/our policy'"},
		{0o646, 990, "others may write it: chmod go-w '/etc/our policy'"},
		{0o666, 1000, "others may write it: chmod go-w '/etc/our policy'"},
	} {
		err := checkOwner("/etc/our policy", fileInfo{mode: tt.mode, uid: tt.uid}, 990)
		got := ""
		if e, ok := err.(unsafeError); ok {
			got = e.what + ": " + e.hint
		}
		if got != tt.want {
			t.Errorf("%v of %d: %q, want %q", tt.mode, tt.uid, got, tt.want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/etc/tillgate":   "/etc/tillgate",
		"/etc/it's mine":  `'/etc/it'\''s mine'`,
		"/etc/$(x);rm -f": `'/etc/$(x);rm -f'`,
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
