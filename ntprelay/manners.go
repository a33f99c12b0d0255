package ntprelay

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"tillgate/internal/clock"
)

// The manners towards the servers, of which most are volunteers'. What is waited for is
// spread by a tenth either way, so that boxes that started together part.
const (
	// burst is how many exchanges follow each other closely at a start: the first of
	// a quorum suffice, the others tell which were late.
	burst      = 4
	burstEvery = 2 * time.Second
	// alarmsEvery is how long after trust was lost or doubted, and all servers were asked
	// at once, that is not done again.
	alarmsEvery = 5 * time.Minute
	// minInterval and maxInterval are those in the steady state (RFC 5905 §7.2,
	// MINPOLL and MAXPOLL as the pool asks for).
	minInterval = 64 * time.Second
	maxInterval = 1024 * time.Second
	// maxLeast is the longest that a server may ask to be left alone for. Nobody signs a
	// kiss, so it is less than how long a server's last answer counts (an hour): else who is
	// on the way for a moment takes the time from the box for days. Chrony's is 1,024 s.
	maxLeast = 2048 * time.Second
	// lookupRetry is how long after a look-up that failed a name is looked up again, at
	// first. The resolver keeps a failure for a second before the time is known.
	lookupRetry = 1200 * time.Millisecond
	// maxRetries is how often in a row a server is asked again soon because its
	// answer contradicts what is known.
	maxRetries = 3
	// checkEvery is how often the clock looks at its own age.
	checkEvery = time.Second
)

// patience is how long to wait after a failure when the first of them was so long ago:
// no more is lost than a quarter of the outage, and a dead network is not hammered.
func patience(failing, least, most time.Duration) time.Duration {
	return min(max(failing/4, least), most)
}

// spread is d, more or less a tenth.
func (p *poller) spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*p.random()))
}

// looked takes the outcome of a look-up.
func (p *poller) looked(n *name, addrs []netip.Addr, err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.asking = false
	if err != nil {
		n.err = err
		if n.since.IsZero() {
			n.since = now
		}
		most := minInterval
		if p.deps.Clock.Level() == clock.Fine {
			most = resolveEvery
		}
		n.due = now.Add(p.spread(patience(now.Sub(n.since), lookupRetry, most)))
		return
	}
	was := n.since
	n.since = time.Time{}
	n.due = now.Add(p.spread(resolveEvery))
	if n.looked.IsZero() && len(addrs) > 0 && !slices.ContainsFunc(addrs, p.routable) {
		// The other family's may be there a moment later: the look-up did not wait for them.
		n.due = now.Add(p.spread(lookupRetry))
	}
	p.resolved(n, addrs, now)
	if !was.IsZero() && p.silent {
		p.awake(now) // names are found again: so may servers be
	}
}

// asked takes the outcome of an exchange.
func (p *poller) asked(s *peer, sample clock.Sample, err error, now time.Time) {
	if p.peers[s.addr] != s {
		return // it was dropped meanwhile
	}
	again := false
	if err == nil {
		// Without the lock: who hears of a change may ask how the servers are.
		sample.Server, sample.Name = s.addr, s.name.host
		again = p.deps.Clock.Observe(sample)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.asking = false
	kiss, isKiss := errors.AsType[*kissError](err)
	switch {
	case isKiss:
		p.kissed(s, kiss, now)
	case err != nil:
		p.failed(s, err, now)
	default:
		p.answered(s, again, now)
	}
}

// answered plans the next exchange after a good one. Again is that it is to be soon.
func (p *poller) answered(s *peer, again bool, now time.Time) {
	s.answered, s.lost, s.since, s.err = true, 0, time.Time{}, nil
	if p.silent {
		p.silent, p.back = false, now
		p.awake(now) // the network is back: it is for the others, too
	}
	if !again {
		s.retries = 0
	} else if s.retries == 0 && p.deps.Clock.Level() == clock.Fine {
		p.doubt(now)
	}
	wait := minInterval
	switch {
	case s.burst > 1:
		s.burst--
		wait = burstEvery
	case again && s.retries < maxRetries:
		s.retries++
		wait = burstEvery
	case p.deps.Clock.Level() < clock.Fine:
		s.interval = minInterval
	default:
		wait = s.interval
		s.interval = min(2*s.interval, maxInterval)
	}
	s.due = now.Add(p.spread(max(wait, s.least)))
}

// failed takes note that an exchange brought nothing.
func (p *poller) failed(s *peer, err error, now time.Time) {
	if s.lost == 0 {
		s.since = s.sent
	}
	s.lost++
	s.err = err
	if p.deps.Clock.Level() == clock.Fine {
		// There is no hurry. The first is taken for an accident.
		wait := minInterval << min(s.lost-1, 4)
		s.burst = 0
		s.due = now.Add(p.spread(max(wait, s.least)))
	} else {
		s.due = now.Add(p.spread(max(patience(now.Sub(s.since), burstEvery, minInterval), s.least)))
		if s.sent.Before(p.back) {
			p.askSoon(s, now) // the network came back meanwhile
		}
		if p.allDead(s.name) {
			// Its addresses may be of a time when another network was there.
			again := s.name.looked.Add(p.spread(patience(now.Sub(s.since), relookEvery, resolveEvery)))
			if again.Before(s.name.due) {
				s.name.due = again
			}
		}
	}
	if s.dead() && !s.answered && len(p.of(s.name)) > p.quota() {
		p.drop(s) // it was saved, and its name leads to others now
		p.countServers()
	}
	p.silent = p.silent || p.noneAnswers()
}

func (p *poller) allDead(n *name) bool {
	for _, s := range p.of(n) {
		if !s.dead() {
			return false
		}
	}
	return true
}

// noneAnswers reports whether the last exchange with each server has failed.
func (p *poller) noneAnswers() bool {
	for _, s := range p.peers {
		if s.lost == 0 && s.refused == "" {
			return false
		}
	}
	return true
}

// kissed does what a server asks for. Each RATE at least doubles the interval (RFC 5905
// §7.4), up to maxLeast.
func (p *poller) kissed(s *peer, kiss *kissError, now time.Time) {
	s.burst = 0
	s.err = kiss
	if kiss.final() {
		s.refused = kiss.code
		p.deps.Clock.Forget(s.addr)
		p.countServers()
	} else {
		s.least = min(max(2*max(s.least, s.interval), kiss.poll), maxLeast)
		s.due = now.Add(p.spread(s.least)).Add(s.least / 10) // never sooner than asked for
	}
	p.recordKiss(s, kiss)
}

// awake has everything asked at once that waits because it failed.
func (p *poller) awake(now time.Time) {
	for _, n := range p.names {
		if !n.since.IsZero() {
			n.due = now
		}
	}
	for _, s := range p.peers {
		if s.lost > 0 {
			p.askSoon(s, now)
		}
	}
}

// doubt has all servers asked, since one contradicts what it said before: it has been
// stepped, or this machine has slept.
func (p *poller) doubt(now time.Time) {
	if p.calm(now) {
		for _, s := range p.peers {
			p.askSoon(s, now)
		}
	}
}

// calm reports whether all servers may be asked at once again.
func (p *poller) calm(now time.Time) bool {
	if !p.alarm.IsZero() && now.Sub(p.alarm) < alarmsEvery {
		return false
	}
	p.alarm = now
	return true
}

// hurry has all servers asked some times, since trust was lost. Where that was lost
// shortly before as well they are asked at the shortest interval.
func (p *poller) hurry(now time.Time) {
	calm := p.calm(now)
	for _, s := range p.peers {
		s.interval = minInterval
		if calm {
			s.burst = burst
			p.askSoon(s, now)
		} else if soon := now.Add(p.spread(max(minInterval, s.least))); soon.Before(s.due) {
			s.due = soon
		}
	}
}

// again has all begin anew, as at a start: somebody waits for it. Names are looked up that
// could not be, perhaps since the clock was wrong.
func (p *poller) again(now time.Time) {
	p.alarm = time.Time{}
	p.hurry(now)
	for _, n := range p.names {
		if !n.since.IsZero() {
			n.since, n.due = now, now
		}
	}
}

// askSoon has a server asked now, or as soon as it lets us.
func (p *poller) askSoon(s *peer, now time.Time) {
	if s.due = now; s.least > 0 {
		s.due = s.sent.Add(s.least)
	}
}
