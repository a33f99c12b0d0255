package console

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

const passwordFile = "console.password"

// errPasswordFile is a password that is set and cannot be read: nobody gets in by it, and
// nobody without.
var errPasswordFile = errors.New("set the password anew: tillgate console passwd")

// readPassword returns the hash in a folder's file; nil where there is none.
func readPassword(dir string) (*passwordHash, error) {
	text, err := readPrivate(dir, passwordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		var h passwordHash
		if h, err = parseHash(strings.TrimSuffix(string(text), "\n")); err == nil {
			return &h, nil
		}
		err = fmt.Errorf("%s: %w", passwordFile, err)
	}
	return nil, fmt.Errorf("%w; %w", err, errPasswordFile)
}

// writePassword keeps a hash, or with nil none.
func writePassword(dir string, h *passwordHash) error {
	path := filepath.Join(dir, passwordFile)
	if h == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return renameio.WriteFile(path, []byte(h.String()+"\n"), 0o600, renameio.IgnoreUmask())
}

// maxPrivate bounds a file of the console, in bytes.
const maxPrivate = 64 << 10

// readPrivate reads a file that nobody but its owner may be able to read.
func readPrivate(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", f.Name())
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be read by others (mode %04o): give it to the user that the box runs as, alone, with chmod 600 %[1]s",
			f.Name(), info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPrivate+1))
	if err == nil && len(text) > maxPrivate {
		err = fmt.Errorf("%s is longer than %d bytes", f.Name(), maxPrivate)
	}
	return text, err
}
