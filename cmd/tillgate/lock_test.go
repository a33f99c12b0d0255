package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestLockState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "state")
	first, err := lockState(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockState(dir)
	want := fmt.Sprintf("another tillgate, process %d, runs on the state in %s; stop it (systemctl stop tillgate, or kill %[1]d), "+
		"or give this one a folder of its own with --state", os.Getpid(), dir)
	if err == nil || err.Error() != want {
		t.Errorf("the second: %v\nwant %s", err, want)
	}
	first.Close()
	again, err := lockState(dir)
	if err != nil {
		t.Fatalf("after the first has let go: %v", err)
	}
	defer again.Close()

	// A lock without a pid in it, as of a disk that was full.
	if err := os.Truncate(filepath.Join(dir, "lock"), 0); err != nil {
		t.Fatal(err)
	}
	_, err = lockState(dir)
	want = "another tillgate runs on the state in " + dir + "; stop it, or give this one a folder of its own with --state"
	if err == nil || err.Error() != want {
		t.Errorf("without a pid: %v\nwant %s", err, want)
	}
}
