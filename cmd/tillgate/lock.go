package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockState makes the state's folder where it is missing, and takes it for this
// process alone. The kernel lets go of the lock when the process ends, in
// whatever way; the file stays.
func lockState(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the folder of the state: %w; make it writable for this user, name another with --state, or try tillgate run --loopback", err)
	}
	f, err := openLock(dir)
	if err != nil {
		return nil, fmt.Errorf("locking the state: %w; run as the user that it belongs to, or name another folder with --state", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		defer f.Close()
		return nil, lockedError(dir, f)
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	// The pid is for people. A disk that does not take it is no reason not to
	// start: the box filters without one.
	f.Truncate(0)
	f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}

// openLock opens the file to lock, or what there is in its stead on a disk that
// is full or read-only.
func openLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		if f, err = os.Open(path); errors.Is(err, os.ErrNotExist) {
			f, err = os.Open(dir)
		}
	}
	return f, err
}

func lockedError(dir string, f *os.File) error {
	text, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("another tillgate runs on the state in %s; stop it, or give this one a folder of its own with --state", dir)
	}
	return fmt.Errorf("another tillgate, process %d, runs on the state in %s; stop it (systemctl stop tillgate, or kill %d), or give this one a folder of its own with --state",
		pid, dir, pid)
}
