package clock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

const (
	stateVersion = 1
	// maxState bounds a saved state, in bytes, and maxSaved the servers in it.
	maxState = 64 << 10
	maxSaved = maxSources
)

// State is what a clock leaves for the next run.
//
// Trusted becomes its floor. It was Fine, so a later run believes nothing before it:
// a state that claims a year to come keeps the box without time until that year, or
// until somebody has it forget the state.
type State struct {
	Trusted time.Time     // the last time that a quorum and a chain agreed on; zero: none
	Drift   float64       // of the raw clock, ppm; positive: it is slow
	Servers []SavedServer // that agreed
}

// SavedServer is a time server that can be asked before names can be resolved.
type SavedServer struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"`
}

// savedState is a State in its file.
type savedState struct {
	Version int           `json:"version"`
	Trusted time.Time     `json:"trusted,omitzero"`
	Drift   float64       `json:"drift_ppm,omitzero"`
	Servers []SavedServer `json:"servers,omitempty"`
}

// State returns what is to be saved. Servers are those that the time rests on; what was
// saved before, as long as there are none.
func (c *Clock) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.machine.raw()
	c.prove(now)
	s := State{Trusted: c.Floor(), Drift: c.drift.rate * million}
	for _, server := range c.good {
		if server.Addr.Zone() == "" { // an interface's name is of one run
			s.Servers = append(s.Servers, server)
		}
	}
	return s
}

// Append appends the state as its file has it.
func (s State) Append(b []byte) []byte {
	data, err := json.Marshal(savedState{stateVersion, s.Trusted.Round(0).UTC(), s.Drift, s.Servers})
	if err != nil {
		panic(err) // of a number that ReadState does not let in and drift.measure does not make
	}
	return append(append(b, data...), '\n')
}

// ReadState reads what Append has written. What is damaged is an error, and the zero
// State, with which a clock starts as well.
func ReadState(data []byte) (State, error) {
	if len(data) > maxState {
		return State{}, fmt.Errorf("saved clock: %d bytes, at most %d are read", len(data), maxState)
	}
	var s savedState
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return State{}, fmt.Errorf("saved clock: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return State{}, errors.New("saved clock: more follows its end")
	}
	switch {
	case s.Version != stateVersion:
		return State{}, fmt.Errorf("saved clock: version %d, this program reads %d", s.Version, stateVersion)
	// A floor that is wrong by more than 68 years would have the box take what servers say for
	// that of the next era of NTP: see Clock.read.
	case !s.Trusted.IsZero() && (s.Trusted.Before(earliest) || s.Trusted.After(release.Add(era/2))):
		return State{}, fmt.Errorf("saved clock: a time of the year %d", s.Trusted.Year())
	case max(s.Drift, -s.Drift) > greatestDrift*million:
		return State{}, fmt.Errorf("saved clock: a drift of %g ppm", s.Drift)
	case len(s.Servers) > maxSaved:
		return State{}, fmt.Errorf("saved clock: %d servers, at most %d are read", len(s.Servers), maxSaved)
	}
	for _, server := range s.Servers {
		if !server.Addr.IsValid() || server.Addr.Zone() != "" || len(server.Name) > 253 {
			return State{}, fmt.Errorf("saved clock: server %.64q at %v", server.Name, server.Addr)
		}
	}
	return State{s.Trusted, s.Drift, s.Servers}, nil
}
