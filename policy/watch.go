package policy

import (
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// A watch follows the policy's folder by inotify: the folder and packs, the
// folder above for when it is put in place or taken away, and the folders
// that symlinks lead to.
//
// Folders are watched, not files: an editor that renames a new file over the
// old one would leave a watch on the old one.
type watch struct {
	dir     string
	notify  *fsnotify.Watcher // nil: there is none, then Arm says so
	changed chan struct{}
	done    chan struct{}

	mu    sync.Mutex
	wants places
}

// places are the folders to watch, with all links resolved.
type places map[string]names

// names are those within a folder that matter; nil: all do.
type names map[string]bool

func newWatch(dir string) *watch {
	w := &watch{dir: dir, changed: make(chan struct{}, 1), done: make(chan struct{})}
	notify, err := fsnotify.NewWatcher()
	if err != nil { // out of file descriptors or inotify instances
		close(w.done)
		return w
	}
	w.notify = notify
	go w.run()
	return w
}

// Close returns when all that newWatch started is gone.
func (w *watch) Close() {
	if w.notify != nil {
		w.notify.Close()
	}
	<-w.done
}

func (w *watch) Changed() <-chan struct{} { return w.changed }

// run turns events into a signal. It reads them even while the policy is
// compiled, else the kernel's queue would run full.
func (w *watch) run() {
	defer close(w.done)
	for {
		select {
		case event, ok := <-w.notify.Events:
			if !ok {
				return
			}
			if !w.matters(event.Name) {
				continue
			}
		case _, ok := <-w.notify.Errors: // events were lost: look again
			if !ok {
				return
			}
		}
		select {
		case w.changed <- struct{}{}:
		default: // told, and not looked at yet
		}
	}
}

// matters reports whether an event in a watched folder, or to it, is of interest.
func (w *watch) matters(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.wants[path]; ok {
		return true
	}
	names, ok := w.wants[filepath.Dir(path)]
	return ok && (names == nil || names[filepath.Base(path)])
}

// maxArm bounds how often Arm starts anew.
const maxArm = 5

// Arm watches the folders afresh: a folder that was moved away keeps its
// watch, though another may stand in its place. What came before the watch on
// its folder is not told, so it looks again whether all is still where it was.
func (w *watch) Arm() bool {
	if w.notify == nil {
		return false
	}
	wants := wanted(w.dir)
	for range maxArm {
		all := w.add(wants)
		now := wanted(w.dir)
		if maps.EqualFunc(wants, now, maps.Equal) {
			return all
		}
		wants = now
	}
	return false
}

// add watches these folders, and no others.
func (w *watch) add(wants places) (all bool) {
	w.mu.Lock()
	w.wants = wants
	w.mu.Unlock()
	for _, path := range w.notify.WatchList() {
		w.notify.Remove(path) // fails for one that is gone, as it should be
	}
	all = true
	for path := range wants {
		all = w.notify.Add(path) == nil && all
	}
	return all
}

// wanted lists the folders to watch for the policy of dir.
func wanted(dir string) places {
	wants := make(places)
	for _, folder := range []string{dir, filepath.Join(dir, packFolder)} {
		wants.add(folder)
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			wants[real] = nil
		}
	}
	files, _ := packFiles(filepath.Join(dir, packFolder))
	for _, file := range append(files, FileName) {
		wants.add(filepath.Join(dir, file))
	}
	return wants
}

// maxLinks bounds the symlinks that are followed from one to the next, as Linux
// does, and the folders above that do not exist.
const maxLinks = 40

// add asks for the place where path is or would be and, if it is a symlink,
// for the one that it leads to.
func (p places) add(path string) {
	for range maxLinks {
		folder, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil { // the nearest folder above that exists tells when this one does
			path = filepath.Dir(path)
			continue
		}
		if wanted, ok := p[folder]; !ok {
			p[folder] = names{filepath.Base(path): true}
		} else if wanted != nil {
			wanted[filepath.Base(path)] = true
		}
		target, err := os.Readlink(path)
		if err != nil {
			return
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(folder, target)
		}
		path = target
	}
}
