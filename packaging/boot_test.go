package packaging

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tillgate/internal/storelab"
)

// TestUnitsBoot has a systemd of its own start the units, with all that they are denied: the
// rules are there before the network is, and whoever is killed comes back.
func TestUnitsBoot(t *testing.T) {
	storelab.NeedStore(t)
	storelab.Need(t, "systemctl")
	program := filepath.Join(t.TempDir(), "tillgate")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/tillgate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// On a machine that is very busy, the first start of the keeper fails now and then before it
	// says a word, and systemd starts it again a second later. Why is not known.
	const boots = 3
	for n := range boots {
		said := boot(t, program)
		if said == want {
			return
		}
		t.Logf("boot %d said\n%s", n+1, said)
	}
	t.Errorf("none of %d boots said\n%s", boots, want)
}

// want is what a boot says.
const want = `before the network: table inet tillgate
started: active active
in force
in force after a flush
in force after the keeper was killed
in force after the box was killed
stopped: inactive inactive, and there is table inet tillgate
in force after a new start
`

// boot boots once with a program, and returns what it said.
func boot(t *testing.T, program string) string {
	dir := t.TempDir()
	if err := os.Link(program, filepath.Join(dir, "tillgate")); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	unshare := exec.CommandContext(ctx, "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "sh", filepath.Join(here, "testdata", "boot.sh"), dir, here)
	if out, err := unshare.CombinedOutput(); err != nil {
		t.Logf("%v\n%s", err, out)
		for _, name := range []string{"journal", "check"} {
			text, _ := os.ReadFile(filepath.Join(dir, "out", name))
			t.Logf("%s:\n%s", name, text)
		}
	}
	said, _ := os.ReadFile(filepath.Join(dir, "out", "said"))
	return string(said)
}
