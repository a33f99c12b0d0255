package decision

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Config is what a [Journal] is opened with. Zero fields have the defaults
// that are given on them.
type Config struct {
	// Dir is the journal's folder. It is created (0750) where it is missing;
	// its parent must exist. Only one journal may have it open.
	Dir string

	// Sync is how long a record waits in memory before it is written and
	// flushed to the disk, and how long a repeat is counted in memory only.
	// A power cut loses no more than this time. Default 5s.
	Sync time.Duration

	// Keep is the age at which whole segments are deleted. Default 400 days.
	Keep time.Duration

	// MaxSize is how many bytes the folder may hold, counted in blocks of 4
	// KiB; it wins over Keep. At least 64 MiB; default 2 GiB.
	MaxSize int64

	// RepeatWindow is how long a decision's repeats are counted before they
	// are written as one record; those that were counted when Sync is over are
	// written then. Default 10s.
	RepeatWindow time.Duration

	// Now tells the best estimate of the time. Default [time.Now].
	Now func() time.Time

	// Trusted tells the time if it is good enough to delete by. Default: it
	// never is, so nothing is deleted by age.
	Trusted func() (time.Time, bool)

	// Coarse reports whether Now is good enough to be believed; if not,
	// records carry untrusted_time. Default: it always is.
	Coarse func() bool

	// PolicyID returns the first 12 hex digits of the hash of the policy in
	// force. Default: none.
	PolicyID func() string

	// Settle is called before counts are written, and each tenth of RepeatWindow: who
	// counts repeats himself gives them to [Journal.Repeats]. Default: nobody does.
	Settle func()

	// Log is the operator's log. Default: discarded.
	Log *slog.Logger

	// Boot names this run of the box in every record. Default: random.
	Boot string
}

// Bounds of what waits in memory, and of a record.
const (
	maxPending = 4 << 20   // bytes of lines that wait for the disk; further records are dropped and counted
	earlyFlush = 256 << 10 // bytes of lines that are not made to wait for Sync
	maxText    = 1024      // bytes of a string of a record; the rest is cut off
	maxDetail  = 4096      // of its detail
	maxAnswers = 64        // addresses of a record
	maxCNAME   = 8         // names of a record
	minMaxSize = 64 << 20  // of [Config.MaxSize]: some segments, or retention could keep none
)

// Journal writes records to a folder of sealed segments, and feeds those who
// follow it from memory. It is safe for use by many goroutines.
type Journal struct {
	cfg     Config
	disk    disk
	limits  limits
	repeats *repeats
	decided decided
	served  atomic.Bool
	early   chan struct{} // holds one: flush before Sync is over
	untidy  chan struct{} // holds one: a segment is full
	losing  chan struct{} // holds one: records begin to be lost

	open  openDigest // of the last segment
	heads heads

	writing sync.Mutex // held while writing; before mu
	writer  writer

	mu      sync.Mutex
	closed  bool
	began   uint64    // the last seq of the runs before; never changed
	seq     uint64    // the last given
	to      time.Time // the last trusted time of a record
	pending []byte    // lines that are not on the disk; only appended to while one writes
	written uint64    // seq; what is not greater is on the disk, or dropped
	active  uint64    // number of the last segment
	sealed  int64     // bytes of it that are on the disk for sure
	lost    loss      // since the last gap record
	feed    feed
	trouble trouble
	stats   Stats
}

// limits are the bounds that tests make small.
type limits struct {
	pending, segment, windows, clients int
}

// Open creates or recovers the journal in cfg.Dir. It starts nothing; records
// given before [Journal.Serve] runs wait in memory. A full or read-only disk
// is no error, damage is none; a folder that cannot be created or read is.
func Open(cfg Config) (*Journal, error) {
	return open(cfg, realDisk(), limits{maxPending, segmentSize, shardWindows, shardClients})
}

func open(cfg Config, d disk, l limits) (*Journal, error) {
	if cfg.Dir == "" || cfg.Sync < 0 || cfg.Keep < 0 || cfg.RepeatWindow < 0 {
		return nil, errors.New("opening the journal: it needs a folder, and durations that are not negative")
	}
	cfg.Sync = cmp.Or(cfg.Sync, 5*time.Second)
	cfg.Keep = cmp.Or(cfg.Keep, 400*24*time.Hour)
	cfg.RepeatWindow = cmp.Or(cfg.RepeatWindow, 10*time.Second)
	cfg.MaxSize = cmp.Or(cfg.MaxSize, 2<<30)
	if least := int64(l.segment) * (minMaxSize / segmentSize); cfg.MaxSize < least {
		return nil, fmt.Errorf("opening the journal: max_size is %d bytes; give it at least %d", cfg.MaxSize, least)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Trusted == nil {
		cfg.Trusted = func() (time.Time, bool) { return time.Time{}, false }
	}
	if cfg.Coarse == nil {
		cfg.Coarse = func() bool { return true }
	}
	if cfg.PolicyID == nil {
		cfg.PolicyID = func() string { return "" }
	}
	if cfg.Settle == nil {
		cfg.Settle = func() {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Boot == "" {
		var b [8]byte
		rand.Read(b[:])
		cfg.Boot = hex.EncodeToString(b[:])
	}
	cfg.Boot = cutText(cfg.Boot, maxText)

	if err := os.Mkdir(cfg.Dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("creating the journal: %w", err)
	}
	j := &Journal{cfg: cfg, disk: d, limits: l,
		early: make(chan struct{}, 1), untidy: make(chan struct{}, 1), losing: make(chan struct{}, 1)}
	j.repeats = newRepeats(cfg.RepeatWindow, l.windows, l.clients, j.emit)
	j.writer = writer{dir: cfg.Dir, disk: d, boot: cfg.Boot, full: l.segment}
	if err := j.clean(); err != nil {
		return nil, err
	}
	last, damage, err := j.writer.recover()
	if err != nil {
		return nil, err
	}
	if len(damage) > 0 {
		cfg.Log.Warn("the journal is damaged; see tillgate log verify", "places", len(damage), "first", damage[0])
	}
	j.began, j.seq, j.written, j.active, j.sealed = last, last, last, j.writer.number, maxSegment+1
	return j, nil
}

// clean removes what a crash left between two steps. A segment that is there
// plain and compressed was about to lose the plain file; that one is sure, so
// the other goes, and is made again. A read-only disk keeps both: no harm.
func (j *Journal) clean() error {
	entries, err := os.ReadDir(j.cfg.Dir)
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), plainExt+tmpExt) || strings.HasSuffix(e.Name(), packedExt+tmpExt) {
			j.disk.remove(filepath.Join(j.cfg.Dir, e.Name()))
		}
	}
	all, err := list(j.cfg.Dir)
	for _, l := range all {
		if l.plain && l.packed {
			j.disk.remove(filepath.Join(j.cfg.Dir, packedName(l.number)))
		}
	}
	return err
}

// Record takes a record. It never waits for the disk. A decision is written at
// once if it is the first of its [Key] in the window, else counted; so is the end of
// an exchange by HTTP. Any other event is always written. Time, if zero, Policy, if empty, Seq, Boot and
// UntrustedTime are filled in. Strings and lists too long for a line are cut.
//
// The journal keeps r and what it points to: no string in it may point into a
// buffer that is used again.
func (j *Journal) Record(r Record) {
	if r.Event == "" {
		j.decided.add(r.Plane, r.Verdict, r.Reason, r.attempts())
	}
	now := j.cfg.Now()
	if r.Time.IsZero() {
		r.Time = now
		r.UntrustedTime = !j.cfg.Coarse()
	}
	r.Policy = cmp.Or(r.Policy, j.cfg.PolicyID())
	r.cut()
	if !r.counted() {
		j.emit(r)
	} else if !j.repeats.record(r, now) {
		j.emit(r) // the journal is ending: in full, or dropped and counted
	}
}

// emit is put with the lock.
func (j *Journal) emit(r Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.put(r)
}

// put gives r its seq, lets it wait for the disk, or drops and counts it, and
// tells it to those who follow.
func (j *Journal) put(r Record) {
	if j.closed {
		j.stats.Dropped += r.attempts()
		return
	}
	j.seq++
	r.Seq, r.Boot = j.seq, j.cfg.Boot
	r.Time, r.Until = r.Time.Round(0).UTC(), r.Until.Round(0).UTC() // a record has no monotonic clock
	if end := r.end(); !r.UntrustedTime && end.After(j.to) {
		j.to = end
	}
	before := len(j.pending)
	j.pending = append(r.AppendJSON(j.pending), '\n')
	size := len(j.pending) - before
	if len(j.pending) > j.limits.pending {
		j.pending = j.pending[:before]
		j.lose(&r)
	} else {
		j.stats.Records++
	}
	if len(j.pending) >= earlyFlush {
		signal(j.early)
	}
	j.feed.push(&r, size)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// cut bounds what a record may hold, so that its line stays below maxLine.
func (r *Record) cut() {
	for _, s := range []*string{(*string)(&r.Event), &r.Class, &r.Name, &r.Qtype, &r.Rcode, &r.Service, &r.Rule, &r.Policy, &r.By} {
		*s = cutText(*s, maxText)
	}
	r.Detail = cutText(r.Detail, maxDetail)
	r.Answers = r.Answers[:min(len(r.Answers), maxAnswers)]
	if len(r.CNAME) > 0 {
		names := make([]string, min(len(r.CNAME), maxCNAME))
		for i := range names {
			names[i] = cutText(r.CNAME[i], maxText)
		}
		r.CNAME = names
	}
}

// cutText shortens s to at most limit bytes, and shows that it did.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const more = "…"
	end := limit - len(more)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}

// Boot returns the name of this run of the box.
func (j *Journal) Boot() string { return j.cfg.Boot }

// ReadOn returns the seq after which one reads on who was last told the record seq of a run.
// What an earlier run told, and had not on the disk when the power was cut, is lost, and this
// run has given its numbers again.
func (j *Journal) ReadOn(boot string, seq uint64) uint64 {
	if boot != j.cfg.Boot {
		return min(seq, j.began)
	}
	return seq
}

// Stats are the journal's numbers, counted since [Open] unless they say otherwise.
type Stats struct {
	Records      uint64    // written, or waiting to be
	Repeats      uint64    // attempts, and ends of exchanges, counted in the record of another
	Dropped      uint64    // attempts without a record, for want of memory or after the end
	BytesWritten uint64    // to segments, before compression
	Syncs        uint64    // batches sealed and flushed to the disk
	Pending      int       // bytes that wait to be written
	Ring         int       // records held for those who subscribe
	Subscribers  int       // now
	Windows      int       // repeat windows now open
	Segments     int       // in the folder, when it was last tidied
	Bytes        int64     // in the folder, when it was last tidied
	Oldest       time.Time // record in the folder, when it was last tidied; zero: not known
}

// Stats returns the journal's numbers.
func (j *Journal) Stats() Stats {
	counted, open := j.repeats.stats()
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Repeats, s.Windows = counted, open
	s.Pending, s.Ring, s.Subscribers = len(j.pending), len(j.feed.ring), len(j.feed.subs)
	return s
}
