//go:build !race

package decision

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tillgate/policy"
)

// A year of a store with 30 terminals, which ends now, to measure on. It takes half an hour
// and 1.4 GB; ARCHITECTURE has what was measured:
//
//	TILLGATE_YEAR_DIR=/var/tmp/year go test -run TestYear -timeout 2h -v ./decision
//	time tillgate report --state /var/tmp/year
//
// The model is that of TestFlashBudget, and for each terminal:
//
//   - in the 8 hours that the store is open, a connection to each of its 10 names every
//     5 min, of 20 kB
//   - at all times one to dns.google every 15 min, of 6 kB
//
// The box is restarted every 30 days, the policy edited every 40, and the upstream fails for
// 10 minutes every 7.
func TestYear(t *testing.T) {
	dir := os.Getenv("TILLGATE_YEAR_DIR")
	if dir == "" {
		t.Skip("half an hour and 1.4 GB: TILLGATE_YEAR_DIR says where")
	}
	if _, err := os.Stat(filepath.Join(dir, "journal")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s has a journal: %v", dir, err)
	}
	const days = 365
	now := time.Now().UTC()
	start := now.Add(-days * 24 * time.Hour).Truncate(24 * time.Hour)
	y := &year{dir: filepath.Join(dir, "journal"), clock: &settable{start}, store: storeYear(start), start: start}
	for day := 0; y.clock.t.Before(now); day++ {
		if day%30 == 0 {
			y.restart(t)
		}
		if day%40 == 7 {
			y.j.Record(Record{Plane: policy.Policy, Event: EventChange, By: "edit",
				Detail: fmt.Sprintf("%012d in force: policy.yaml: service local/printer added", day)})
		}
		if day%7 == 3 {
			y.j.Record(Record{Plane: policy.System, Event: EventHealth, Detail: "upstream: bad: no route to 8.8.8.8, 8.8.4.4"})
			y.until(t, y.clock.t.Add(10*time.Minute))
			y.j.Record(Record{Plane: policy.System, Event: EventHealth, Detail: "upstream: ok after 10m0s: 8.8.8.8 answers"})
		}
		next := start.Add(time.Duration(day+1) * 24 * time.Hour)
		if next.After(now) {
			next = now
		}
		y.until(t, next)
	}
	y.stop(t)
	all, err := list(y.dir)
	if err != nil {
		t.Fatal(err)
	}
	size, err := sizes(y.dir)
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, n := range size {
		total += n
	}
	t.Logf("%d days, %d records, %d segments, %.0f MB written, %.0f MB kept", days, y.records, len(all), float64(y.written)/1e6, float64(total)/1e6)
}

// year plays the journal's goroutines by a clock of its own.
type year struct {
	dir   string
	clock *settable
	store lookups
	start time.Time
	j     *Journal
	flush time.Time // the last

	records, written uint64
}

func (y *year) restart(t *testing.T) {
	if y.j != nil {
		y.stop(t)
		y.clock.t = y.clock.t.Add(time.Minute)
	}
	y.j = mustOpen(t, Config{Dir: y.dir, Now: y.clock.now, Trusted: y.clock.trusted, MaxSize: 8 << 30,
		PolicyID: func() string { return "0123456789ab" }}, quickDisk(), defaults())
	y.j.Record(event("tillgate started"))
}

func (y *year) stop(t *testing.T) {
	y.j.Record(Record{Plane: policy.System, Event: EventStop, By: "SIGTERM", Detail: "tillgate stopped by SIGTERM"})
	y.j.repeats.close()
	y.sync(t)
	s := y.j.Stats()
	y.records += s.Records
	y.written += s.BytesWritten
	y.j.writer.close()
}

// until plays the store up to a moment.
func (y *year) until(t *testing.T, end time.Time) {
	for y.store[0].at.Before(end) {
		if at := y.store[0].at; at.After(y.clock.t) {
			y.clock.t = at
		}
		if y.clock.t.Sub(y.flush) >= y.j.cfg.Sync {
			y.j.repeats.sweep(y.clock.t)
			y.j.repeats.writeCounts()
			y.sync(t)
		}
		if r, ok := y.store.next(y.start); ok {
			if r.Plane == policy.DNS {
				y.j.attempt(r)
				continue
			}
			y.j.attempt(r)
			r.Event, r.By, r.Ms = EventClose, "client", 1200
			r.Up, r.Down = 4000, 16000
			if r.Name == ResolverName {
				r.Up, r.Down = 2000, 4000
			}
			y.j.Record(r)
		}
	}
	y.clock.t = end
}

func (y *year) sync(t *testing.T) {
	y.flush = y.clock.t
	if err := y.j.flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-y.j.untidy:
		if err := y.j.tidy(context.Background()); err != nil {
			t.Fatal(err)
		}
	default:
	}
}

// storeYear is what the store's terminals do.
func storeYear(start time.Time) lookups {
	all := storeLookups(start)
	add := func(client netip.Addr, name, rule string, open bool, first, every time.Duration) {
		all = append(all, &lookup{start.Add(first), every, open, Record{Plane: policy.TLS, Verdict: policy.Allow, Reason: policy.Documented,
			Client: client, Class: "terminal", Name: name, Port: 443, Proto: policy.TCP, Service: "payxpert/emv", Row: 1, Rule: rule,
			Dest: netip.MustParseAddrPort("203.0.113.10:443"), Ms: 41.25}})
	}
	for i := range 30 {
		client := netip.AddrFrom4([4]byte{10, 20, 1, byte(10 + i)})
		offset := time.Duration(i) * 7 * time.Second
		for k := range 10 {
			add(client, fmt.Sprintf("service-%d.payxpert.com", k), "packs/payxpert.yaml:17", true, offset+time.Duration(k)*time.Second, 5*time.Minute)
		}
		add(client, ResolverName, "packs/payxpert.yaml:20", false, offset, 15*time.Minute)
	}
	heap.Init(&all)
	return all
}
