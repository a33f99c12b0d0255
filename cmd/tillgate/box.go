package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"tillgate/console"
)

// findBox returns a client of the running box: that at the socket, or without
// one the first at the places where boxes are.
func findBox(ctx context.Context, socket string, p process) (*console.Client, console.Status, error) {
	tried := []string{socket}
	if socket == "" {
		tried = sockets(p.getenv)
	}
	var denied error
	for _, path := range tried {
		c := console.NewClient(path)
		c.Waiting = func(text string) { fmt.Fprintln(p.stderr, "tillgate:", text) }
		status, err := c.Status(ctx)
		switch {
		case err == nil:
			return c, status, nil
		case errors.Is(err, fs.ErrPermission):
			denied = permissionError(path)
		case !errors.Is(err, console.ErrNoBox):
			return nil, status, failed(err)
		}
	}
	if denied != nil {
		return nil, console.Status{}, failed(denied)
	}
	return nil, console.Status{}, failed(noBoxError{tried})
}

// noBoxError is a box that is not running where it was looked for.
type noBoxError struct{ tried []string }

func (e noBoxError) Error() string {
	return "no box found at " + strings.Join(e.tried, " or ") +
		"; start it with systemctl start tillgate, or try it on this machine with tillgate run --loopback"
}

func isNoBox(err error) bool {
	var e noBoxError
	return errors.As(err, &e)
}

// permissionError is a socket that this user may not use. It may or may not
// have a box behind it.
func permissionError(socket string) error {
	hint := "run this as root (sudo)"
	// Of a folder that is closed to this user its group can be seen, not that
	// of the socket within.
	for _, path := range []string{socket, filepath.Dir(socket)} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Gid != 0 {
			group := strconv.Itoa(int(st.Gid))
			if g, err := user.LookupGroupId(group); err == nil {
				group = g.Name
			}
			hint += ", or join its group: sudo usermod -aG " + group + " \"$USER\", then log in again"
		}
		break
	}
	return fmt.Errorf("this user may not use %s: %s", socket, hint)
}
