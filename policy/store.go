package policy

import (
	"context"
	"sync/atomic"
	"time"
)

// StoreConfig says where the policy's files are.
type StoreConfig struct {
	Dir      string           // of policy.yaml and packs/; it need not exist
	LastGood string           // path of the last good copy (policy.last-good)
	Now      func() time.Time // nil: time.Now
	Quiet    time.Duration    // how long the folder must be still before it is read; zero: 250 ms
}

// Cause is why the files were read.
type Cause string

// The causes.
const (
	CauseStart  Cause = "start"  // OpenStore
	CauseFile   Cause = "file"   // the folder changed
	CauseReload Cause = "reload" // [Store.Reload]
)

// A Change is one reading of the files that told something new.
type Change struct {
	Cause   Cause
	Old     *Set     // in force before; nil: none
	New     *Set     // in force now; Old where the files are bad
	Err     error    // what is wrong with the files; nil: New is what they say
	Summary []string // what changed from Old to New, in words
}

// A Store keeps the policy in force and follows its files.
type Store struct {
	set atomic.Pointer[Set]
}

// OpenStore reads the files. It starts nothing. When they are bad, the last
// good copy serves ([Store.Err] tells); without one, the error holds the problems.
func OpenStore(c StoreConfig) (*Store, error) { return nil, nil }

// Set returns the policy in force. Call it once per request.
func (s *Store) Set() *Set { return s.set.Load() }

// Reload asks for the files to be read now. It does not wait.
func (s *Store) Reload() {}

// OnChange registers f to be called after every change, from one goroutine and
// after [Store.Set] returns the new set. Call it before [Store.Serve].
func (s *Store) OnChange(f func(Change)) {}

// Serve follows the files until ctx is done. It returns when all that it
// started is gone.
func (s *Store) Serve(ctx context.Context) error { return nil }

// Err returns what is wrong with the files and since when, while the last good
// policy is kept over them; nil when all is well.
func (s *Store) Err() (since time.Time, err error) { return time.Time{}, nil }
