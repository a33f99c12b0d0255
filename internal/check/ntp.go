package check

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

const (
	ntpSize = 48 // bytes of a packet without extensions (RFC 5905 section 7.3)
	// maxOffset is how far a time may be off: far more than any network makes of it, far
	// less than what a certificate or a payment minds.
	maxOffset = 2 * time.Second
	// unixEpoch is that of Unix in the seconds of packets.
	unixEpoch = 2_208_988_800
)

// asking is a server that is being asked, or has been.
type asking struct {
	done   chan struct{} // closed when the rest is there
	answer timeAnswer
	err    error
}

// timeAnswer is what a time server said.
type timeAnswer struct {
	stratum int
	offset  time.Duration // of its time against the test's
}

// askTime asks a name's servers for the time, the first of each family at once: the line may
// have only one. The first that has it is taken.
func (c *Checker) askTime(ctx context.Context, r *Result) error {
	type outcome struct {
		dest netip.AddrPort
		*asking
	}
	var dests []netip.AddrPort
	for _, addr := range r.Addresses {
		if !slices.ContainsFunc(dests, func(d netip.AddrPort) bool { return d.Addr().Is4() == addr.Is4() }) {
			dests = append(dests, netip.AddrPortFrom(addr, c.way.timePort(addr)))
		}
	}
	came := make(chan outcome, len(dests))
	for _, dest := range dests {
		a := c.askOnce(ctx, dest)
		c.asks.Go(func() { <-a.done; came <- outcome{dest, a} })
	}
	var failed *Trouble
	for range dests {
		o := <-came
		if o.err != nil {
			// That one family has no way says nothing of the other.
			if t := troubleOf(o.err); failed == nil || failed.Fault == Unreachable {
				failed = at(&Trouble{t.Fault, t.Detail}, o.dest)
			}
			continue
		}
		ms := float64(o.answer.offset) / float64(time.Millisecond)
		r.Dest, r.Stratum, r.OffsetMs = o.dest, o.answer.stratum, &ms
		if o.answer.offset.Abs() > maxOffset {
			return &Trouble{WrongTime, fmt.Sprintf("%s: its time is %s that of this test", o.dest, ahead(o.answer.offset))}
		}
		r.Stage = Answered
		return nil
	}
	return failed
}

// ahead is how one time is to another.
func ahead(d time.Duration) string {
	const day = 24 * time.Hour
	much := d.Abs().Round(time.Second).String()
	if d.Abs() >= 2*day {
		much = fmt.Sprintf("%d days", d.Abs().Round(day)/day)
	}
	if d < 0 {
		return much + " behind"
	}
	return much + " ahead of"
}

// askOnce asks a server, unless it is asked or has been: many names lead to one server, or
// to the box, and servers are not to be asked in a burst.
func (c *Checker) askOnce(ctx context.Context, dest netip.AddrPort) *asking {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.asked[dest]
	if a == nil {
		a = &asking{done: make(chan struct{})}
		c.asked[dest] = a
		c.asks.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, answerTime)
			defer cancel()
			a.answer, a.err = c.exchangeTime(ctx, dest)
			close(a.done)
		})
	}
	return a
}

// exchangeTime is one exchange of SNTP (RFC 5905 section 14). The request tells nothing of
// this machine's clock: its stamp is a random number, by which the answer is known.
func (c *Checker) exchangeTime(ctx context.Context, dest netip.AddrPort) (timeAnswer, error) {
	conn, err := c.cfg.Dial(ctx, "udp", dest.String())
	if err != nil {
		return timeAnswer{}, noTime(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(0, 1)) })()
	var request [ntpSize]byte
	request[0] = 4<<3 | 3 // version 4, client
	rand.Read(request[40:])
	sent := time.Now()
	if _, err := conn.Write(request[:]); err != nil {
		return timeAnswer{}, noTime(err)
	}
	reply := make([]byte, 2*ntpSize)
	for {
		n, err := conn.Read(reply)
		if err != nil {
			return timeAnswer{}, noTime(err)
		}
		took, now := time.Since(sent), c.cfg.Now()
		answer, err := readTime(reply[:n], [8]byte(request[40:]), now, took)
		if !errors.Is(err, errOther) {
			return answer, err
		}
	}
}

// noTime is an error of asking.
func noTime(err error) *Trouble {
	t := connectTrouble(err)
	switch t.Fault {
	case TimedOut:
		t.Fault = NoTime
	case Refused:
		t.Fault = TimeRefused
	}
	return t
}

// refusals are the kiss codes (RFC 5905 section 7.4) by which a server says that it has the
// time, but not for this client or not now. Others say that it has none yet.
var refusals = []string{"DENY", "RSTR", "RATE"}

// errOther is a packet that is no answer to what was asked.
var errOther = errors.New("no answer to this question")

// readTime reads an answer that came at now by the test's clock, so long after the request.
func readTime(p []byte, sent [8]byte, now time.Time, took time.Duration) (timeAnswer, error) {
	if len(p) < ntpSize || p[0]&7 != 4 || [8]byte(p[24:]) != sent {
		return timeAnswer{}, errOther
	}
	stratum := int(p[1])
	switch transmitted := binary.BigEndian.Uint64(p[40:]); {
	case stratum == 0 && slices.Contains(refusals, string(p[12:16])):
		return timeAnswer{}, &Trouble{TimeRefused, fmt.Sprintf("it refuses with %q", p[12:16])}
	case p[0]>>6 == 3 || stratum == 0 || stratum > 15 || transmitted == 0:
		return timeAnswer{}, &Trouble{Unsynced, "it says that it does not know the time"}
	}
	received, transmitted := stamp(p[32:], now), stamp(p[40:], now)
	return timeAnswer{stratum, (received.Sub(now.Add(-took)) + transmitted.Sub(now)) / 2}, nil
}

// stamp reads a timestamp, of the era that is nearest to now (RFC 5905 section 6).
func stamp(b []byte, now time.Time) time.Time {
	seconds, fraction := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	apart := int32(seconds - uint32(now.Unix()+unixEpoch))
	return time.Unix(now.Unix()+int64(apart), int64(uint64(fraction)*1e9>>32))
}
