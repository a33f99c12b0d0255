package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Templates call methods by name, so the linker must keep all methods of all
// types once they are linked: megabytes that a router has no room for. cobra
// imports them, but reaches them only when it is asked to.
func TestNoTemplatesAreLinked(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	program := filepath.Join(t.TempDir(), "tillgate")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	symbols, err := exec.Command("go", "tool", "nm", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(symbols), " T main.main\n") {
		t.Fatal("the symbols are not those of the program")
	}
	if found := regexp.MustCompile(` [Tt] (html|text)/template\.\(\*Template\).*`).FindString(string(symbols)); found != "" {
		t.Errorf("linked:%s", found)
	}
}
