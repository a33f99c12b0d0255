package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A fakeWatcher tells what the test says.
type fakeWatcher struct {
	changed chan struct{}
	blind   bool // cannot watch
	armed   int
}

func (w *fakeWatcher) Changed() <-chan struct{} { return w.changed }
func (w *fakeWatcher) Arm() bool                { w.armed++; return !w.blind }

// A store under test, and what it told.
type storeTest struct {
	*Store
	t       *testing.T
	dir     string // of the policy
	state   string // of the last good copy
	watcher *fakeWatcher

	mu    sync.Mutex // a timer that fires orders nothing before it
	lines []string
}

// told is what the store told so far.
func (s *storeTest) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines
}

func newStoreTest(t *testing.T) *storeTest {
	root := t.TempDir()
	s := &storeTest{t: t, dir: filepath.Join(root, "etc"), state: filepath.Join(root, "var"), watcher: &fakeWatcher{changed: make(chan struct{})}}
	must(t, os.Mkdir(s.state, 0o750))
	return s
}

func (s *storeTest) lastGood() string { return filepath.Join(s.state, "policy.last-good") }

func (s *storeTest) write(name, data string) { write(s.t, filepath.Join(s.dir, name), data) }

// open opens the store; its error is in lines.
func (s *storeTest) open() []string {
	s.t.Helper()
	var err error
	s.Store, err = OpenStore(StoreConfig{Dir: s.dir, LastGood: s.lastGood()})
	if err != nil {
		return s.plain(lines(s.t, err))
	}
	s.OnChange(func(c Change) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, s.line(c))
	})
	return nil
}

// plain shows the test's folders as ETC and VAR.
func (s *storeTest) plain(lines []string) []string {
	for i := range lines {
		lines[i] = strings.NewReplacer(s.dir, "ETC", s.state, "VAR").Replace(lines[i])
	}
	return lines
}

// line is a change in one line.
func (s *storeTest) line(c Change) string {
	line := string(c.Cause) + ":"
	if c.Cause == CauseObserve {
		line += " " + c.Class + " by " + c.By + ":"
	}
	if c.Err != nil {
		if c.Old != c.New {
			line += " (the set changed)"
		}
		return line + " bad: " + strings.Join(s.plain(strings.Split(c.Err.Error(), "\n")), "; ")
	}
	if c.New != s.Set() {
		line += " (not in force)"
	}
	return line + " " + strings.Join(c.Summary, "; ")
}

// follow runs the store with the fake watcher while f runs, in a bubble.
func (s *storeTest) follow(f func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Store.follow(ctx, s.watcher)
	}()
	s.settle()
	f()
	cancel()
	<-done
}

// settle lets the folder be still for as long as it takes.
func (s *storeTest) settle() {
	time.Sleep(defaultQuiet)
	synctest.Wait()
}

// edit changes files, tells the store, and returns what the store tells of it.
func (s *storeTest) edit(change func()) []string {
	before := len(s.told())
	change()
	s.watcher.changed <- struct{}{}
	s.settle()
	return s.told()[before:]
}

func (s *storeTest) expect(got []string, want ...string) {
	s.t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("(-want +got):\n%s", diff)
	}
}

const (
	vanishedPolicy = `policy.yaml: the file has vanished (put it back; or, for the embedded one, stop the box and remove VAR/policy.last-good)`
	brokenPolicy   = `policy.yaml:1:1: missing key: "classes"; policy.yaml:2:1: unknown key: "clases" (did you mean "classes"?)`
	fewer          = `class pos: no more service local/a; service removed: local/a`
	more           = `class pos: now service local/a; service added: local/a, a.example tcp/443, reason test`
)

func TestOpenStore(t *testing.T) {
	embedded, err := Embedded()
	must(t, err)
	smallSet, smallerSet := mustCompile(t, small), mustCompile(t, smaller)
	payxpert, _ := embeddedPack("payxpert")
	withPayxpert := "version: 1\nclasses: {pos: {networks: [10.0.0.0/8]}}\n"
	for _, tt := range []struct {
		name  string
		setup func(s *storeTest)
		set   *Set     // in force; nil: the store does not open
		err   []string // of OpenStore, or of Err when there is a set
		told  []string
		keeps bool // there is a last good copy after it
	}{
		{name: "no files and never were any", setup: func(s *storeTest) {}, set: embedded},
		{name: "a policy", setup: func(s *storeTest) {
			s.write("policy.yaml", small)
		}, set: smallSet, keeps: true},
		{name: "a bad policy and no last good one", setup: func(s *storeTest) {
			s.write("policy.yaml", broken)
		}, err: strings.Split(brokenPolicy, "; ")},
		{name: "a bad policy and a last good one", setup: func(s *storeTest) {
			must(s.t, writeLastGood(s.lastGood(), smallSet.files))
			s.write("policy.yaml", broken)
		}, set: smallSet, err: strings.Split(brokenPolicy, "; "), told: []string{"start: bad: " + brokenPolicy}, keeps: true},
		{name: "changed while the box was down", setup: func(s *storeTest) {
			must(s.t, writeLastGood(s.lastGood(), smallSet.files))
			s.write("policy.yaml", smaller)
		}, set: smallerSet, told: []string{"start: " + fewer}, keeps: true},
		{name: "as it was", setup: func(s *storeTest) {
			must(s.t, writeLastGood(s.lastGood(), smallSet.files))
			s.write("policy.yaml", small)
		}, set: smallSet, keeps: true},
		{name: "the policy vanished", setup: func(s *storeTest) {
			must(s.t, writeLastGood(s.lastGood(), smallSet.files))
		}, set: smallSet, err: []string{vanishedPolicy}, told: []string{"start: bad: " + vanishedPolicy}, keeps: true},
		{name: "a pack vanished that has an embedded one", setup: func(s *storeTest) {
			must(s.t, writeLastGood(s.lastGood(), []File{{Name: FileName, Data: []byte(withPayxpert)}, {Name: payxpert.Name, Data: payxpert.Data}}))
			s.write("policy.yaml", withPayxpert)
		}, set: mustCompile(t, withPayxpert), err: []string{strings.Replace(vanishedPolicy, "policy.yaml", "packs/payxpert.yaml", 1)},
			told: []string{"start: bad: " + strings.Replace(vanishedPolicy, "policy.yaml", "packs/payxpert.yaml", 1)}, keeps: true},
		{name: "a damaged copy, and a good policy", setup: func(s *storeTest) {
			must(s.t, os.WriteFile(s.lastGood(), []byte("x"), 0o640))
			s.write("policy.yaml", small)
		}, set: smallSet, keeps: true},
		{name: "a damaged copy, and no policy", setup: func(s *storeTest) {
			must(s.t, os.WriteFile(s.lastGood(), []byte("x"), 0o640))
		}, err: []string{"VAR/policy.last-good: the copy is damaged", vanishedPolicy}},
		{name: "a copy that others may write, and a bad policy", setup: func(s *storeTest) {
			must(s.t, writeLastGood(s.lastGood(), smallSet.files))
			must(s.t, os.Chmod(s.lastGood(), 0o666))
			s.write("policy.yaml", broken)
		}, err: append([]string{"VAR/policy.last-good: others may write it (chmod go-w VAR/policy.last-good)"}, strings.Split(brokenPolicy, "; ")...)},
		{name: "a copy that is no policy now, and a bad one", setup: func(s *storeTest) {
			must(s.t, writeLastGood(s.lastGood(), []File{{Name: FileName, Data: []byte("version: 0\n")}}))
			s.write("policy.yaml", "version: 1\n")
		}, err: []string{"VAR/policy.last-good: this version does not take the copy", `policy.yaml:1:1: missing key: "classes"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStoreTest(t)
				tt.setup(s)
				if err := s.open(); tt.set == nil {
					s.expect(err, tt.err...)
					return
				} else if err != nil {
					t.Fatalf("%q", err)
				}
				if s.Set().Hash() != tt.set.Hash() {
					t.Errorf("the set in force is %s, want %s", s.Set().ID(), tt.set.ID())
				}
				since, err := s.Err()
				s.expect(s.plain(lines(t, err)), tt.err...)
				if since.IsZero() != (err == nil) {
					t.Errorf("%v since %v", err, since)
				}
				s.follow(func() {})
				s.expect(s.told(), tt.told...)
				if _, err := os.Stat(s.lastGood()); (err == nil) != tt.keeps {
					t.Errorf("last good copy: %v, want it %v", err, tt.keeps)
				}
			})
		})
	}
}

func TestStoreFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.expect(s.open())
		s.follow(func() {
			embedded := s.Set().ID()
			s.expect(s.edit(func() {})) // nothing changed, so nothing is told

			// A policy comes where there was none.
			first := s.edit(func() { s.write("policy.yaml", small) })
			if len(first) != 1 || !strings.HasPrefix(first[0], "file: pack removed: payxpert; class added: pos, mode enforce") {
				t.Errorf("%q", first)
			}
			if s.Set().ID() == embedded {
				t.Error("the embedded policy is still in force")
			}

			// Bad edits keep it; what is wrong is told once for each edit.
			good := s.Set()
			start := time.Now()
			s.expect(s.edit(func() { s.write("policy.yaml", broken) }), "file: bad: "+brokenPolicy)
			since, err := s.Err()
			if err == nil || since.Before(start) {
				t.Errorf("Err %v, since %v", err, since)
			}
			s.expect(s.edit(func() {}))
			s.expect(s.edit(func() { s.write("packs/acme.yaml", "") }),
				"file: bad: packs/acme.yaml:1:1: missing key: \"pack\"; packs/acme.yaml:1:1: missing key: \"title\"; "+
					"packs/acme.yaml:1:1: missing key: \"source\"; packs/acme.yaml:1:1: missing key: \"services\"; "+brokenPolicy)
			if later, _ := s.Err(); later != since {
				t.Errorf("bad since %v, then since %v", since, later)
			}
			s.expect(s.edit(func() { must(t, os.RemoveAll(s.dir)) }), "file: bad: "+vanishedPolicy)
			if s.Set() != good {
				t.Error("the last good set is not kept")
			}

			// Back as it was: that is told too.
			s.expect(s.edit(func() { s.write("policy.yaml", small) }), "file: nothing changed")
			if s.Set().Hash() != good.Hash() {
				t.Error("the set changed, though the files did not")
			}
			if since, err := s.Err(); err != nil || !since.IsZero() {
				t.Errorf("still bad: %v since %v", err, since)
			}

			s.expect(s.edit(func() { s.write("policy.yaml", smaller) }), "file: "+fewer)
			s.expect(s.edit(func() { s.write("policy.yaml", smaller+"# comment\n") }), "file: no rule changed: comments, order or spelling")

			// A pack that is not listed is none of the policy.
			s.expect(s.edit(func() { s.write("packs/acme.yaml", acme) }))
			s.expect(s.edit(func() { s.write("policy.yaml", strings.Replace(small, "[]", "[acme]", 1)) }),
				"file: pack added: acme, from the folder, source acme.txt, title Acme; class pos: now service local/a; "+
					"service added: acme/api, api.acme.example tcp/443, purpose pays, requirement required, title API; "+
					"service added: local/a, a.example tcp/443, reason test")
			s.expect(s.edit(func() { must(t, os.Remove(s.dir+"/packs/acme.yaml")) }),
				`file: bad: policy.yaml:2:9: no such pack: "acme" (its file would be packs/acme.yaml)`)
		})

		// And at the next start the last good policy is there, with its pack.
		s.lines = nil
		s.expect(s.open())
		if d := s.Set().Packs(); len(d) != 1 || d[0].Name != "acme" {
			t.Errorf("packs %v", d)
		}
		s.follow(func() {
			s.expect(s.told(), `start: bad: policy.yaml:2:9: no such pack: "acme" (its file would be packs/acme.yaml)`)
			s.expect(s.edit(func() { s.write("policy.yaml", small) }),
				"file: pack removed: acme; service removed: acme/api")
		})
	})
}

// The embedded policy as a file of one's own is a file that can vanish.
func TestStoreOwnCopyOfTheDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.expect(s.open())
		s.follow(func() {
			s.expect(s.edit(func() { s.write("policy.yaml", string(embeddedPolicy().Data)) }))
			s.expect(s.edit(func() { must(t, os.Remove(s.dir+"/policy.yaml")) }), "file: bad: "+vanishedPolicy)
		})
	})
}

// A folder that does not come to rest is read only when it has.
func TestStoreWaitsForQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.write("policy.yaml", small)
		s.expect(s.open())
		s.follow(func() {
			for _, data := range []string{"version: 1", broken, "", smaller[:20], smaller} {
				s.write("policy.yaml", data)
				s.watcher.changed <- struct{}{}
				time.Sleep(defaultQuiet - 1)
				synctest.Wait()
				s.expect(s.told())
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			s.expect(s.told(), "file: "+fewer)
		})
	})
}

// What the watch does not tell is found all the same, sooner when there is none.
func TestStorePolls(t *testing.T) {
	for blind, within := range map[bool]time.Duration{false: slowPoll, true: fastPoll} {
		synctest.Test(t, func(t *testing.T) {
			s := newStoreTest(t)
			s.write("policy.yaml", small)
			s.watcher.blind = blind
			s.expect(s.open())
			s.follow(func() {
				s.write("policy.yaml", smaller)
				time.Sleep(within - defaultQuiet - 1)
				synctest.Wait()
				s.expect(s.told())
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				s.expect(s.told(), "file: "+fewer)
				if s.watcher.armed != 2 {
					t.Errorf("armed %d times, want before each of 2 readings", s.watcher.armed)
				}
			})
		})
	}
}

func TestStoreReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.write("policy.yaml", small)
		s.expect(s.open())
		for range 3 {
			s.Reload() // before it is served: kept, and it does not wait
		}
		s.follow(func() {
			s.expect(s.told(), "reload: nothing changed")
			s.write("policy.yaml", smaller)
			s.Reload()
			synctest.Wait() // at once, without quiet
			s.expect(s.told()[1:], "reload: "+fewer)
			s.write("policy.yaml", broken)
			s.Reload()
			synctest.Wait()
			s.Reload()
			synctest.Wait()
			s.expect(s.told()[2:], "reload: bad: "+brokenPolicy, "reload: bad: "+brokenPolicy)
		})
	})
}

// A disk that takes no copy does not keep a good policy from being in force.
func TestStoreCannotKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStoreTest(t)
		s.write("policy.yaml", small)
		must(t, os.Mkdir(s.lastGood()+".new", 0o755)) // in the way of the copy
		s.expect(s.open())
		s.follow(func() {
			_, err := s.Err()
			if err == nil || !strings.HasPrefix(err.Error(), "writing the last good copy, which would serve if the policy were bad at the next start: open ") {
				t.Errorf("Err %v", err)
			}
			must(t, os.Remove(s.lastGood()+".new"))
			time.Sleep(slowPoll) // tried again, though no file changed
			synctest.Wait()
			if _, err := s.Err(); err != nil {
				t.Errorf("Err %v", err)
			}
			s.expect(s.told())
			if files, err := readLastGood(s.lastGood()); err != nil || len(files) != 1 {
				t.Errorf("the copy: %v, %v", files, err)
			}
		})
	})
}
