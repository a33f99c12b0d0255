package storelab

import (
	"os"
	"os/exec"
)

// TB is what the lab uses of a testing.TB. The storelab command brings its own,
// so that a store can stand without a test.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Need skips the test on a machine that lacks one of the programs.
func Need(t TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Skip(t, p+" is not installed")
		}
	}
}

// NeedStore skips the test on a machine that can't have a store.
func NeedStore(t TB) {
	t.Helper()
	Need(t, "ip", "nft", "nsenter", "unbound", "unbound-control", "unshare")
	if os.Geteuid() != 0 {
		Skip(t, "network namespaces need root")
	}
}

// Skip skips the test because of something that this machine lacks. Where
// TILLGATE_E2E is "required", as in CI, lacking it is a failure: a green run
// there has run everything.
func Skip(t TB, why string) {
	t.Helper()
	if os.Getenv("TILLGATE_E2E") == "required" {
		t.Fatalf("%s, and TILLGATE_E2E=required", why)
	}
	t.Skipf("%s", why)
}
