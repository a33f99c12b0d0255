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
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "tillgate"), "../cmd/tillgate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	boot := exec.CommandContext(ctx, "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "sh", filepath.Join(here, "testdata", "boot.sh"), dir, here)
	out, err := boot.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	said, _ := os.ReadFile(filepath.Join(dir, "out", "said"))
	const want = `before the network: table inet tillgate
started: active active
in force
in force after a flush
in force after the keeper was killed
in force after the box was killed
stopped: inactive inactive, and there is table inet tillgate
in force after a new start
`
	if string(said) != want {
		t.Errorf("it said\n%s\nwant\n%s", said, want)
		for _, name := range []string{"console", "journal", "check"} {
			text, _ := os.ReadFile(filepath.Join(dir, "out", name))
			t.Logf("%s:\n%s", name, text)
		}
	}
}
