package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

const year = 365 * 24 * time.Hour

// A boot is a start of the box in some state of the world.
type boot struct {
	name   string
	warm   bool            // with what the box before has saved
	off    time.Duration   // of the system's clock
	front  *storelab.Front // before dns.google; nil: it sends no Date
	dark   bool            // dns.google can't be reached
	lost   string          // why Android gets no time; empty: it does
	level  string          // in the end
	said   string          // in the log, by then
	nodns  bool            // no documented name can be resolved
	policy string          // in place of storePolicy
}

// timeless names no time server.
const timeless = `version: 1
packs: []
classes: {sunmi: {networks: [10.20.1.0/24], services: [local/lab], time: true}}
services: [{id: local/lab, reason: a test, destinations: [{host: www.qualcomm.cn, ports: [tcp/80]}]}]
`

// dated answers with the right Date.
var dated = &storelab.Front{Date: time.Now}

// run starts the box, and has a terminal ask until it has the time.
func (b *boot) run(t *testing.T, store *storelab.Store, sunmi *storelab.Terminal) {
	if !b.warm {
		clean(t, store.Box.State)
	}
	policy := storePolicy
	if b.policy != "" {
		policy = b.policy
	}
	store.Box.Write(t, "policy.yaml", policy)
	store.Internet.Heal(t)
	store.Upstream.EndFront()
	if b.front != nil {
		store.Upstream.Front(t, *b.front)
	}
	if b.dark {
		store.Internet.BlackHole(t, store.Upstream.Addrs...)
	}
	env := store.Box.Env
	store.Box.Env = append(env[:len(env):len(env)], labClock+"="+b.off.String())
	defer func() { store.Box.Env = env }()

	began := time.Now()
	box := store.Box.Start(t)
	ready := time.Since(began)
	tries := 0
	var err error
	var now time.Time
	for end := began.Add(15 * time.Second); time.Now().Before(end); {
		tries++
		if now, _, err = sntp(sunmi, sunmi.Box4, b.off); err == nil || b.lost != "" {
			break
		}
	}
	took := time.Since(began)
	t.Logf("%-55s ready %4d ms, first good answer %5d ms, try %d", b.name, ready.Milliseconds(), took.Milliseconds(), tries)
	switch {
	case b.lost != "":
		if err == nil || err.Error() != b.lost {
			t.Errorf("told %v by a clock off by %v; want %q", err, time.Until(now), b.lost)
		}
	case err != nil:
		t.Errorf("no time: %v", err)
	case time.Until(now).Abs() > time.Second:
		t.Errorf("the time is off by %v", time.Until(now))
	}
	if !b.nodns {
		reply := resolve(t, sunmi, "udp", sunmi.Box4, question("www.qualcomm.cn", dns.TypeA))
		if got, gist := addresses(reply); len(got) != 1 {
			t.Errorf("www.qualcomm.cn: %s", gist)
		}
	}
	var level string
	waitFor(t, func() bool { level = timeOf(t, store).Level; return level == b.level || b.lost != "" })
	if level != b.level {
		t.Errorf("level %s, want %s", level, b.level)
	}
	waitFor(t, func() bool { return strings.Contains(fmt.Sprint(journal(t, store, "--plane", "system")), b.said) })
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
	if t.Failed() {
		for _, r := range journal(t, store, "--plane", "system") {
			t.Log(r.Event, r.Detail)
		}
	}
}

// clean empties a folder.
func clean(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStoreBoot starts the box with all kinds of clocks, and asks as Android does.
func TestStoreBoot(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.Time(t, timeServers...)
	store.Box.Write(t, settingsFile, "time: {rate: 0}\n")
	sunmi := store.Terminal(t, "sunmi")
	for _, b := range []boot{
		{name: "no state, clock right", level: "fine"},
		{name: "warm, clock right", warm: true, level: "fine"},
		{name: "warm, two years back", warm: true, off: -2 * year, level: "fine"},
		{name: "warm, fifty years back, no DoH", warm: true, off: -50 * year, dark: true, level: "fine", nodns: true},
		{name: "no state, two years back, DoH with Date", off: -2 * year, front: dated, level: "fine"},
		{name: "no state, two years back, DoH without Date", off: -2 * year, level: "fine"},
		{name: "no state, fifty years back, DoH with Date", off: -50 * year, front: dated, level: "fine"},
		{name: "no state, fifty years back, DoH without Date", off: -50 * year, level: "fine"},
		{name: "no state, five years ahead, DoH with Date", off: 5 * year, front: dated, level: "fine"},
		{name: "no state, five years ahead, DoH without Date", off: 5 * year, level: "fine"},
		{name: "a policy without time servers, clock right", level: "coarse", lost: "unsynchronized server",
			policy: timeless},
		{name: "Date of another year than the certificate", off: -2 * year, front: &storelab.Front{Date: func() time.Time { return time.Now().Add(year) }}, level: "fine"},
	} {
		t.Run(b.name, func(t *testing.T) { b.run(t, store, sunmi) })
	}
}

// TestStoreBootNoTime has no time servers answer: names are resolved, and there is no time.
func TestStoreBootNoTime(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	sunmi := store.Terminal(t, "sunmi")
	for _, b := range []boot{
		{name: "no time servers, clock right", level: "coarse", lost: "unsynchronized server"},
		{name: "no time servers, two years back, DoH with Date", off: -2 * year, front: dated, level: "coarse", lost: "unsynchronized server"},
		{name: "no time servers, two years back, DoH without Date", off: -2 * year, level: "none", lost: "unsynchronized server", nodns: true},
		{name: "nothing at all", dark: true, off: -2 * year, level: "none", lost: "unsynchronized server", nodns: true},
	} {
		t.Run(b.name, func(t *testing.T) {
			b.run(t, store, sunmi)
		})
	}
}

// TestStoreBootLiars has time servers that lie, and certificates that are none.
func TestStoreBootLiars(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	sunmi := store.Terminal(t, "sunmi")
	store.Time(t, timeServers[1:]...)
	store.ServeTime(t, timeServers[0], time.Hour)
	other, err := storelab.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, b := range []boot{
		{name: "one liar of four", level: "fine"},
		{name: "one liar of four, fifty years back", off: -50 * year, level: "fine"},
		{name: "a certificate of somebody else", off: -2 * year, front: &storelab.Front{Date: time.Now, CA: other}, level: "none", lost: "unsynchronized server", nodns: true},
		{name: "a certificate that expired before the floor", off: -2 * year, level: "none", lost: "unsynchronized server", nodns: true,
			front: &storelab.Front{Date: func() time.Time { return now.Add(-year) }, Begins: now.Add(-year - time.Hour), Expires: now.Add(-year + time.Hour)}},
	} {
		t.Run(b.name, func(t *testing.T) { b.run(t, store, sunmi) })
	}
}

// TestStoreBootConspiracy has all time servers agree on a year that the certificate of
// dns.google contradicts.
func TestStoreBootConspiracy(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	sunmi := store.Terminal(t, "sunmi")
	for _, name := range timeServers {
		store.ServeTime(t, name, year)
	}
	for _, b := range []boot{
		{name: "all servers a year ahead, clock right", level: "coarse", lost: "unsynchronized server"},
		{name: "all servers a year ahead, DoH with Date", off: -2 * year, front: dated, level: "coarse", lost: "unsynchronized server"},
	} {
		b.said = "which contradicts dns.google's certificate"
		t.Run(b.name, func(t *testing.T) { b.run(t, store, sunmi) })
	}
}

// TestStoreBootConspiracyWarm has those servers lie that the box had the time of before: it
// asks them before it sees a certificate. The system's clock tells who is right, so that names
// are resolved.
func TestStoreBootConspiracyWarm(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	sunmi := store.Terminal(t, "sunmi")
	honest := store.Time(t, timeServers...)
	(&boot{name: "no state, clock right", level: "fine"}).run(t, store, sunmi)
	for i, name := range timeServers {
		honest[i].Stop(t)
		store.ServeTime(t, name, year)
	}
	box := store.Box.Start(t)
	waitFor(t, func() bool { return timeOf(t, store).Level == "coarse" })
	reply := resolve(t, sunmi, "udp", sunmi.Box4, question("www.qualcomm.cn", dns.TypeA))
	if got, gist := addresses(reply); len(got) != 1 {
		t.Errorf("www.qualcomm.cn: %s", gist)
	}
	if now, _, err := sntp(sunmi, sunmi.Box4, 0); err == nil || err.Error() != "unsynchronized server" {
		t.Errorf("told %v by a clock off by %v", err, time.Until(now))
	}
	box.Stop(t)
}
