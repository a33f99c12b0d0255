package ntprelay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"tillgate/internal/clock"
	"tillgate/policy"
)

const (
	// maxServers is how many addresses are asked at most: few enough for good manners
	// towards a pool, enough to outvote liars.
	maxServers = 16
	// maxPerName is how many addresses of one name.
	maxPerName = 4
	// resolveEvery is how long an answer for a name is good at least.
	resolveEvery = time.Hour
	// relookEvery is the same while none of its addresses answers and the time is not
	// known: the answer may be of a time when another network was there.
	relookEvery = 5 * time.Minute
	// deadAfter is how many exchanges in a row a server may fail before another
	// address may take its place.
	deadAfter = 3
)

// A peer is an address that is asked.
type peer struct {
	addr netip.Addr
	name *name

	due      time.Time // when it is asked again
	asking   bool
	sent     time.Time     // the last request
	interval time.Duration // between exchanges while all is well
	least    time.Duration // what the server asked to be left alone for
	burst    int           // exchanges to come that are close together
	retries  int           // in a row that were, since the clock asked for them

	answered bool      // ever
	lost     int       // exchanges in a row without a good answer
	since    time.Time // when the first of them began
	err      error     // of the last
	refused  string    // the code by which it said that it wants never to be asked; empty: it did not
}

// dead reports whether the server has not answered for a while.
func (s *peer) dead() bool { return s.lost >= deadAfter }

// quota is how many addresses of each name are asked.
func (p *poller) quota() int {
	return max(1, min(maxPerName, maxServers/max(len(p.names), 1)))
}

// remember has the servers asked that the last run found good, as far as they are still
// named. Called with mu held.
func (p *poller) remember(now time.Time) {
	for _, s := range p.cfg.Saved {
		i := slices.IndexFunc(p.names, func(n *name) bool { return n.host == s.Name && !n.literal })
		if i >= 0 && len(p.of(p.names[i])) < p.quota() && checkServer(s.Addr, p.names[i].private) == nil {
			p.add(p.names[i], s.Addr, now)
		}
	}
	p.countServers()
}

// of returns the peers of a name.
func (p *poller) of(n *name) (peers []*peer) {
	for _, s := range p.peers {
		if s.name == n {
			peers = append(peers, s)
		}
	}
	return peers
}

// add has an address asked, at once, unless there are too many already.
func (p *poller) add(n *name, addr netip.Addr, now time.Time) bool {
	if p.peers[addr] != nil || len(p.peers) >= maxServers {
		return false
	}
	p.peers[addr] = &peer{addr: addr, name: n, due: now, interval: minInterval, burst: burst}
	return true
}

// drop has an address asked no more.
func (p *poller) drop(s *peer) {
	delete(p.peers, s.addr)
	p.deps.Clock.Forget(s.addr)
}

// resolved takes the addresses of a name. The servers that do well stay, whether they are
// among them or not: a pool gives others each time, and what is known of a server is
// worth more than a new one. Called with mu held.
func (p *poller) resolved(n *name, addrs []netip.Addr, now time.Time) {
	n.looked = now
	addrs, n.err = p.usable(n, addrs)
	if n.none = len(addrs) == 0; n.none {
		p.countServers()
		return
	}
	well := 0
	var ill []*peer
	for _, s := range p.of(n) {
		switch {
		case s.addr.Is4() != addrs[0].Is4():
			p.drop(s)
		case p.ill(s):
			ill = append(ill, s)
		case s.answered || slices.Contains(addrs, s.addr):
			well++
		} // else it was saved, and may yet answer
	}
	for _, addr := range addrs {
		if well < p.quota() && p.add(n, addr, now) {
			well++
		}
	}
	for _, s := range ill {
		if well >= p.quota() || !slices.Contains(addrs, s.addr) {
			p.drop(s)
			continue
		}
		well++ // there is no better one for its place
		if s.refused != "" {
			s.refused, s.due, s.burst = "", now, 0
		}
	}
	if n.none = len(p.of(n)) == 0; n.none {
		n.err = errors.New("its addresses are asked under other names")
	}
	p.countServers()
}

// ill reports whether another server were better.
func (p *poller) ill(s *peer) bool {
	return s.refused != "" || s.dead() || slices.ContainsFunc(p.deps.Clock.Sources(), func(c clock.Source) bool {
		return c.Server == s.addr && (c.State == clock.FalseTicker || c.State == clock.Unfit)
	})
}

// usable returns the addresses that may be asked: those of one family, since a server's
// two addresses are one server and must not have two votes.
func (p *poller) usable(n *name, addrs []netip.Addr) ([]netip.Addr, error) {
	var v4, v6 []netip.Addr
	var bad error
	for _, addr := range addrs {
		addr = addr.Unmap()
		switch err := checkServer(addr, n.private); {
		case err != nil:
			bad = fmt.Errorf("%v: %w", addr, err)
		case addr.Is4():
			v4 = append(v4, addr)
		default:
			v6 = append(v6, addr)
		}
	}
	best, other := v4, v6
	if slices.ContainsFunc(p.of(n), func(s *peer) bool { return s.addr.Is6() && s.lost == 0 && !p.ill(s) }) {
		best, other = v6, v4
	}
	if len(best) == 0 || len(other) > 0 && !p.reachable(best) && p.reachable(other) {
		best = other
	}
	if len(best) == 0 && bad == nil {
		bad = fmt.Errorf("the name %s has no address", n.host)
	}
	if len(best) > 0 {
		bad = nil
	}
	return best, bad
}

// reachable reports whether there is a way to the addresses, and not all of them are
// known to be dead.
func (p *poller) reachable(addrs []netip.Addr) bool {
	return len(addrs) > 0 && p.routable(addrs[0]) && slices.ContainsFunc(addrs, func(addr netip.Addr) bool {
		s := p.peers[addr]
		return s == nil || !s.dead()
	})
}

// countServers tells the clock how many servers there are, so that it knows what a
// quorum of them is. A name that could not be looked up yet stands for one: else who
// keeps the others from being found would make a quorum of a single server.
func (p *poller) countServers() {
	count := 0
	for _, s := range p.peers {
		if s.refused == "" {
			count++
		}
	}
	for _, n := range p.names {
		if !n.none && len(p.of(n)) == 0 {
			count++
		}
	}
	if len(p.names) > 0 {
		count = max(count, 1) // none at all would mean that nothing better can be had
	}
	p.deps.Clock.SetServers(count)
}

// checkServer returns why an address is not asked.
func checkServer(addr netip.Addr, private bool) error {
	switch {
	case !private:
		return policy.CheckAddr(addr)
	case addr.IsUnspecified(), addr.IsMulticast(), !addr.IsValid():
		return fmt.Errorf("no unicast address")
	}
	return nil
}

// routable reports whether this machine has a way to an address. Nothing is sent.
func routable(addr netip.Addr) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, ntpPort)))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
