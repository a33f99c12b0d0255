package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tillgate/internal/strictyaml"
)

// The last good copy is one file with policy.yaml and every pack that was in
// force, the embedded ones too: the pack that comes with a newer program may
// be another.
//
//	tillgate policy 1
//	hash 531dad28...
//	file policy.yaml folder 812
//	<812 bytes>
//	file packs/payxpert.yaml embedded 6040
//	<6040 bytes>
const lastGoodHeader = "tillgate policy 1\n"

// maxLastGood is that of all the files, and some for the lines between.
const maxLastGood = (maxPacks + 1) * (strictyaml.MaxSize + 256)

var errDamaged = errors.New("the copy is damaged")

// encodeFiles writes the files as the last good copy.
func encodeFiles(files []File) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%shash %s\n", lastGoodHeader, hashFiles(files))
	for _, f := range files {
		origin := "folder"
		if f.Embedded {
			origin = "embedded"
		}
		fmt.Fprintf(&b, "file %s %s %d\n%s\n", f.Name, origin, len(f.Data), f.Data)
	}
	return b.Bytes()
}

// decodeFiles is the inverse of encodeFiles.
func decodeFiles(data []byte) ([]File, error) {
	rest, ok := strings.CutPrefix(string(data), lastGoodHeader)
	if !ok {
		return nil, errDamaged
	}
	line, rest, _ := strings.Cut(rest, "\n")
	hash, ok := strings.CutPrefix(line, "hash ")
	if !ok {
		return nil, errDamaged
	}
	var files []File
	for rest != "" {
		var f File
		var origin string
		var size int
		line, rest, _ = strings.Cut(rest, "\n")
		n, err := fmt.Sscanf(line, "file %s %s %d", &f.Name, &origin, &size)
		if err != nil || n != 3 || size < 0 || size >= len(rest) || rest[size] != '\n' || len(files) > maxPacks {
			return nil, errDamaged
		}
		f.Data, rest = []byte(rest[:size]), rest[size+1:]
		f.Embedded = origin == "embedded"
		files = append(files, f)
	}
	if len(files) == 0 || hashFiles(files) != hash {
		return nil, errDamaged
	}
	return files, nil
}

// readLastGood reads the last good copy. No files and no error: there is none.
func readLastGood(path string) ([]File, error) {
	data, err := readSafe(path, maxLastGood)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return decodeFiles(data)
}

// writeLastGood replaces the last good copy. A crash leaves the old one or the
// new one, never a part.
func writeLastGood(path string, files []File) error {
	data := encodeFiles(files)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil // saves a write to flash at each start
	}
	// One name, not a random one: what a crash leaves is overwritten.
	temp := path + ".new"
	if err := writeSync(temp, data); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync() // else the rename may not outlive a power cut
}

func writeSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
