package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// A target is a kind of machine that a box may be, and what emulates its processor.
type target struct {
	name string // of its tillgate, too
	env  []string
	qemu string
	// strict: what is read at an address that is no multiple of its size is a fault, which
	// the kernel of such a machine mends and qemu does not. fsnotify reads so.
	strict bool
}

var targets = []target{
	{"armv6", []string{"GOARCH=arm", "GOARM=6"}, "qemu-arm-static", false},
	{"armv7", []string{"GOARCH=arm", "GOARM=7"}, "qemu-arm-static", false},
	{"arm64", []string{"GOARCH=arm64"}, "qemu-aarch64-static", false},
	{"mipsle", []string{"GOARCH=mipsle", "GOMIPS=softfloat"}, "qemu-mipsel-static", true},
}

// prepareEmulated builds tillgate for those targets that can be emulated.
func prepareEmulated(ctx context.Context, dir string) error {
	for _, t := range targets {
		if _, err := exec.LookPath(t.qemu); err != nil {
			continue
		}
		c := command(ctx, dir, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", "@DIR@/tillgate-"+t.name, "./cmd/tillgate")
		c.Env = append(append(os.Environ(), "CGO_ENABLED=0"), t.env...)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("building tillgate for %s: %w\n%s", t.name, err, out)
		}
	}
	return nil
}

// emulated sees whether tillgate works on other processors. How fast an emulator is
// says nothing.
func (l *lab) emulated(ctx context.Context) (t table, err error) {
	t = table{
		title: "Other processors",
		head:  []string{"tillgate for", fmt.Sprintf("done within %.0f s", reloadTime.Seconds()), "errors"},
		notes: `By qemu's user mode (apt-get install qemu-user-static), so this is about being right and not about being fast: the
same terminals as in the minutes of a shop, of which each answer is looked at, and a change of the policy;
not so on mipsle, where fsnotify reads unaligned words, which a kernel mends and qemu does not.`,
	}
	for _, target := range targets {
		if _, err := exec.LookPath(target.qemu); err != nil {
			t.lines = append(t.lines, []string{target.name, target.qemu + " is not installed: left out", "–"})
			continue
		}
		done, wrong, err := l.emulate(ctx, target)
		if err != nil {
			return t, fmt.Errorf("%s: %w", target.name, err)
		}
		line := []string{strings.Join(target.env, " "), done, wrong}
		fmt.Fprintln(l.Log, " ", strings.Join(line, ", "))
		t.lines = append(t.lines, line)
	}
	return t, nil
}

func (l *lab) emulate(ctx context.Context, t target) (done, wrong string, err error) {
	_, s, closeShop, err := l.openShop(ctx, t.qemu+" @DIR@/tillgate-"+t.name)
	if err != nil {
		return "", "", err
	}
	defer closeShop()
	if t.strict {
		err = pause(ctx, reloadTime)
	} else {
		_, err = l.reload(ctx, 1)
	}
	if err != nil {
		return "", "", err
	}
	done, wrong = s.told()
	return done, wrong, nil
}
