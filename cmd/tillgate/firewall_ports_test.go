package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBridgePorts(t *testing.T) {
	devices := t.TempDir()
	for _, dir := range []string{"br-pos", "lan1/brport", "eth0.20", "lan2/brport"} {
		if err := os.MkdirAll(filepath.Join(devices, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../br-pos", filepath.Join(devices, "lan1", "master")); err != nil {
		t.Fatal(err)
	}
	got := bridgePorts(devices, []string{"br-pos", "eth0.20", "lan1", "lan2", "absent"})
	want := []string{
		"the interface lan1 is a port of br-pos: what comes in by it is not judged as its class's; name br-pos in its place",
		"the interface lan2 is a port of the bridge: what comes in by it is not judged as its class's; name the bridge in its place",
		"the interface absent is not there (yet): its rules wait for it; ip -br link lists those of this machine",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
