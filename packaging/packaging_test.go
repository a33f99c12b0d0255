package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tillgate/internal/storelab"
)

const unitDir = "usr/lib/systemd/system"

var units = []string{"tillgate.service", "tillgate-firewall.service", "tillgate-firewall-first.service"}

// installed is a copy of a unit whose program exists on any machine.
func installed(t *testing.T, name string) (file, text string) {
	t.Helper()
	storelab.Need(t, "systemd-analyze")
	unit, err := os.ReadFile(filepath.Join(unitDir, name))
	if err != nil {
		t.Fatal(err)
	}
	text = string(unit)
	runnable := strings.Replace(text, "ExecStart=/usr/bin/tillgate ", "ExecStart=/bin/true ", 1)
	if runnable == text && !strings.Contains(text, "ExecStart=/bin/sh ") {
		t.Fatal("the unit does not start /usr/bin/tillgate")
	}
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(runnable), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, text
}

func TestUnitIsWellFormed(t *testing.T) {
	for _, name := range units {
		file, _ := installed(t, name)
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--generators=no", file).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", name, err, out)
		}
	}
}

// The unit states its own score, so that loosening it is a change to be seen.
func TestUnitIsAsTightAsItSays(t *testing.T) {
	for _, name := range units {
		file, text := installed(t, name)
		stated := regexp.MustCompile(`exposure (\d+)\.(\d) of 10`).FindStringSubmatch(text)
		if stated == nil {
			t.Fatalf("%s does not state its exposure", name)
		}
		threshold := strings.TrimLeft(stated[1]+stated[2], "0") // in tenths
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+threshold, file).CombinedOutput()
		if err != nil {
			t.Errorf("the exposure of %s is above %s.%s (%v):\n%s", name, stated[1], stated[2], err, out)
		}
	}
}

func TestUserIsMade(t *testing.T) {
	storelab.Need(t, "systemd-sysusers")
	conf, err := filepath.Abs("usr/lib/sysusers.d/tillgate.conf")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-sysusers", "--dry-run", "--root="+t.TempDir(), conf).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Creating user 'tillgate'") {
		t.Errorf("systemd-sysusers: %v\n%s", err, out)
	}
}
