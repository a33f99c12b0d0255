package clock

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Machine is the clocks that the machine has. A nil field is the real one.
type Machine struct {
	// Raw is the time since the boot by an oscillator that nobody touches
	// (CLOCK_MONOTONIC_RAW): it is never stepped and never slewed, so it is wrong
	// by its own drift alone. It stands still while the machine is suspended.
	Raw func() time.Duration
	// Wall is the system's clock, which others may step. It is never set here.
	Wall func() time.Time
}

// anchorEvery is how long [machine.cheap] goes by Go's monotonic clock. That one is
// slewed by who disciplines the system's clock, usually by less than 500 ppm.
const anchorEvery = time.Second

// machine reads the clocks.
type machine struct {
	raw  func() time.Duration
	wall func() time.Time

	goClock  bool      // Go's monotonic clock and raw are of the same machine
	start    time.Time // where mono counts from
	offset   atomic.Int64
	anchored atomic.Int64 // mono when offset was taken
}

func (m *machine) init(given Machine) {
	m.raw, m.wall = given.Raw, given.Wall
	if m.wall == nil {
		m.wall = time.Now
	}
	if m.raw != nil {
		return
	}
	m.raw, m.goClock, m.start = readRaw, true, time.Now()
	m.anchor(0)
}

// cheap is raw without a system call, for what is asked for often.
func (m *machine) cheap() time.Duration {
	if !m.goClock {
		return m.raw()
	}
	mono := time.Since(m.start)
	if mono-time.Duration(m.anchored.Load()) >= anchorEvery {
		m.anchor(mono)
	}
	return mono + time.Duration(m.offset.Load())
}

// anchor notes how far raw is from Go's monotonic clock. Two at once do no harm.
func (m *machine) anchor(mono time.Duration) {
	raw := m.raw()
	after := time.Since(m.start)
	m.offset.Store(int64(raw - (mono + (after-mono)/2)))
	m.anchored.Store(int64(mono))
}

// readRaw does not tell Go's scheduler of the call, which never waits: being told costs more,
// since it wakes the thread that looks after calls that do.
func readRaw() time.Duration {
	var ts unix.Timespec
	unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC_RAW, uintptr(unsafe.Pointer(&ts)), 0) // fails for unknown clocks alone
	return time.Duration(ts.Nano())
}
