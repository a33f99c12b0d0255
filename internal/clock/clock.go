// Package clock is the box's one state of trust in time: what time it is, and
// how far that may be believed. Certificates, records, retention, rules that end
// and the NTP server all ask here.
//
// # Where the time comes from
//
// True time is an offset to CLOCK_MONOTONIC_RAW, which nobody steps or slews, and
// a drift of it. NTP answers ([Clock.Observe]) go through a filter for each server
// (filter.go), a selection that a minority of liars cannot move (select.go), and
// become an [Estimate] with a bound of its error that is meant to be true
// (estimate.go, drift.go). The system's clock is never set, and listened to only
// until something better is known.
//
// # How far it is believed
//
// A box without a clock battery wakes up in the past, cannot verify the
// certificate of its DNS server, so finds no time server, so stays in the past.
// The way out has three levels, and a floor: a time that is known to have passed.
//
//   - None: nothing is known. A chain is verified at the earliest time at which it
//     can be good that is not before the floor; such a proof is provisional.
//   - Coarse: enough to judge certificates. It is the system's clock if the
//     upstream's chain verifies at it, else the Date header of a reply on a
//     provisional connection (certificate.go).
//   - Fine: a quorum of NTP servers agrees, within [Config.MaxError], not before the
//     floor and inside the validity of the upstream's chain (trust.go).
//
// What remains, as NTP is not signed: who has the network can set the time to any
// within the validity of the upstream's chain that is not before the floor; who also
// keeps the upstream from being seen since the start, or has an old key of it, to any
// that is not before the floor.
package clock

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Level is how far the time may be believed.
type Level uint8

// The levels. Each includes the one before.
const (
	None   Level = iota // the clock is wrong, or nothing is known of it
	Coarse              // enough to judge certificates, so enough to resolve names
	Fine                // enough to serve, to end rules and to delete by age
)

var levelNames = [...]string{"none", "coarse", "fine"}

func (l Level) String() string { return levelNames[l] }

// release is a time before which no copy of this source existed.
var release = time.Date(2026, time.November, 22, 0, 0, 0, 0, time.UTC)

// Config is what a clock starts with.
type Config struct {
	Machine Machine
	// Built is when the program was built, part of the floor; zero: not known.
	Built time.Time
	// Saved is what the last run left; zero: nothing.
	Saved State
	// Servers is how many time servers (addresses) are configured; see [Clock.SetServers].
	Servers int
	// Quorum is how many of them must agree: all where fewer are configured. Zero: 3.
	Quorum int
	// MaxError is the bound of the error above which the time is not Fine. Zero: 1 s.
	MaxError time.Duration
}

// Clock tells the time. It is safe for use by many goroutines.
type Clock struct {
	machine  machine
	quorum   int
	maxError time.Duration
	built    time.Time
	believed bool // the system's clock is, by a clock of [System]

	now     atomic.Pointer[Estimate] // never nil
	servers atomic.Int64

	mu      sync.Mutex
	level   Level // last told
	why     string
	sources map[netip.Addr]*source
	drift   drift
	good    []SavedServer // on which the last estimate rests, else what was saved
	leaped  time.Time     // the last leap second
	doubts  int           // times in a row that the quorum was outside our bound
	seen    validity      // of the upstream's chain that was last believed; zero: none was
	claim   *Estimate     // of a quorum that a chain contradicts: neither is believed
	refusal string        // why the last quorum was not believed; empty: it was

	changes  []Change
	telling  bool
	onChange []func(Change)
	changed  chan struct{} // closed when the level changes
}

// New returns a clock of which nothing is known yet. The floor is the latest of the
// release, cfg.Built and the last trusted time of cfg.Saved.
func New(cfg Config) *Clock {
	c := &Clock{quorum: cfg.Quorum, maxError: cfg.MaxError,
		sources: make(map[netip.Addr]*source), changed: make(chan struct{})}
	if c.quorum == 0 {
		c.quorum = 3
	}
	if c.maxError == 0 {
		c.maxError = time.Second
	}
	floor := release
	for _, t := range []time.Time{cfg.Built, cfg.Saved.Trusted} {
		if t.After(floor) {
			floor = t.Round(0).UTC()
		}
	}
	c.built = cfg.Built
	c.machine.init(cfg.Machine)
	c.good = slices.Clone(cfg.Saved.Servers)
	c.drift.remember(cfg.Saved.Drift / million)
	c.SetServers(cfg.Servers)
	c.now.Store(&Estimate{base: c.machine.wall().Round(0).UTC(), raw: c.machine.raw(), floor: floor, Precision: precision})
	return c
}

// System returns a clock that believes the system's clock (wall; nil: the real one)
// unless it stands before the floor: for commands that run beside the box, and for
// tests of what asks a clock.
func System(wall func() time.Time, built time.Time) *Clock {
	c := New(Config{Machine: Machine{Wall: wall}, Built: built})
	c.believed = true
	return c
}

// SetServers says how many time servers there are to ask: addresses, but no fewer than
// names, so that the first name to be resolved is not alone a quorum. Without any,
// nothing better than Coarse can be had, and it counts as trusted; see [Clock.Trusted].
func (c *Clock) SetServers(n int) { c.servers.Store(int64(n)) }

// Raw is the time since the boot by a clock that is never stepped or slewed: what
// [Sample] and [Estimate] count in. It is a system call.
func (c *Clock) Raw() time.Duration { return c.machine.raw() }

// Wall is the system's clock, which others may step: for who must notice that.
func (c *Clock) Wall() time.Time { return c.machine.wall() }

// Now returns the best estimate of the time, whatever its level: the system's clock
// until something better is known. It is cheap.
//
// Differences of two of its results are those of the estimate, which may step: time
// spans are measured with [time.Now]. A result that is not the system's clock has no
// monotonic reading: Go has no time with one clock on the wall and another in it.
func (c *Clock) Now() time.Time { return c.nowBy(c.now.Load()) }

func (c *Clock) nowBy(e *Estimate) time.Time {
	if e.by > bySystem {
		return e.At(c.machine.cheap())
	}
	return c.machine.wall()
}

// At returns what the clock says now of a moment that [time.Now] returned.
func (c *Clock) At(moment time.Time) time.Time { return c.Now().Add(-time.Since(moment)) }

// Level returns how far [Clock.Now] may be believed at this moment.
func (c *Clock) Level() Level { return c.levelOf(c.now.Load()) }

func (c *Clock) levelOf(e *Estimate) Level {
	switch {
	case c.believed:
		if wall := c.machine.wall(); wall.Before(e.floor) {
			return None
		}
		return Fine
	case e.by == bySystem:
		// Whoever sets it may set it wrong.
		wall := c.machine.wall()
		if wall.Before(e.floor) || !e.within.holds(c.machine.cheap(), wall) {
			return None
		}
		return Coarse
	}
	return e.LevelAt(c.machine.cheap())
}

// Floor returns a time that is known to have passed.
func (c *Clock) Floor() time.Time { return c.now.Load().floor }

// Trusted returns the time for what may only be judged by trusted time, such as
// rules that end; it is the zero time below Fine, which ends nothing. Where there
// are no time servers to ask, Coarse has to do: rules must not hang for ever there.
func (c *Clock) Trusted() time.Time {
	need := Fine
	if c.servers.Load() == 0 {
		need = Coarse
	}
	e := c.now.Load()
	if c.levelOf(e) < need {
		return time.Time{}
	}
	return c.nowBy(e)
}

// Estimate returns the present estimate, never nil. It does not change.
func (c *Clock) Estimate() *Estimate { return c.now.Load() }
