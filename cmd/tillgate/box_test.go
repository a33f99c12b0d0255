package main

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

func TestPermissionError(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(socket, nil, 0o660); err != nil {
		t.Fatal(err)
	}
	gid := os.Getegid()
	if gid == 0 {
		gid = 65534
		if err := os.Chown(socket, -1, gid); err != nil {
			t.Fatal(err)
		}
	}
	group := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	want := "this user may not use " + socket + ": run this as root (sudo), or join its group: sudo usermod -aG " + group + ` "$USER", then log in again`
	if got := permissionError(socket).Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	// Of a folder that is closed, its group is what there is to see.
	closed := filepath.Join(filepath.Dir(socket), "closed")
	if err := os.Mkdir(closed, 0o750); err != nil {
		t.Fatal(err)
	}
	if os.Getegid() == 0 {
		if err := os.Chown(closed, -1, gid); err != nil {
			t.Fatal(err)
		}
	}
	within := filepath.Join(closed, "s")
	want = "this user may not use " + within + ": run this as root (sudo), or join its group: sudo usermod -aG " + group + ` "$USER", then log in again`
	if got := permissionError(within).Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	// root's own group is nobody's to join.
	if info, err := os.Stat("/"); err == nil && info.Sys().(*syscall.Stat_t).Gid == 0 {
		want := "this user may not use /nowhere: run this as root (sudo)"
		if got := permissionError("/nowhere").Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
