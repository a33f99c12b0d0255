package decision

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tillgate/policy"
)

// attempt does what a plane does.
func (j *Journal) attempt(r Record) {
	if !j.Repeat(r.Key()) {
		j.Record(r)
	}
}

// pendingRecords returns what waits to be written.
func pendingRecords(t interface{ Fatal(...any) }, j *Journal) []Record {
	var all []Record
	for l := range bytes.Lines(j.pending) {
		r, err := ParseRecord(l)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := mustOpen(t, Config{Dir: dir, Sync: time.Minute}, quickDisk(), defaults())
		stop := serve(t, j)
		r := denial("10.0.0.1", "x.example")
		r.Class, r.Rule, r.Service, r.Row, r.Policy = "pos", "policy.yaml:3", "payxpert/emv", 1, "0123456789ab"
		first := r
		first.Ms, first.Detail, first.Answers, first.CNAME = 1.5, "once", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, []string{"y"}

		j.Record(first) // 00:00, opens the window
		time.Sleep(2 * time.Second)
		j.attempt(r)
		j.attempt(denial("10.0.0.1", "other.example"))
		time.Sleep(3 * time.Second)
		j.attempt(r)
		j.Record(r)                    // a caller that does not ask first is counted, too
		time.Sleep(10 * time.Second)   // 00:15, the window is over
		j.attempt(r)                   // opens another
		if err := stop(); err != nil { // which ends without a repeat
			t.Fatal(err)
		}

		got, _ := collect(t, dir, Query{})
		if len(got) != 4 {
			t.Fatalf("%d records: %+v", len(got), got)
		}
		boot := j.Boot()
		fill := func(r Record, seq uint64, s string) Record { r.Seq, r.Boot, r.Time = seq, boot, at(s); return r }
		counted := fill(r, 3, "2000-01-01T00:00:02Z")
		counted.Count, counted.Until = 3, at("2000-01-01T00:00:05Z")
		want := []Record{
			fill(first, 1, "2000-01-01T00:00:00Z"),
			fill(denial("10.0.0.1", "other.example"), 2, "2000-01-01T00:00:02Z"),
			counted,
			fill(r, 4, "2000-01-01T00:00:15Z"),
		}
		if d := diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// What was counted is on the disk after sync, however long the window is; the
// window goes on. On a bad disk it goes on in memory, where it needs no more.
func TestRepeatsReachTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := &faulty{}
		j := mustOpen(t, Config{Dir: dir, RepeatWindow: time.Hour}, f.disk(), defaults())
		stop := serve(t, j)
		r := denial("10.0.0.1", "x.example")
		attempts := func(n int) {
			for range n {
				j.attempt(r)
			}
		}
		check := func(want string) {
			t.Helper()
			records, _ := collect(t, dir, Query{})
			var got []string
			for _, r := range records {
				if r.Event == "" {
					got = append(got, fmt.Sprint(r.Count, " ", r.Time.Format("04:05"), " ", r.Until.Format("04:05")))
				}
			}
			if strings.Join(got, ", ") != want {
				t.Errorf("at %v: %q, want %q", time.Now(), got, want)
			}
		}
		attempts(1)
		time.Sleep(time.Second)
		attempts(2)
		time.Sleep(2 * time.Second)
		attempts(1)
		time.Sleep(2*time.Second + 1)
		synctest.Wait()
		want := "0 00:00 00:00, 3 00:01 00:03"
		check(want)
		time.Sleep(5 * time.Second) // nothing was counted, nothing is written
		synctest.Wait()
		check(want)

		f.set(faults{write: syscall.EIO})
		j.Record(event("meets the fault"))
		time.Sleep(5 * time.Second) // 00:15
		for range 10 {
			attempts(1)
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		if n := len(pendingRecords(t, j)); n != 2 { // the event, and that of the fault
			t.Errorf("%d records wait for a bad disk", n)
		}
		f.set(faults{})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want += ", 10 00:15 01:00"
		check(want)

		attempts(2)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		check(want + ", 2 01:15 01:15")
		intact(t, dir)
	})
}

// What others counted is on the disk when Sync is over, as of when it was, and under what
// it was decided by.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		type counted struct {
			name string
			n    uint64
			at   time.Time
		}
		var mu sync.Mutex
		var all []counted
		var j *Journal
		j = mustOpen(t, Config{Dir: dir, RepeatWindow: time.Minute, Settle: func() {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range all {
				r := denial("10.0.0.1", c.name)
				r.Policy = "0123456789ab"
				j.Repeats(r, c.n, time.Since(c.at), time.Since(c.at)-time.Second/2)
			}
			all = nil
		}}, quickDisk(), defaults())
		stop := serve(t, j)
		count := func(name string, n uint64) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, counted{name, n, time.Now()})
		}
		first := denial("10.0.0.1", "x.example")
		first.Policy = "0123456789ab"
		j.Record(first)
		time.Sleep(4 * time.Second)
		count("x.example", 3)
		count("no-window.example", 5)
		count("once.example", 1)
		time.Sleep(time.Second + 1)
		synctest.Wait()
		records, _ := collect(t, dir, Query{})
		got := ""
		for _, r := range records {
			got += fmt.Sprint(r.Name, " ", r.Count, " ", r.Time.Format("05.0"), " ", r.Until.Format("05.0"), " ", r.Policy, ", ")
		}
		const policy = " 0123456789ab, "
		if want := "x.example 0 00.0 00.0" + policy + "no-window.example 5 04.0 04.5" + policy + "once.example 0 04.0 00.0" + policy + "x.example 3 04.0 04.5" + policy; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A new policy ends a window, of a key and of a full table: what it decided is
// told with its hash and its rule.
func TestRepeatNewPolicy(t *testing.T) {
	now, inForce := at("2026-11-22T10:00:00Z"), "aaaaaaaaaaaa"
	l := defaults()
	l.windows = 2
	j := mustOpen(t, Config{Dir: t.TempDir(), Now: func() time.Time { return now }, PolicyID: func() string { return inForce }}, quickDisk(), l)
	full := false
	attempts := func(name, rule string) {
		for range 3 {
			now = now.Add(time.Millisecond)
			r := denial("10.0.0.1", name)
			r.Rule = rule
			if known := j.Repeat(r.Key()); !known {
				j.Record(r)
			} else if full {
				t.Error("a repeat without a window")
			}
		}
	}
	attempts("x", "old:1")
	attempts("y", "old:2")
	full = true
	attempts("z", "old:3")
	inForce = "bbbbbbbbbbbb"
	attempts("z", "new:3")
	full = false
	attempts("x", "new:1")
	if _, open := j.repeats.stats(); open != 3 {
		t.Errorf("%d windows are open", open)
	}
	j.repeats.close()
	var got []string
	for _, r := range pendingRecords(t, j) {
		got = append(got, fmt.Sprint(r.Name, " ", r.Policy[:1], " ", r.Rule, " ", r.Count))
	}
	want := []string{"x a old:1 0", "y a old:2 0", " a  3", "x a old:1 2", "x b new:1 0", "y a old:2 2", " b  3", "x b new:1 2"}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
}

// Each field of a key tells records apart. Of events only the ends of exchanges by HTTP
// are counted.
func TestRepeatKeys(t *testing.T) {
	j := mustOpen(t, Config{Dir: t.TempDir()}, quickDisk(), defaults())
	base := Record{Plane: policy.HTTP, Client: netip.MustParseAddr("10.0.0.1")}
	all := []func(r *Record){
		func(r *Record) {},
		func(r *Record) { r.Plane = policy.TLS },
		func(r *Record) { r.Verdict = policy.Allow },
		func(r *Record) { r.Reason = policy.Expired },
		func(r *Record) { r.Client = netip.MustParseAddr("10.0.0.2") },
		func(r *Record) { r.Name = "x" },
		func(r *Record) { r.Port = 1 },
		func(r *Record) { r.Proto = policy.TCP },
		func(r *Record) { r.Qtype = "A" },
		func(r *Record) { r.Rcode = "NXDOMAIN" },
		func(r *Record) { r.Stale = true },
		func(r *Record) { r.By = "client" },
		func(r *Record) { r.Event = EventClose },
		func(r *Record) { r.Event, r.Name = EventClose, "x" },
		func(r *Record) { r.Event, r.By = EventClose, "client" },
		func(r *Record) { r.Event, r.Rcode = EventClose, "connection_terminated" },
		func(r *Record) { r.Event, r.Plane = EventClose, policy.Connect },
		func(r *Record) { r.Event = EventOpen },
	}
	for range 2 {
		for _, change := range all {
			r := base
			change(&r)
			j.Record(r)
		}
	}
	if got := len(pendingRecords(t, j)); got != len(all)+2 {
		t.Errorf("%d records, want %d: one a key, and of two events each", got, len(all)+2)
	}
}

// Whatever is full, the bytes of all records are those that exchanges moved.
func TestRepeatAddsUpBytes(t *testing.T) {
	now := at("2026-11-22T10:00:00Z")
	for _, windows := range []int{0, 1, shardWindows} {
		j := mustOpen(t, Config{Dir: t.TempDir(), Now: func() time.Time { return now }}, quickDisk(), limits{maxPending, segmentSize, windows, 0})
		for i := range 10 {
			for _, name := range []string{"a.example", "b.example"} {
				r := Record{Plane: policy.HTTP, Event: EventClose, Verdict: policy.Allow, Client: netip.MustParseAddr("10.0.0.1"), Name: name, By: "server"}
				r.Up, r.Down, r.Ms = 1, uint64(i), 5
				j.Record(r)
			}
			if i == 5 {
				j.repeats.writeCounts()
			}
		}
		j.repeats.close()
		var got Record
		records := pendingRecords(t, j)
		for _, r := range records {
			if r.Event != EventClose {
				t.Errorf("%+v", r)
			}
			got.Count += r.attempts()
			got.Up += r.Up
			got.Down += r.Down
		}
		if got.Count != 20 || got.Up != 20 || got.Down != 90 || len(records) > 6 {
			t.Errorf("%d windows: %d records of %d ends, %d up, %d down", windows, len(records), got.Count, got.Up, got.Down)
		}
	}
}

// Repeat keeps nothing of the key: its name may be overwritten.
func TestRepeatKeepsNoName(t *testing.T) {
	j := mustOpen(t, Config{Dir: t.TempDir()}, quickDisk(), defaults())
	buf := []byte("x.example")
	r := denial("10.0.0.1", string(buf))
	k := r.Key()
	if j.Repeat(k) {
		t.Error("a repeat of nothing")
	}
	j.Record(r)
	if !j.Repeat(k) {
		t.Error("no repeat")
	}
	if n := testing.AllocsPerRun(100, func() { j.Repeat(k) }); n != 0 {
		t.Errorf("Repeat allocates %v times", n)
	}
	k.Name = "y.example"
	if n := testing.AllocsPerRun(100, func() { j.Repeat(k) }); n != 0 {
		t.Errorf("Repeat of an unknown key allocates %v times", n)
	}
}

// A clock that is set back ends a window, and loses no count.
func TestRepeatClockSetBack(t *testing.T) {
	now := at("2026-11-22T10:00:00Z")
	j := mustOpen(t, Config{Dir: t.TempDir(), Now: func() time.Time { return now }}, quickDisk(), defaults())
	r := denial("10.0.0.1", "x.example")
	j.attempt(r)
	j.attempt(r)
	now = now.Add(-time.Hour)
	j.attempt(r)
	j.repeats.close()
	got := pendingRecords(t, j)
	if len(got) != 3 || got[1].Count != 1 || !got[2].Time.Equal(now) {
		t.Errorf("%+v", got)
	}
}

// A full table: per client first, then all together, and every attempt is in
// some record.
func TestRepeatOverflow(t *testing.T) {
	now := at("2026-11-22T10:00:00Z")
	j := mustOpen(t, Config{Dir: t.TempDir(), Now: func() time.Time { return now }}, quickDisk(), limits{maxPending, segmentSize, 2, 3})
	// IPv6 clients that are all in one shard.
	var clients []string
	first := j.repeats.shard(netip.MustParseAddr("fd00::1"))
	for i := 1; len(clients) < 6; i++ {
		if a := netip.MustParseAddr(fmt.Sprintf("fd00::%x", i)); j.repeats.shard(a) == first {
			clients = append(clients, a.String())
		}
	}
	for i, c := range clients {
		for n := range 3 {
			r := denial(c, fmt.Sprintf("%d.example", n))
			r.Class = "pos"
			j.attempt(r)
			if i == 5 {
				r.Count = 10 // the firewall's records stand for many
				j.attempt(r)
			}
		}
	}
	if _, open := j.repeats.stats(); open != 2+3+1 {
		t.Errorf("%d windows are open, want 2 of keys, 3 of clients and one of all others", open)
	}
	now = now.Add(10 * time.Second)
	j.repeats.sweep(now)
	var got []string
	for _, r := range pendingRecords(t, j) {
		got = append(got, fmt.Sprint(r.Client, r.Class, " ", r.Name, " ", r.Count, " ", r.Detail))
	}
	one, all := "various names; too many at once to list", "various clients and names; too many at once to list"
	want := []string{
		clients[0] + "pos 0.example 0 ", clients[0] + "pos 1.example 0 ",
		clients[0] + "pos  1 " + one, clients[1] + "pos  3 " + one, clients[2] + "pos  3 " + one,
		"invalid IP  39 " + all,
	}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
	if _, open := j.repeats.stats(); open != 0 {
		t.Errorf("%d windows are left", open)
	}
}

// The bounds of the box: one client fills its shard only, and no flood opens
// more windows than the bounds say.
func TestRepeatBounds(t *testing.T) {
	now := at("2026-11-22T10:00:00Z")
	j := mustOpen(t, Config{Dir: t.TempDir(), Now: func() time.Time { return now }}, quickDisk(), defaults())
	for i := range 10000 {
		j.attempt(denial("10.0.0.1", fmt.Sprint(i)))
	}
	if _, open := j.repeats.stats(); open != shardWindows+1 {
		t.Errorf("one client opens %d windows", open)
	}
	other := denial("10.0.0.2", "x.example")
	if j.repeats.shard(other.Client) == j.repeats.shard(netip.MustParseAddr("10.0.0.1")) {
		t.Fatal("neighbours share a shard: choose another client")
	}
	j.attempt(other)
	if !j.Repeat(other.Key()) {
		t.Error("a client has no window because another floods")
	}
	// Every address, plane, verdict and reason.
	for i := range 40000 {
		r := Record{Plane: policy.Plane(i % 6), Verdict: policy.Verdict(i / 6 % 3), Reason: policy.Reason(i / 18 % int(policy.TimeUntrusted+1)), Name: fmt.Sprint(i)}
		r.Client = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		j.attempt(r)
	}
	bound := shards * (shardWindows + shardClients + 6*3*int(policy.TimeUntrusted+1))
	if _, open := j.repeats.stats(); open > bound || open < shards*(shardWindows+shardClients) {
		t.Errorf("a flood opens %d windows, the bound is %d", open, bound)
	}
}

// Whatever happens, the counts of the records add up to the attempts: per
// plane, verdict and reason always, per key where no table is full.
func TestRepeatsLoseNothing(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		inForce := "a"
		now := at("2026-11-22T10:00:00Z")
		windows, clients := rapid.IntRange(0, 4).Draw(t, "windows"), rapid.IntRange(0, 2).Draw(t, "clients")
		j, err := open(Config{Dir: dir, Now: func() time.Time { return now }, PolicyID: func() string { return inForce }}, quickDisk(), limits{maxPending, segmentSize, windows, clients})
		if err != nil {
			t.Fatal(err)
		}
		type kind struct {
			policy.Plane
			policy.Verdict
			policy.Reason
		}
		kinds, keys := make(map[kind]uint64), make(map[Key]uint64)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			r := Record{
				Plane:   rapid.SampledFrom([]policy.Plane{policy.DNS, policy.TLS}).Draw(t, "plane"),
				Verdict: policy.Verdict(rapid.IntRange(0, 2).Draw(t, "verdict")),
				Reason:  policy.Reason(rapid.IntRange(1, 2).Draw(t, "reason")),
				Client:  netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 5).Draw(t, "client"))}),
				Name:    rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"),
			}
			n := uint64(1)
			if rapid.IntRange(0, 9).Draw(t, "many") == 0 {
				n = 7
				j.Repeats(r, n, 3*time.Second, time.Second)
			} else {
				j.attempt(r)
			}
			kinds[kind{r.Plane, r.Verdict, r.Reason}] += n
			keys[r.Key()] += n
			now = now.Add(time.Duration(rapid.IntRange(-1, 6).Draw(t, "seconds")) * time.Second)
			if rapid.Bool().Draw(t, "sweep") {
				j.repeats.sweep(now)
			}
			if rapid.IntRange(0, 3).Draw(t, "sync") == 0 {
				j.repeats.writeCounts()
			}
			inForce = rapid.SampledFrom([]string{inForce, inForce, "a", "b"}).Draw(t, "policy")
		}
		j.repeats.close()
		gotKinds, gotKeys, unlisted := make(map[kind]uint64), make(map[Key]uint64), false
		for _, r := range pendingRecords(t, j) {
			gotKinds[kind{r.Plane, r.Verdict, r.Reason}] += r.attempts()
			gotKeys[r.Key()] += r.attempts()
			unlisted = unlisted || r.Detail != ""
			if r.Count > 0 && r.Until.IsZero() {
				t.Fatalf("a count without until: %+v", r)
			}
		}
		if d := diff(kinds, gotKinds); d != "" {
			t.Fatal(d)
		}
		if d := diff(keys, gotKeys); d != "" && !unlisted {
			t.Fatal(d)
		}
	})
}

func BenchmarkRepeat(b *testing.B) {
	for _, windows := range []int{1, 4096} {
		b.Run(fmt.Sprint(windows), func(b *testing.B) {
			j := mustOpen(b, Config{Dir: b.TempDir()}, quickDisk(), defaults())
			var keys []Key
			for i := range windows {
				r := denial(fmt.Sprintf("10.0.%d.%d", i%16, i%251), fmt.Sprintf("name-%d.some.example", i))
				j.Record(r)
				keys = append(keys, r.Key())
			}
			j.cfg.Now = func() time.Time { return time.Now() }
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				j.Repeat(keys[i%len(keys)])
			}
		})
	}
}

func BenchmarkRecord(b *testing.B) {
	j := mustOpen(b, Config{Dir: b.TempDir()}, quickDisk(), defaults())
	r := full()
	r.Event, r.Time = EventClose, time.Time{}
	b.ReportAllocs()
	for b.Loop() {
		j.Record(r)
		if len(j.pending) > 1<<20 {
			j.pending = j.pending[:0]
		}
	}
}

func BenchmarkParseRecord(b *testing.B) {
	line := []byte(fullLine)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := ParseRecord(line); err != nil {
			b.Fatal(err)
		}
	}
}

// The firewall knows no names: what its attempts are told apart by is where they were to
// go, and the record of the repeats says so, too.
func TestRepeatsOfTheFirewall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, Config{Dir: t.TempDir(), Sync: time.Minute}, quickDisk(), defaults())
		for _, dest := range []string{"8.8.8.8:853", "8.8.4.4:853", "8.8.8.8:853", "8.8.8.8:853"} {
			j.attempt(Record{Plane: policy.Firewall, Reason: policy.FirewallReject, Client: netip.MustParseAddr("10.0.0.1"),
				Port: 853, Proto: policy.TCP, Dest: netip.MustParseAddrPort(dest), Count: 5, Detail: "of " + dest})
		}
		j.repeats.writeCounts()
		var got []string
		for _, r := range pendingRecords(t, j) {
			got = append(got, fmt.Sprintf("%s %s %d", r.Dest, r.Detail, r.Count))
		}
		want := []string{"8.8.8.8:853 of 8.8.8.8:853 5", "8.8.4.4:853 of 8.8.4.4:853 5", "8.8.8.8:853 of 8.8.8.8:853 2"}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Who tries passwords all day makes few records of it; who gets in stands out.
func TestRepeatsOfLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, Config{Dir: t.TempDir(), Sync: time.Minute}, quickDisk(), defaults())
		login := Record{Plane: policy.System, Event: EventLogin, Client: netip.MustParseAddr("10.20.9.5")}
		wrong, limited, right := login, login, login
		wrong.Detail, limited.Detail, limited.Reason, right.Detail, right.By = "wrong", "not looked at", policy.RateLimited, "in", "console"
		for _, r := range []Record{wrong, wrong, wrong, limited, limited, right} {
			j.Record(r)
		}
		j.repeats.writeCounts()
		var got []string
		for _, r := range pendingRecords(t, j) {
			got = append(got, fmt.Sprintf("%s %d", r.Detail, r.Count))
		}
		slices.Sort(got)
		want := []string{"in 0", "not looked at 0", "not looked at 1", "wrong 0", "wrong 2"}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
