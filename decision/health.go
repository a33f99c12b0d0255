package decision

import "time"

// State is how well a part of the box is.
type State uint8

// The states. Warn still does its work, Bad does not.
const (
	OK State = iota
	Warn
	Bad
)

var stateNames = [...]string{"ok", "warn", "bad"}

func (s State) String() string { return stateNames[s] }

// Health is what a part of the box says of itself.
type Health struct {
	Part  string // dns, upstream, journal, policy, time, ...
	State State
	Text  string    // for people, one line: what is wrong and what it means
	Since time.Time // when the state was entered; zero: since the start
}
