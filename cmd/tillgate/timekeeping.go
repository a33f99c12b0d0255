package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"tillgate/console"
	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/policy"
	"tillgate/resolver"
)

const (
	clockFile = "clock"
	// saveClockEvery is how often the last trusted time is written. A power cut loses
	// no more of the floor.
	saveClockEvery = time.Hour
	// lookClockEvery is how often it is looked whether that is due: when a certificate
	// confirms what time servers said before, the floor rises by as long as the box was off.
	lookClockEvery = time.Minute
)

// readClock reads what the last run knew of the time. Without it the box starts as one
// that has never run, which is better than not at all.
func readClock(state string, log *slog.Logger) clock.State {
	file := filepath.Join(state, clockFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return clock.State{}
	}
	var s clock.State
	if err == nil {
		s, err = clock.ReadState(data)
	}
	if err != nil {
		log.Warn("what was known of the time is lost", "file", file, "err", err)
	}
	return s
}

// A savedClock is what was written last.
type savedClock struct {
	mu      sync.Mutex // what is forgotten meanwhile is not written after that
	at      time.Time
	trusted time.Time
}

// keepClock keeps on disk what the clock knows: each hour, after a synchronisation, and at
// the end.
func (a *appliance) keepClock(ctx context.Context) {
	look := time.NewTicker(lookClockEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			a.saveClock(0)
			return
		case <-look.C:
			a.saveClock(saveClockEvery)
		case <-a.synced:
			a.saveClock(0)
		}
	}
}

// saveClock writes what is known of the time, if that is Fine, and what was written is as
// old, or says a time as long ago.
func (a *appliance) saveClock(old time.Duration) {
	a.saved.mu.Lock()
	defer a.saved.mu.Unlock()
	if a.clock.Level() < clock.Fine {
		return
	}
	s := a.clock.State()
	if time.Since(a.saved.at) < old && s.Trusted.Sub(a.saved.trusted) < old {
		return
	}
	a.saved.at, a.saved.trusted = time.Now(), s.Trusted
	file := filepath.Join(a.where.state, clockFile)
	if err := renameio.WriteFile(file, s.Append(nil), 0o640); err != nil {
		a.log.Warn("what is known of the time can't be kept; after a power cut the box may believe an older time", "err", err)
	}
}

// lookUpServer returns the addresses of a time server's name. None is no error: such a
// name is not to be tried again soon.
func (a *appliance) lookUpServer(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := a.resolver.Lookup(ctx, name)
	if errors.Is(err, resolver.ErrNoAddress) {
		return nil, nil
	}
	return addrs, err
}

// clockChanged tells of a change, as the operator and the journal want to know it.
func (a *appliance) clockChanged(c clock.Change) {
	detail := c.Why
	switch c.Kind {
	case clock.LevelChanged:
		detail = fmt.Sprintf("trust in the time is %s, was %s: %s", c.Level, c.Was, c.Why)
		if c.Level == clock.Fine {
			select {
			case a.synced <- struct{}{}:
			default: // it is about to be saved
			}
		}
	case clock.Forgotten:
		return // resetTime tells of it, and who wanted it
	case clock.Falseticker, clock.Truechimer:
		detail = c.Server + ": " + c.Why
	}
	if c.Step.Abs() >= time.Second {
		detail += fmt.Sprintf("; the time went on by %s", signed(c.Step.Round(time.Second)))
	}
	a.log.Info("time", "change", c.Kind, "now", detail)
	a.journal.Record(decision.Record{
		Plane:  policy.System,
		Event:  decision.EventTime,
		Detail: detail,
	})
}

// signed is a duration that always has its sign.
func signed(d time.Duration) string {
	if d < 0 {
		return d.String()
	}
	return "+" + d.String()
}

// resetTime forgets what is known of the time, on disk first: a box that ends in between
// has forgotten it.
func (a *appliance) resetTime(_ context.Context, by string) (console.TimeReset, error) {
	a.saved.mu.Lock()
	defer a.saved.mu.Unlock()
	if err := forgetClock(a.where.state); err != nil {
		return console.TimeReset{}, err
	}
	a.saved.at, a.saved.trusted = time.Time{}, time.Time{}
	a.log.Warn("what was known of the time is forgotten", "by", by)
	a.journal.Record(decision.Record{
		Plane:  policy.System,
		Event:  decision.EventTime,
		By:     by,
		Detail: "what was known of the time is forgotten, as " + by + " asked",
	})
	a.clock.Reset() // the relay notices
	return console.TimeReset{Level: a.clock.Level().String(), Now: a.clock.Now().UTC()}, nil
}

// forgetClock removes the saved clock, if there is one.
func forgetClock(state string) error {
	err := os.Remove(filepath.Join(state, clockFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting the saved clock: %w", err)
	}
	return nil
}

// timeStatus is what the API tells of the time.
func (a *appliance) timeStatus() console.TimeStatus {
	e, raw := a.clock.Estimate(), a.clock.Raw()
	counts := a.relay.Stats()
	s := console.TimeStatus{
		Level:    a.clock.Level().String(),
		Now:      a.clock.Now().UTC(),
		Servers:  []console.TimeServer{},
		Clients:  []console.TimeClient{},
		Requests: counts.Requests,
		Answered: counts.Answered,
		NoTime:   counts.NoTime,
		Denied:   counts.Denied,
		Dropped:  counts.Dropped,
	}
	if e.LevelAt(raw) == clock.Fine {
		s.ErrorMs = inMs(e.Error(raw))
	}
	for _, server := range a.relay.Servers() {
		s.Servers = append(s.Servers, console.TimeServer{
			Name:     server.Name,
			Addr:     server.Addr,
			State:    server.State.String(),
			OffsetMs: inMs(server.Offset),
			ErrorMs:  inMs(server.Error),
			Detail:   server.Why,
		})
	}
	for _, c := range a.relay.Clients() {
		s.Clients = append(s.Clients, console.TimeClient{
			Client:   c.Addr,
			Class:    c.Class,
			OffsetMs: inMs(c.Offset),
			Seen:     c.Asked.UTC(),
		})
	}
	slices.SortStableFunc(s.Clients, func(a, b console.TimeClient) int {
		return cmp.Compare(max(b.OffsetMs, -b.OffsetMs), max(a.OffsetMs, -a.OffsetMs))
	})
	return s
}

func inMs(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// timeHealth is how far the time is believed, and why.
func timeHealth(c *clock.Clock) decision.Health {
	h := decision.Health{Part: "time", Text: c.Why()}
	switch c.Level() {
	case clock.Fine:
		h.Text = fmt.Sprintf("right to %s: %s", c.Estimate().Error(c.Raw()).Round(10*time.Microsecond), h.Text)
	case clock.Coarse:
		if c.Trusted().IsZero() {
			h.State = decision.Warn
			h.Text = "no quorum of time servers (see the part ntp), so no time for the terminals: " + h.Text
		}
	default:
		h.State, h.Text = decision.Warn, "neither a certificate nor time servers have confirmed it yet; see the parts upstream and ntp"
		if wall, floor := c.Wall(), c.Floor(); wall.Before(floor) {
			h.State = decision.Bad
			h.Text = fmt.Sprintf("not known: the system's clock says %s, but %s has passed (if it has not: tillgate time reset); see the part ntp", wall.UTC().Format(time.DateTime), floor.UTC().Format(time.DateTime))
		}
		if why := c.Why(); why != "" {
			h.Text += "; " + why
		}
	}
	return h
}
