package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"tillgate/internal/strictyaml"
)

// Load reads and compiles the policy of a folder. Where the folder, its
// policy.yaml or a pack does not exist, the embedded one serves. The error
// holds all problems of all files, as strictyaml.Problems.
func Load(dir string) (*Set, error) {
	set, _, problems := load(dir)
	return set, problems.Err()
}

// load also returns what was read. The set is nil where there are problems.
func load(dir string) (*Set, []File, strictyaml.Problems) {
	files, problems := readFolder(dir)
	set, err := Compile(files)
	var more strictyaml.Problems
	if errors.As(err, &more) {
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return nil, files, problems
	}
	return set, files, nil
}

// maxPackFiles bounds what is read of a folder: the packs, and as many that
// are not listed.
const maxPackFiles = 2 * maxPacks

// readFolder reads policy.yaml and packs/*.yaml, as far as they exist. Hidden
// files and what editors leave (#x.yaml#, x.yaml~) are passed over. What is not
// safe is read all the same, so that all its problems are told at once.
func readFolder(dir string) (files []File, problems strictyaml.Problems) {
	// note adds a problem, and reports whether there is something to read.
	note := func(name string, err error) bool {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, fileProblem(name, err))
		}
		return err == nil || errors.As(err, new(unsafeError))
	}
	if !note(dir, checkFolder(dir)) {
		return nil, problems
	}
	var names []string
	if packs := filepath.Join(dir, packFolder); note(packFolder, checkFolder(packs)) {
		list, err := packFiles(packs)
		note(packFolder, err)
		names = list
	}
	for _, name := range append(names, FileName) {
		data, err := readSafe(filepath.Join(dir, name), strictyaml.MaxSize)
		if note(name, err) {
			files = append(files, File{Name: name, Data: data})
		}
	}
	return files, problems
}

// ReadFile reads another file of the configuration folder by the rule of the
// policy's own: it is refused where others than root and the running user could
// change it. The error is a strictyaml.Problem, or fs.ErrNotExist.
func ReadFile(dir, name string) ([]byte, error) {
	data, err := readSafe(filepath.Join(dir, name), strictyaml.MaxSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, fileProblem(name, err)
	}
	return data, nil
}

// packFiles lists the files of packs, sorted.
func packFiles(packs string) ([]string, error) {
	entries, err := os.ReadDir(packs)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".yaml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, packFolder+"/"+e.Name())
		}
	}
	if len(names) > maxPackFiles {
		return names[:maxPackFiles], fmt.Errorf("more than %d pack files", maxPackFiles)
	}
	return names, nil
}

// An unsafeError is a file or folder that is not to be trusted, with what to
// do about it.
type unsafeError struct{ what, hint string }

func (e unsafeError) Error() string { return e.what }

// fileProblem is the problem of a file as a whole.
func fileProblem(name string, err error) strictyaml.Problem {
	p := strictyaml.Problem{File: name, Message: err.Error()}
	var unsafe unsafeError
	var path *fs.PathError
	switch {
	case errors.As(err, &unsafe):
		p.Hint = unsafe.hint
	case errors.As(err, &path): // the problem names the file already
		p.Message = path.Err.Error()
	}
	return p
}

// checkFolder reports a folder that cannot be trusted.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return dangling(dir, err)
	case !info.IsDir():
		return errors.New("not a folder")
	}
	return checkOwner(dir, info, os.Geteuid())
}

// readSafe reads a file of at most max bytes. The error is an unsafeError, beside
// the data, when others than root and the running user could change it. Of a
// symlink, the file that it leads to is judged.
func readSafe(path string, max int64) ([]byte, error) {
	// Opening a pipe would wait for its other end, were it not for O_NONBLOCK.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, dangling(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > max:
		return nil, fmt.Errorf("larger than %d KiB", max>>10)
	}
	// One byte more, so that a file that grew meanwhile is too large, not cut.
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	return data, checkOwner(path, info, os.Geteuid())
}

// dangling tells a symlink that leads nowhere from a file that is not there.
func dangling(path string, err error) error {
	if _, lerr := os.Lstat(path); lerr == nil && errors.Is(err, fs.ErrNotExist) {
		return errors.New("a symlink that leads nowhere")
	}
	return err
}

// checkOwner reports what others than root and the running user could change.
func checkOwner(path string, info fs.FileInfo, self int) error {
	const groupWrite, otherWrite = 0o020, 0o002
	mode := info.Mode().Perm()
	who := ""
	switch {
	case mode&otherWrite != 0:
		who = "others"
	case mode&groupWrite != 0:
		who = "its group"
	}
	if who != "" {
		return unsafeError{who + " may write it", "chmod go-w " + shellQuote(path)}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != self {
		return unsafeError{"it belongs to user " + strconv.Itoa(int(st.Uid)) + ", who could change it",
			"chown root " + shellQuote(path)}
	}
	return nil
}

// shellQuote makes a path fit to be typed.
func shellQuote(path string) string {
	if !slices.ContainsFunc([]rune(path), func(r rune) bool {
		return !strings.ContainsRune("/.,:-_+@", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
