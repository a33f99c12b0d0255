package decision

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"
)

// Config is what a [Journal] is opened with. Zero fields have the defaults
// that are given on them.
type Config struct {
	// Dir is the journal's folder. It is created (0750) where it is missing;
	// its parent must exist. Only one journal may have it open.
	Dir string

	// Sync is how long a record waits in memory before it is written and
	// flushed to the disk: what a power cut loses at most. Default 5s.
	Sync time.Duration

	// Keep is the age at which whole segments are deleted. Default 400 days.
	Keep time.Duration

	// MaxSize is how many bytes the folder may hold; it wins over Keep.
	// Default 2 GiB.
	MaxSize int64

	// RepeatWindow is how long a decision's repeats are counted before they
	// are written as one record. Default 10s.
	RepeatWindow time.Duration

	// Now tells the best estimate of the time. Default [time.Now].
	Now func() time.Time

	// Trusted tells the time if it is good enough to delete by; without it
	// nothing is deleted by age.
	Trusted func() (time.Time, bool)

	// Coarse reports whether Now is good enough to be believed; if not,
	// records carry untrusted_time. Default: it always is.
	Coarse func() bool

	// PolicyID returns the first 12 hex digits of the hash of the policy in
	// force. Default: none.
	PolicyID func() string

	// Log is the operator's log. Default: discarded.
	Log *slog.Logger

	// Boot names this run of the box in every record. Default: random.
	Boot string
}

// Journal writes records to a folder of sealed segments, and feeds those who
// follow it from memory. It is safe for use by many goroutines.
type Journal struct{ cfg Config }

// Open creates or recovers the journal in cfg.Dir. It starts nothing; records
// given before [Journal.Serve] runs wait in memory. A full or read-only disk is
// no error here, a folder that cannot be read is.
func Open(cfg Config) (*Journal, error) { return &Journal{cfg}, nil }

// Serve writes what is recorded until ctx ends, then ends all repeat windows,
// writes and seals the rest, and returns when nothing that it started is left.
// The error is non-nil when records could not be written to the end. It may be
// called once.
func (j *Journal) Serve(ctx context.Context) error { <-ctx.Done(); return nil }

// Record takes a record. It never waits for the disk. An event is always
// written; a decision is written at once if it is the first of its [Key] in the
// window, else counted. The journal keeps r and what it points to, so no string
// in it may point into a buffer that is used again.
func (j *Journal) Record(r Record) {}

// Repeat counts an attempt as a repeat and reports true if k's window is open.
// If not, nothing was counted: the caller gives the full [Journal.Record].
// k.Name may point into a buffer that is used again. Repeat allocates nothing.
func (j *Journal) Repeat(k Key) bool { return false }

// Read yields the records that match q, oldest first: those on the disk and
// those that still wait in memory, as of the call. Damage is yielded as a
// [*Damage] error, after which reading goes on; any other error is the last.
func (j *Journal) Read(q Query) iter.Seq2[Record, error] { return Read(j.cfg.Dir, q) }

// Health tells whether records reach the disk and are kept long enough.
func (j *Journal) Health() Health { return Health{Part: "journal"} }

// Boot returns the name of this run of the box.
func (j *Journal) Boot() string { return j.cfg.Boot }

// Stats returns the journal's numbers.
func (j *Journal) Stats() Stats { return Stats{} }

// Stats are the journal's numbers, counted since [Open] unless they say otherwise.
type Stats struct {
	Records      uint64    // written or waiting to be
	Repeats      uint64    // attempts counted without a record of their own
	Dropped      uint64    // attempts that no record on the disk stands for, but a gap record counts
	BytesWritten uint64    // to segments, before compression
	Syncs        uint64    // batches sealed and flushed
	Pending      int       // bytes that wait to be written
	Ring         int       // records held for those who follow
	Subscribers  int       // now
	Open         int       // repeat windows now open
	Segments     int       // in the folder, as of the last tidying
	Bytes        int64     // in the folder, as of the last tidying
	Oldest       time.Time // of the records in the folder; zero: not known
}

// ErrTooMany is returned to a subscriber beyond the number that the journal serves.
var ErrTooMany = errors.New("too many followers of the journal; close one of them")

// ErrClosed is returned by [Subscription.Next] after the last record, when
// either side has ended the subscription.
var ErrClosed = errors.New("the journal's feed has ended")

// Subscribe follows the journal: the last backlog records in memory that match
// q, then every further one as it is recorded. A subscriber that is too slow
// misses records, and gets a record of event gap in their place whose count
// says how many.
func (j *Journal) Subscribe(q Query, backlog int) (*Subscription, error) {
	return &Subscription{}, nil
}

// Subscription is one follower of the journal.
type Subscription struct{}

// Next waits for the next record. The error is ctx's or [ErrClosed].
func (s *Subscription) Next(ctx context.Context) (Record, error) {
	<-ctx.Done()
	return Record{}, ctx.Err()
}

// Close ends the subscription.
func (s *Subscription) Close() {}
