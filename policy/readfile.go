package policy

import (
	"errors"
	"io/fs"
	"path/filepath"

	"tillgate/internal/strictyaml"
)

// ReadFile reads another file of the configuration folder by the rule of the
// policy's own: it is refused where others than root and the running user could
// change it. The error is a strictyaml.Problem, or fs.ErrNotExist.
func ReadFile(dir, name string) ([]byte, error) {
	data, err := readSafe(filepath.Join(dir, name), strictyaml.MaxSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fileProblem(name, err)
	}
	return data, err
}
