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
// rules are there before the network is, and whoever is killed comes back. Where the keeper of the
// rules does not start the network waits for it, and then at least nothing is forwarded.
func TestUnitsBoot(t *testing.T) {
	storelab.NeedStore(t)
	storelab.Need(t, "systemctl")
	program := filepath.Join(t.TempDir(), "tillgate")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/tillgate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tt := range []struct{ how, want string }{
		{"good", `before the network: table inet tillgate, closed: 0
started: active active, the keeper at once
in force, closed: 0
in force after a flush
in force after the keeper was killed
in force after the box was killed
stopped: inactive inactive, and there is table inet tillgate
in force after a new start
`},
		{"once", `before the network: table inet tillgate, closed: 0
started: active active, the keeper after failures
in force, closed: 0
`},
		{"never", `before the network: table inet tillgate, closed: 1
started: active active, the keeper after failures
in force, closed: 0
`},
	} {
		t.Run(tt.how, func(t *testing.T) {
			if said := boot(t, program, tt.how); said != tt.want {
				t.Errorf("the boot said\n%s\nwant\n%s", said, tt.want)
			}
		})
	}
}

// boot boots once with a program, and returns what it said. See testdata/boot.sh for how.
func boot(t *testing.T, program, how string) string {
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
	unshare := exec.CommandContext(ctx, "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "sh", filepath.Join(here, "testdata", "boot.sh"), dir, here, how)
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
