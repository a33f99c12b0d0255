package ntprelay

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/beevik/ntp"

	"tillgate/internal/clock"
)

// exchangeTimeout is how long a reply may take. One that took longer would prove no more
// than that the time is within 1.5 s.
const exchangeTimeout = 3 * time.Second

// An asker asks a server once, by beevik/ntp. Of what that returns only the stamps are
// used: its offset and delay go by the system's clock, which may be stepped or slewed
// under it, and be further from the truth than a Duration can hold.
type asker struct {
	raw  func() time.Duration // as [clock.Clock.Raw]
	wall func() time.Time     // the kernel's clock, by which it stamps packets: time.Now
}

// Errors of what came back. Each is as if nothing had.
var (
	errSilent  = fmt.Errorf("no answer within %v", exchangeTimeout)
	errStepped = errors.New("the system's clock was stepped meanwhile")
	errNotSync = errors.New("the server is not synchronised itself")
	errLoop    = errors.New("the server has its time from this box")
	errSelf    = errors.New("the server is this box")
)

// A kissError is a server's word that it wants to be asked less, or not at all
// (kiss-o'-death, RFC 5905 §7.4).
type kissError struct {
	code string        // RATE, DENY or RSTR
	poll time.Duration // the interval that it asks for; of RATE
}

func (e *kissError) Error() string { return "the server said " + e.code }

// final reports whether the server is not to be asked again.
func (e *kissError) final() bool { return e.code != "RATE" }

// ask exchanges one packet with the server. The error is a *kissError if it says so.
func (a *asker) ask(ctx context.Context, to netip.AddrPort) (clock.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	var local netip.Addr
	release := func() bool { return false }
	defer func() { release() }()
	x := exchange{asker: a}
	reply, err := ntp.QueryWithOptions(to.String(), ntp.QueryOptions{
		Timeout:    exchangeTimeout,
		Extensions: []ntp.Extension{&x},
		// No other connection than a *net.UDPConn, nor GetSystemTime: without the first
		// and with the second there are no stamps of the kernel's.
		Dialer: func(_, _ string) (net.Conn, error) {
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				return nil, err
			}
			local = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
			if local == to.Addr() && !local.IsLoopback() { // there another daemon may listen
				conn.Close()
				return nil, errSelf
			}
			release = context.AfterFunc(ctx, func() { conn.Close() }) // nothing else ends the wait
			return conn, nil
		},
	})
	var s clock.Sample
	if err == nil {
		s, err = x.sample(reply, refID(local))
	}
	if err != nil {
		return clock.Sample{}, fmt.Errorf("asking %v: %w", to, plain(ctx, err))
	}
	s.Server = to.Addr()
	return s, nil
}

// plain is err without what net says of the connection, which would be said twice.
func plain(ctx context.Context, err error) error {
	errno, isErrno := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Cause(ctx)
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	case isErrno:
		return errno
	}
	return err
}

// An exchange sees the bytes of one, and when they went. It is a beevik/ntp extension.
type exchange struct {
	*asker
	nonce        stamp
	reply        header
	sent, gotten moment
}

// A moment is one by both clocks.
type moment struct {
	raw  time.Duration
	wall time.Time
	slop time.Duration // bound of how far apart they were read
}

// at returns what raw was at a nearby moment of the wall clock.
func (m moment) at(wall time.Time) time.Duration { return m.raw - m.wall.Sub(wall) }

// now reads both clocks at once.
func (a *asker) now() (best moment) {
	for i := range 3 { // the goroutine may have been put aside in between
		before := a.raw()
		wall := a.wall().Round(0) // without the monotonic reading, which knows no steps
		slop := (a.raw() - before) / 2
		if i == 0 || slop < best.slop {
			best = moment{before + slop, wall, slop}
		}
		if slop < 50*time.Microsecond {
			break
		}
	}
	return best
}

// ProcessQuery is called just before the request is sent.
func (x *exchange) ProcessQuery(request *bytes.Buffer) error {
	x.nonce = stamp(binary.BigEndian.Uint64(request.Bytes()[transmitAt:]))
	x.sent = x.now()
	return nil
}

// ProcessResponse is called just after a datagram was read, before anything about it was
// checked. A kiss-o'-death may have no transmit timestamp, for which beevik/ntp would refuse it.
func (x *exchange) ProcessResponse(datagram []byte) error {
	x.gotten = x.now()
	if len(datagram) < headerSize {
		return errors.New("the reply is too short")
	}
	x.reply = parseHeader(datagram)
	switch h := &x.reply; {
	case h.origin != x.nonce:
		return errors.New("the reply is to another request")
	case h.mode != server:
		return errors.New("the reply is not a server's")
	case h.version != 3 && h.version != 4:
		return fmt.Errorf("the reply is of NTP version %d", h.version)
	case h.stratum == 0:
		return x.reply.kiss()
	case h.leap == unknown, h.stratum > 15:
		return errNotSync
	case h.reference == 0:
		return errors.New("the server has never set its clock")
	case h.precision > 0:
		return errors.New("the server's clock counts in more than seconds")
	case h.precision == math.MinInt8, h.poll == math.MinInt8:
		return errors.New("a power of two that no time has") // beevik/ntp shifts by its negative, and panics
	}
	return nil
}

// maxPoll is the greatest poll exponent (RFC 5905 §7.2, MAXPOLL).
const maxPoll = 17

// kiss returns the error of a reply of stratum 0. Codes other than these tell why the
// server has no time, which is the same to who asks.
func (h *header) kiss() error {
	code := string(binary.BigEndian.AppendUint32(nil, h.refID))
	switch code {
	case "DENY", "RSTR":
		return &kissError{code: code}
	case "RATE":
		return &kissError{code: code, poll: time.Second << min(max(h.poll, 0), maxPoll)}
	}
	return errNotSync
}

// sample makes a sample of the reply; own is the box's reference ID.
func (x *exchange) sample(reply *ntp.Response, own uint32) (clock.Sample, error) {
	h := &x.reply
	if h.stratum > 1 && h.refID == own {
		return clock.Sample{}, errLoop
	}
	// It looks at RootDelay, RootDispersion and the age of the reference time; what
	// else it looks at has been seen.
	if err := reply.Validate(); err != nil {
		return clock.Sample{}, err
	}
	took := x.gotten.raw - x.sent.raw
	// Who slews may go by 10 % at most (adjtimex(2), tick).
	if stepped := x.gotten.wall.Sub(x.sent.wall) - took; stepped.Abs() > time.Millisecond+took/10 {
		return clock.Sample{}, errStepped
	}
	age := stampAge(x.gotten.wall, reply.Timestamps.ClientRecv)
	if age < 0 || age > took {
		age = 0
	}
	sent, gotten := x.sent.at(reply.Timestamps.ClientXmit), x.gotten.raw-age
	held := h.transmit.sub(h.receive)
	delay := gotten - sent - held
	// Two clocks may differ by their drift in how long something took.
	if held < 0 || delay < -time.Millisecond {
		return clock.Sample{}, fmt.Errorf("the server says that it held the request for %v, of %v in all", held, gotten-sent)
	}
	delay = max(delay, 0)
	return clock.Sample{
		Raw:            gotten,
		Time:           reply.Timestamps.ServerXmit.Add(delay / 2),
		Delay:          delay,
		RootDelay:      h.rootDelay.duration(),
		RootDispersion: h.rootDispersion.duration() + x.sent.slop + x.gotten.slop,
		Precision:      time.Second >> -int(h.precision),
		Stratum:        h.stratum,
		Leap:           clock.Leap(h.leap),
		RefID:          h.refID,
		RefTime:        reply.ReferenceTime,
	}, nil
}

// stampAge is how long before now the kernel stamped a packet. A kernel of 32 bits
// stamps modulo 2^32 s, and beevik/ntp takes that for a time from 1901 to 2038.
func stampAge(now, stamped time.Time) time.Duration {
	seconds := int32(now.Unix() - stamped.Unix())
	return time.Duration(seconds)*time.Second + time.Duration(now.Nanosecond()-stamped.Nanosecond())
}

// refID is the reference ID of who has its time from a server at addr (RFC 5905 §7.3).
func refID(addr netip.Addr) uint32 {
	if addr.Is4() {
		b := addr.As4()
		return binary.BigEndian.Uint32(b[:])
	}
	b := addr.As16()
	sum := md5.Sum(b[:])
	return binary.BigEndian.Uint32(sum[:])
}
