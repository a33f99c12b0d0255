package main

import (
	"sync"
	"time"

	"tillgate/decision"
)

// keeperWithin is how long the keeper of the packet filter may be silent, or behind the
// policy: it asks every few seconds.
const keeperWithin = 15 * time.Second

// A keeperWatch notes what is heard of the keeper of the packet filter.
type keeperWatch struct {
	now func() time.Time // by Go's monotonic clock

	mu       sync.Mutex
	expected bool      // there was one, in this run or before
	heard    time.Time // of it, last; at first the start
	have     string    // hash of the rules that it has in force
	want     string    // hash of what it was told last
	agreed   time.Time // when these were the same, last
	err      error     // why it could be told none
}

func newKeeperWatch(expected bool, now func() time.Time) *keeperWatch {
	return &keeperWatch{now: now, expected: expected, heard: now(), agreed: now()}
}

// asked notes that the keeper asks for rules, and has those with the hash.
func (k *keeperWatch) asked(have string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expected, k.heard, k.have = true, k.now(), have
	k.compare()
}

// told notes what the rules are now.
func (k *keeperWatch) told(want string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.want, k.err = want, err
	k.compare()
}

func (k *keeperWatch) compare() {
	if k.have == k.want {
		k.agreed = k.now()
	}
}

// health tells also whether there is, or was, a keeper. Without one nothing is wrong: where
// proxy and DNS are set by hand, the store's router stops the rest, which can't be seen from here.
func (k *keeperWatch) health() (h decision.Health, expected bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h = decision.Health{Part: "firewall", Text: "the rules of the policy are in the kernel"}
	switch {
	case !k.expected:
		h.Text = "none is kept here: a terminal can go round tillgate, unless the store's router stops it; the guides say how, for each way of standing"
	case k.now().Sub(k.heard) > keeperWithin:
		h.State, h.Text = decision.Bad, "nobody keeps the rules in the kernel, and what they stop is not in the log; systemctl start tillgate-firewall"
	case k.err != nil:
		h.State, h.Text = decision.Bad, "no rules can be made, those before stay: "+joinLines(k.err.Error())
	case k.have != k.want && k.now().Sub(k.agreed) > keeperWithin:
		h.State, h.Text = decision.Bad, "the kernel does not have the rules of this policy; journalctl -u tillgate-firewall says why"
	case k.have != k.want, k.have == "":
		h.Text = "the rules of the policy are on their way into the kernel"
	}
	return h, k.expected
}
