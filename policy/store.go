package policy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tillgate/internal/strictyaml"
)

// StoreConfig says where the policy's files are.
type StoreConfig struct {
	Dir      string           // of policy.yaml and packs/; it need not exist; empty: the embedded policy serves
	LastGood string           // path of the last good copy, in a folder that exists and is this store's alone; empty: none is kept
	Now      func() time.Time // for Err and Observe; nil: time.Now
	Quiet    time.Duration    // how long the folder must be still before it is read; zero: 250 ms
}

// Cause is why the policy may be another.
type Cause string

// The causes.
const (
	CauseStart   Cause = "start"   // [OpenStore]
	CauseFile    Cause = "file"    // the folder changed
	CauseReload  Cause = "reload"  // [Store.Reload]
	CauseObserve Cause = "observe" // [Store.Observe], or the end of what it began
)

// A Change is one reading of the files that told something new or was asked for, or
// the beginning or end of an observation.
type Change struct {
	Cause   Cause
	By      string   // who asked for an observation or ended it; empty for other causes
	Class   string   // that an observation is of
	Old     *Set     // in force before; at the start that of the run before, nil where not known
	New     *Set     // in force now
	Err     error    // what is wrong with the files (strictyaml.Problems); New is the last good set then
	Summary []string // what changed from Old to New, in words
}

// A Store keeps the policy in force and follows its files.
//
// The embedded defaults serve where there is no file and never was one, which
// is: no last good copy either. A file that was in force and has vanished is a
// bad edit, also when an embedded one could take its place. A bad edit, of any
// file, changes nothing but [Store.Err].
type Store struct {
	config  StoreConfig
	set     atomic.Pointer[Set] // in force: that of the files, with what is observed
	reload  chan struct{}
	asked   chan asked
	served  chan struct{} // closed when Serve has returned
	changed []func(Change)

	mu       sync.Mutex
	err      error // see Err
	since    time.Time
	observed []Observation // only written by the goroutine in Serve

	// Of the goroutine in Serve, and OpenStore before.
	files   *Set     // what they say, when last good
	opening *Change  // that Serve tells first; nil: nothing to tell
	seen    [32]byte // what the files were when last read
	bad     bool     // they were bad then
}

const defaultQuiet = 250 * time.Millisecond

// OpenStore reads the files. It starts nothing. When they are bad, the last
// good copy serves ([Store.Err] tells); when there is none, the error holds
// the problems.
func OpenStore(c StoreConfig) (*Store, error) {
	if dir, err := filepath.Abs(c.Dir); err == nil && c.Dir != "" { // a change of the working directory moves nothing
		c.Dir = dir
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Quiet == 0 {
		c.Quiet = defaultQuiet
	}
	s := &Store{config: c, reload: make(chan struct{}, 1), asked: make(chan asked), served: make(chan struct{})}
	last, lastErr := s.openLastGood()
	set, problems := s.read(last, lastErr != nil)
	if len(problems) > 0 {
		if lastErr != nil {
			problems = append(problems, fileProblem(c.LastGood, lastErr))
		}
		if last == nil {
			return nil, problems.Err()
		}
		s.enact(last)
		s.bad = true
		s.setErr(problems.Err())
		s.opening = &Change{Cause: CauseStart, Old: last, New: last, Err: problems.Err()}
		return s, nil
	}
	s.enact(set)
	s.setErr(s.keep(set))
	if last != nil && last.hash != set.hash {
		s.opening = &Change{Cause: CauseStart, Old: last, New: set, Summary: summarize(last, set)}
	}
	return s, nil
}

// errOldCopy hides what is wrong with the copy: it is not what is to be fixed.
var errOldCopy = errors.New("this version does not take the copy")

// openLastGood returns the set of the last good copy; nil where there is none.
func (s *Store) openLastGood() (*Set, error) {
	files, err := readLastGood(s.config.LastGood)
	if err != nil || files == nil {
		return nil, err
	}
	set, err := Compile(files)
	if err != nil {
		return nil, errOldCopy
	}
	return set, nil
}

// read reads and compiles the files; good is what they must not lose a file
// of, and lost says that there was such a set, but not which.
func (s *Store) read(good *Set, lost bool) (*Set, strictyaml.Problems) {
	set, files, problems := load(s.config.Dir)
	s.seen = fingerprint(files, problems)
	hint := "put it back; or, for the embedded one, stop the box and remove " + s.config.LastGood
	vanished := func(name string) {
		problems = append(problems, strictyaml.Problem{File: name, Message: "the file has vanished", Hint: hint})
	}
	isPolicy := func(f File) bool { return f.Name == FileName && !f.Embedded }
	if !slices.ContainsFunc(files, isPolicy) && (lost || good != nil && slices.ContainsFunc(good.files, isPolicy)) {
		vanished(FileName)
	} else if set != nil && good != nil {
		for _, f := range set.files {
			if f.Embedded && slices.ContainsFunc(good.files, func(g File) bool { return g.Name == f.Name && !g.Embedded }) {
				vanished(f.Name)
			}
		}
	}
	return set, problems
}

// fingerprint tells one state of the folder from another.
func fingerprint(files []File, problems strictyaml.Problems) [32]byte {
	return sha256.Sum256([]byte(hashFiles(files) + problems.Error()))
}

// keep writes the last good copy of a set, unless it is all embedded: that
// there is a copy means that there were files.
func (s *Store) keep(set *Set) error {
	if s.config.LastGood == "" || !slices.ContainsFunc(set.files, func(f File) bool { return !f.Embedded }) {
		return nil
	}
	if err := writeLastGood(s.config.LastGood, set.files); err != nil {
		return fmt.Errorf("writing the last good copy, which would serve if the policy were bad at the next start: %w", err)
	}
	return nil
}

// enact puts in force what the files say, and what is observed of it.
func (s *Store) enact(files *Set) {
	s.files = files
	s.set.Store(files.observe(s.observed))
}

// Set returns the policy in force. Call it once per request.
func (s *Store) Set() *Set { return s.set.Load() }

// Reload asks for the files to be read now. It does not wait.
func (s *Store) Reload() {
	select {
	case s.reload <- struct{}{}:
	default: // one is asked for already
	}
}

// OnChange registers f to be called after every change, from one goroutine,
// after [Store.Set] returns the new set. Call it before [Store.Serve].
func (s *Store) OnChange(f func(Change)) { s.changed = append(s.changed, f) }

// Err returns what is wrong with the files while the last good policy is kept
// over them (strictyaml.Problems), or with writing the last good copy, and
// since when; nil when all is well.
func (s *Store) Err() (since time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since, s.err
}

func (s *Store) setErr(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.since = time.Time{}
	case s.err == nil:
		s.since = s.config.Now()
	}
	s.err = err
}

// A watcher tells when the folder may have changed.
type watcher interface {
	// Arm looks again where the files are, so that what changes from then on is
	// told; false if it cannot tell all.
	Arm() bool
	Changed() <-chan struct{}
}

// A stillWatcher is for no folder at all.
type stillWatcher struct{}

func (stillWatcher) Arm() bool                { return true }
func (stillWatcher) Changed() <-chan struct{} { return nil }

// Without a watch the folder is read every fastPoll. With one, slowPoll is for
// what a watch cannot see: a link of a chain of them that is changed outside.
const (
	fastPoll = 2 * time.Second
	slowPoll = time.Minute
)

// Serve follows the files until ctx is done, and ends observations. It returns when
// all that it started is gone; what is observed then stays so. It is called once.
func (s *Store) Serve(ctx context.Context) error {
	defer close(s.served)
	if s.config.Dir == "" {
		s.follow(ctx, stillWatcher{})
		return nil
	}
	w := newWatch(s.config.Dir)
	defer w.Close()
	s.follow(ctx, w)
	return nil
}

// follow reads the files when w says so, when asked, and now and then.
func (s *Store) follow(ctx context.Context, w watcher) {
	if s.opening != nil {
		s.tell(*s.opening)
		s.opening = nil
	}
	quiet, poll := time.NewTimer(0), time.NewTimer(slowPoll) // what changed since OpenStore is read at once
	over := time.NewTimer(slowPoll)
	defer quiet.Stop()
	defer poll.Stop()
	defer over.Stop()
	for {
		cause := CauseFile
		if next := s.endOver(); next > 0 {
			over.Reset(next)
		}
		select {
		case <-ctx.Done():
			return
		case a := <-s.asked:
			o, err := s.answer(a.ObserveRequest)
			a.answer <- answered{o, err}
			continue
		case <-over.C:
			continue
		case <-w.Changed():
			quiet.Reset(s.config.Quiet)
			continue
		case <-s.reload:
			cause = CauseReload
		case <-quiet.C:
		case <-poll.C:
		}
		// Armed first: a change is told, or in what is read now, or both.
		next := fastPoll
		if w.Arm() {
			next = slowPoll
		}
		poll.Reset(next)
		s.update(cause)
	}
}

// update reads the files, and puts in force what they say if that is good.
func (s *Store) update(cause Cause) {
	old, files, seen := s.set.Load(), s.files, s.seen
	set, problems := s.read(files, false)
	if s.seen == seen && cause != CauseReload {
		if _, err := s.Err(); err != nil && !s.bad {
			s.setErr(s.keep(files)) // the disk may take the copy now
		}
		return
	}
	if len(problems) > 0 {
		s.bad = true
		s.setErr(problems.Err())
		s.tell(Change{Cause: cause, Old: old, New: old, Err: problems.Err()})
		return
	}
	wasBad := s.bad
	s.bad = false
	s.enact(set)
	s.setErr(s.keep(set))
	switch {
	case set.hash != files.hash:
		s.tell(Change{Cause: cause, Old: old, New: s.set.Load(), Summary: summarize(files, set)})
	case wasBad || cause == CauseReload:
		s.tell(Change{Cause: cause, Old: old, New: s.set.Load(), Summary: []string{"nothing changed"}})
	}
	s.endVanished(cause)
}

func (s *Store) tell(c Change) {
	for _, f := range s.changed {
		f(c)
	}
}
