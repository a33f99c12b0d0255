package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"
)

// A liveStore is a store that is served, with inotify.
type liveStore struct {
	*Store
	t    *testing.T
	root string // of all files
	dir  string // of the policy
	c    chan Change
	n    int // of policies that were made
}

// serve serves the store for as long as f runs.
func serve(t *testing.T, setup, f func(s *liveStore)) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	root := t.TempDir()
	s := &liveStore{t: t, root: root, dir: filepath.Join(root, "etc", "tillgate"), c: make(chan Change, 100)}
	must(t, os.MkdirAll(filepath.Join(root, "var"), 0o755))
	setup(s)
	var err error
	s.Store, err = OpenStore(StoreConfig{Dir: s.dir, LastGood: filepath.Join(root, "var", "policy.last-good"), Quiet: time.Millisecond})
	must(t, err)
	s.OnChange(func(c Change) { s.c <- c })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	// An answer means that the watch stands: it is armed before each reading.
	s.Reload()
	s.await("the first reading", func(c Change) bool { return c.Cause == CauseReload })
	f(s)
	cancel()
	must(t, <-done)
}

// await waits for a change that is wanted, past others: with so little quiet,
// the store may see what an editor does half done.
func (s *liveStore) await(what string, wanted func(Change) bool) {
	s.t.Helper()
	limit := time.After(slowPoll / 2) // before the poll would find it
	for {
		select {
		case c := <-s.c:
			if wanted(c) {
				return
			}
		case <-limit:
			_, err := s.Err()
			s.t.Fatalf("%s: nothing of it after half a minute; in force is %s, error %v", what, s.Set().ID(), err)
		}
	}
}

// fresh makes a policy that was not there before.
func (s *liveStore) fresh() (policy string, inForce func(Change) bool) {
	s.n++
	policy = small + strings.Repeat("#", s.n) + "\n"
	hash := mustCompile(s.t, policy).Hash()
	return policy, func(c Change) bool { return c.Err == nil && c.New.Hash() == hash }
}

// edits checks that an edit of the policy, in place, is seen.
func (s *liveStore) edits(path string) {
	s.t.Helper()
	policy, inForce := s.fresh()
	write(s.t, path, policy)
	s.await("an edit of "+path, inForce)
}

func isBad(c Change) bool { return c.Err != nil }

// Whatever happened to the folder, the edit after it is seen too.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(t *testing.T, s *liveStore)
	}{
		{"an edit in place", func(t *testing.T, s *liveStore) {}},
		{"an editor that renames", func(t *testing.T, s *liveStore) {
			for range 3 {
				policy, inForce := s.fresh()
				write(t, s.dir+"/.policy.yaml.swp", policy)
				must(t, os.Rename(s.dir+"/.policy.yaml.swp", s.dir+"/policy.yaml"))
				s.await("the rename", inForce)
			}
		}},
		{"an editor that keeps a backup", func(t *testing.T, s *liveStore) {
			policy, inForce := s.fresh()
			must(t, os.Rename(s.dir+"/policy.yaml", s.dir+"/policy.yaml~"))
			write(t, s.dir+"/policy.yaml", policy)
			s.await("the new file", inForce)
		}},
		{"a file half written", func(t *testing.T, s *liveStore) {
			policy, inForce := s.fresh()
			write(t, s.dir+"/policy.yaml", policy[:len(policy)/2])
			s.await("the half", isBad)
			write(t, s.dir+"/policy.yaml", policy)
			s.await("the whole", inForce)
		}},
		{"a file that vanishes", func(t *testing.T, s *liveStore) {
			must(t, os.Remove(s.dir+"/policy.yaml"))
			s.await("that it is gone", isBad)
		}},
		{"a mode that is not safe", func(t *testing.T, s *liveStore) {
			must(t, os.Chmod(s.dir+"/policy.yaml", 0o666))
			s.await("the mode", isBad)
			must(t, os.Chmod(s.dir+"/policy.yaml", 0o644))
			s.await("the mode as it was", func(c Change) bool { return c.Err == nil })
		}},
		{"the folder removed and put back", func(t *testing.T, s *liveStore) {
			policy, inForce := s.fresh()
			must(t, os.RemoveAll(s.dir))
			s.await("that it is gone", isBad)
			write(t, s.dir+"/policy.yaml", policy)
			s.await("that it is back", inForce)
		}},
		{"the folders above removed and put back", func(t *testing.T, s *liveStore) {
			policy, inForce := s.fresh()
			must(t, os.RemoveAll(filepath.Dir(s.dir)))
			s.await("that they are gone", isBad)
			write(t, s.dir+"/policy.yaml", policy)
			s.await("that they are back", inForce)
		}},
		{"another folder in its place", func(t *testing.T, s *liveStore) {
			policy, inForce := s.fresh()
			write(t, s.dir+".new/policy.yaml", policy)
			must(t, os.Rename(s.dir, s.dir+".old"))
			must(t, os.Rename(s.dir+".new", s.dir))
			s.await("the other folder", inForce)
		}},
		{"a volume of Kubernetes", func(t *testing.T, s *liveStore) {
			link := func(target string) {
				must(t, os.Symlink(target, s.dir+"/..data_tmp"))
				must(t, os.Rename(s.dir+"/..data_tmp", s.dir+"/..data"))
			}
			policy, inForce := s.fresh()
			write(t, s.dir+"/..1/policy.yaml", policy)
			link("..1")
			must(t, os.Remove(s.dir+"/policy.yaml"))
			must(t, os.Symlink("..data/policy.yaml", s.dir+"/policy.yaml"))
			s.await("the link", inForce)
			policy, inForce = s.fresh()
			write(t, s.dir+"/..2/policy.yaml", policy)
			link("..2")
			must(t, os.RemoveAll(s.dir+"/..1"))
			s.await("the other folder", inForce)
		}},
		{"a link to a file elsewhere", func(t *testing.T, s *liveStore) {
			elsewhere := s.root + "/elsewhere/mine.yaml"
			policy, inForce := s.fresh()
			write(t, elsewhere, policy)
			must(t, os.Remove(s.dir+"/policy.yaml"))
			must(t, os.Symlink(elsewhere, s.dir+"/policy.yaml"))
			s.await("the link", inForce)
			s.edits(elsewhere)
			policy, inForce = s.fresh()
			write(t, elsewhere+".new", policy)
			must(t, os.Rename(elsewhere+".new", elsewhere))
			s.await("a rename behind the link", inForce)
		}},
		{"a link for the folder", func(t *testing.T, s *liveStore) {
			must(t, os.RemoveAll(s.dir))
			s.await("that it is gone", isBad)
			for _, name := range []string{"/a", "/b"} {
				policy, inForce := s.fresh()
				write(t, s.root+name+"/policy.yaml", policy)
				must(t, os.Symlink(s.root+name, s.dir+".new"))
				must(t, os.Rename(s.dir+".new", s.dir))
				s.await("the link to "+name, inForce)
				s.edits(s.root + name + "/policy.yaml")
			}
		}},
		{"packs that come and go", func(t *testing.T, s *liveStore) {
			write(t, s.dir+"/packs/acme.yaml", "pack: acme")
			s.await("the half pack", isBad)
			write(t, s.dir+"/packs/acme.yaml", acme)
			s.await("the pack", func(c Change) bool { return c.Err == nil })
			write(t, s.dir+"/packs/acme.yaml", "")
			s.await("the emptied pack", isBad)
			must(t, os.RemoveAll(s.dir+"/packs"))
			s.await("no packs", func(c Change) bool { return c.Err == nil })
			write(t, s.dir+"/packs/acme.yaml", "")
			s.await("packs again", isBad)
			must(t, os.Remove(s.dir+"/packs/acme.yaml"))
			s.await("no pack", func(c Change) bool { return c.Err == nil })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve(t, func(s *liveStore) {
				write(t, s.dir+"/policy.yaml", small)
			}, func(s *liveStore) {
				tt.f(t, s)
				s.edits(s.dir + "/policy.yaml")
			})
		})
	}
}

func TestWatchFolderComesLater(t *testing.T) {
	serve(t, func(s *liveStore) {}, func(s *liveStore) {
		s.edits(s.dir + "/policy.yaml")
		s.edits(s.dir + "/policy.yaml")
	})
}

// Lost events are told as a change: what happened is not known.
func TestWatchOverflow(t *testing.T) {
	events, errs := make(chan fsnotify.Event), make(chan error)
	w := &watch{notify: &fsnotify.Watcher{Events: events, Errors: errs}, changed: make(chan struct{}, 1), done: make(chan struct{})}
	w.wants = places{"/etc": names{"tillgate": true}, "/etc/tillgate": nil}
	go w.run()
	isTold := func() bool {
		// The channel has no buffer: when it takes a second event, it is done with the first.
		events <- fsnotify.Event{Name: "/etc/passwd"}
		select {
		case <-w.changed:
			return true
		default:
			return false
		}
	}
	for _, tt := range []struct {
		name string
		want bool
	}{
		{"/etc/passwd", false},
		{"/etc/tillgate", true},
		{"/etc/tillgate/policy.yaml", true},
		{"/etc/tillgate/packs/acme.yaml", false}, // that folder is not watched
		{"/etc", true},
		{"/", false},
	} {
		events <- fsnotify.Event{Name: tt.name}
		if isTold() != tt.want {
			t.Errorf("an event at %s is told: %v", tt.name, !tt.want)
		}
	}
	errs <- fsnotify.ErrEventOverflow
	if !isTold() {
		t.Error("an overflow is not told")
	}
	close(events)
	<-w.done
}

func TestWithoutInotify(t *testing.T) {
	w := &watch{changed: make(chan struct{}, 1), done: make(chan struct{})}
	close(w.done)
	if w.Arm() {
		t.Error("a watch that is none says that it tells all")
	}
	w.Close()
}
