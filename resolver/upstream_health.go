package resolver

import (
	"fmt"
	"net/netip"
	"time"

	"tillgate/decision"
)

// upstreamMemory is for how long a server that failed while others answered is told of:
// nobody may have asked it since.
const upstreamMemory = 2 * time.Minute

// upstreamStats are counts since the start.
type upstreamStats struct {
	Exchanges   uint64        // that got a place and were not cancelled
	Failures    uint64        // of these, without a good reply
	Hedged      uint64        // servers asked because another was slow
	Busy        uint64        // exchanges that got no place
	Connections uint64        // opened
	RTT         time.Duration // smoothed, of the server that answered last; 0: none did
}

func (u *upstream) stats() upstreamStats {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.counts
	if last := u.lastAnswered(); last != nil {
		s.RTT = last.rtt
	}
	return s
}

// lastAnswered returns the server that answered last, if one ever did.
func (u *upstream) lastAnswered() (last *upstreamServer) {
	for _, s := range u.servers {
		if !s.answered.IsZero() && (last == nil || s.answered.After(last.answered)) {
			last = s
		}
	}
	return last
}

// health says how the upstream is, for people: bad when the last exchange failed, warn
// when one of the servers does not answer.
func (u *upstream) health() decision.Health {
	u.mu.Lock()
	defer u.mu.Unlock()
	h := decision.Health{Part: "upstream", Since: u.at(u.since)}
	last := u.lastAnswered()
	if u.failure != nil {
		h.State = decision.Bad
		h.Text = u.failure.words(u.failedLike(u.failure), u.clock)
		return h
	}
	if last == nil {
		h.Text = "not asked yet"
		return h
	}
	h.Text = fmt.Sprintf("answers from %s in %v", last.addr.Addr(), last.rtt.Round(time.Millisecond))
	var worst *upstreamServer
	for _, s := range u.servers {
		// A network of one family only is as it should be.
		if s.err != nil && s.err.fault != upstreamNoRoute && time.Since(s.failed) < upstreamMemory && u.sinceBack(s.failed) &&
			(worst == nil || s.err.fault > worst.err.fault) {
			worst = s
		}
	}
	if worst != nil {
		h.State, h.Since = decision.Warn, u.at(worst.since)
		h.Text = fmt.Sprintf("answers from %s; but %s", last.addr.Addr(), worst.err.words(u.failedLike(worst.err), u.clock))
	}
	return h
}

// sinceBack reports whether a failure is of the time since the upstream is back, if it was
// away. An attempt that began before may end, by its timeout, after that.
func (u *upstream) sinceBack(failed time.Time) bool {
	return u.since.IsZero() || failed.Sub(u.since) > u.timeout
}

// failedLike returns the servers that failed in the same way last.
func (u *upstream) failedLike(e *upstreamError) (addrs []netip.Addr) {
	for _, s := range u.servers {
		if s.addr.Addr() == e.addr || s.err != nil && s.err.fault == e.fault {
			addrs = append(addrs, s.addr.Addr())
		}
	}
	return addrs
}

// at is what people call a moment that [time.Now] returned, by what the clock says today.
func (u *upstream) at(moment time.Time) time.Time {
	if moment.IsZero() {
		return moment
	}
	return u.clock.At(moment)
}
