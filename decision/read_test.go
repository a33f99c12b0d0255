package decision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tillgate/policy"
)

func TestMatch(t *testing.T) {
	r := Record{Time: at("2026-11-22T10:00:00Z"), Until: at("2026-11-22T10:00:09Z"), Seq: 7, Plane: policy.DNS, Verdict: policy.WouldDeny,
		Client: netip.MustParseAddr("fe80::1%eth0"), Class: "pos", Name: "a.b.example"}
	for _, tt := range []struct {
		q    string
		from Query
		want bool
	}{
		{"all", Query{}, true},
		{"since the last moment", Query{Since: at("2026-11-22T10:00:09Z")}, true},
		{"since after", Query{Since: at("2026-11-22T10:00:09.1Z")}, false},
		{"until the first moment", Query{Until: at("2026-11-22T10:00:00Z")}, false},
		{"until after the first moment", Query{Until: at("2026-11-22T10:00:00.1Z")}, true},
		{"after the one before", Query{After: 6}, true},
		{"after itself", Query{After: 7}, false},
		{"client", Query{Client: netip.MustParsePrefix("fe80::1/128")}, true},
		{"client's network", Query{Client: netip.MustParsePrefix("fe80::/10")}, true},
		{"other client", Query{Client: netip.MustParsePrefix("fe80::2/128")}, false},
		{"class", Query{Class: "pos"}, true},
		{"other class", Query{Class: "po"}, false},
		{"name", Query{Name: "a.b.example"}, true},
		{"part of the name", Query{Name: "b.example"}, false},
		{"below", Query{Name: "*.example"}, true},
		{"below, one label", Query{Name: "*.b.example"}, true},
		{"below itself", Query{Name: "*.a.b.example"}, false},
		{"below, not at a dot", Query{Name: "*.xample"}, false},
		{"no pattern", Query{Name: "*b.example"}, false},
		{"planes", Query{Planes: []policy.Plane{policy.TLS, policy.DNS}}, true},
		{"other planes", Query{Planes: []policy.Plane{policy.TLS}}, false},
		{"denied", Query{Verdicts: Denied()}, true},
		{"allowed", Query{Verdicts: []policy.Verdict{policy.Allow}}, false},
	} {
		if got := tt.from.Match(&r); got != tt.want {
			t.Errorf("%s: %v", tt.q, got)
		}
	}
	system := Record{Plane: policy.System}
	if q := (Query{Verdicts: Denied()}); q.Match(&system) {
		t.Error("what decides nothing is not denied")
	}
	set := Record{Time: at("2026-11-22T10:00:00Z"), Until: at("2026-11-22T09:00:00Z")}
	if q := (Query{Since: at("2026-11-22T09:30:00Z")}); !q.Match(&set) {
		t.Error("a clock set back hides the first attempt")
	}
}

// history has a segment a run: two compressed, one plain.
func history(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i, day := range []string{"2026-11-20", "2026-11-22", "2026-11-21"} { // the clock was set back
		clock := &settable{at(day + "T10:00:00Z")}
		j := mustOpen(t, Config{Dir: dir, Now: clock.now, Boot: "b"}, quickDisk(), defaults())
		if err := j.tidy(context.Background()); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			r := denial(fmt.Sprintf("10.0.%d.%d", i, n), fmt.Sprintf("%d.example", n))
			if n == 1 {
				r.Verdict, r.Reason = policy.Allow, policy.Documented
			}
			j.Record(r)
			clock.t = clock.t.Add(time.Hour)
		}
		if err := j.flush(); err != nil {
			t.Fatal(err)
		}
		j.writer.close()
	}
	j := mustOpen(t, Config{Dir: dir, Boot: "b"}, quickDisk(), defaults())
	if err := j.tidy(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRead(t *testing.T) {
	dir := history(t)
	if got := names(t, dir); got != "00000001.jsonl.zst 00000002.jsonl.zst 00000003.jsonl" {
		t.Fatal(got)
	}
	for _, tt := range []struct {
		name string
		q    Query
		want string
	}{
		{"all", Query{}, "1 2 3 4 5 6 7 8 9"},
		{"by time, whatever the order", Query{Since: at("2026-11-21T11:00:00Z"), Until: at("2026-11-22T12:00:00Z")}, "4 5 8 9"},
		{"after", Query{After: 5}, "6 7 8 9"},
		{"after a segment", Query{After: 6}, "7 8 9"},
		{"denied in a network", Query{Verdicts: Denied(), Client: netip.MustParsePrefix("10.0.1.0/24")}, "4 6"},
		{"name", Query{Name: "2.example"}, "3 6 9"},
		{"nothing", Query{Name: "3.example"}, ""},
	} {
		records, damage := collect(t, dir, tt.q)
		var got []string
		for _, r := range records {
			got = append(got, fmt.Sprint(r.Seq))
		}
		if strings.Join(got, " ") != tt.want || len(damage) > 0 {
			t.Errorf("%s: %v, want %s; damage %q", tt.name, got, tt.want, damage)
		}
	}
}

// What is looked for is found whatever the lines are passed over by, and how far the
// reading is told before each segment.
func TestReadMarks(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	odd := "a\"b\u202e.example" // is escaped in its line
	fw := Record{Plane: policy.Firewall, Client: netip.MustParseAddr("fe80::7%eth0"), Dest: netip.MustParseAddrPort("8.8.8.8:853")}
	fw.SetDestNames([]string{"dns.google"})
	for _, r := range []Record{denial("10.0.0.7", "ads.example"), denial("10.0.0.77", "more.ads.example"), denial("10.0.0.7", odd), fw, event("10.0.0.7 ads.example")} {
		j.Record(r)
	}
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	j.writer.close()
	one := func(a string) netip.Prefix { p := netip.MustParseAddr(a); return netip.PrefixFrom(p, p.BitLen()) }
	for _, tt := range []struct {
		q    Query
		want string
	}{
		{Query{}, "[1 2 3 4 5]"},
		{Query{Name: "ads.example"}, "[1]"},
		{Query{Name: "*.ads.example"}, "[2]"},
		{Query{Name: odd}, "[3]"},
		{Query{Name: "dns.google"}, "[4]"},
		{Query{Client: one("10.0.0.7")}, "[1 3]"},
		{Query{Client: one("10.0.0.7"), Name: "ads.example"}, "[1]"},
		{Query{Client: one("fe80::7")}, "[4]"},
		{Query{Client: netip.MustParsePrefix("10.0.0.0/24")}, "[1 2 3]"},
	} {
		var got []uint64
		records, damage := collect(t, dir, tt.q)
		for _, r := range records {
			got = append(got, r.Seq)
		}
		if fmt.Sprint(got) != tt.want || len(damage) > 0 {
			t.Errorf("%+v: %v, want %s; %q", tt.q, got, tt.want, damage)
		}
	}
}

func TestReadProgress(t *testing.T) {
	dir := history(t)
	size := func(name string) int64 {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	second, third := size(packedName(2)), size(plainName(3))
	var told []Progress
	q := Query{After: 3, Progress: func(p Progress) bool { told = append(told, p); return true }}
	if records, _ := collect(t, dir, q); len(records) != 6 {
		t.Errorf("%d records", len(records))
	}
	if d := diff([]Progress{{0, second + third}, {second, second + third}}, told); d != "" {
		t.Error(d)
	}
	q.Progress = func(p Progress) bool { return p.Done == 0 }
	if records, _ := collect(t, dir, q); len(records) != 3 {
		t.Errorf("%d records before the reading was ended", len(records))
	}
}

// A compressed segment whose time does not touch the query's is not read.
func TestReadPasses(t *testing.T) {
	dir := history(t)
	name := filepath.Join(dir, packedName(1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1 // its content's checksum
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, q := range []Query{{Since: at("2026-11-20T12:00:00.1Z")}, {Until: at("2026-11-20T10:00:00Z")}, {After: 3}} {
		if _, damage := collect(t, dir, q); len(damage) > 0 {
			t.Errorf("%+v: it was read", q)
		}
	}
	for _, q := range []Query{{Since: at("2026-11-20T12:00:00Z")}, {Until: at("2026-11-20T10:00:00.1Z")}, {After: 2}} {
		if _, damage := collect(t, dir, q); len(damage) != 1 {
			t.Errorf("%+v: it was not read", q)
		}
	}
}

func TestReadStops(t *testing.T) {
	dir := history(t)
	for want := 1; want <= 9; want++ {
		n := 0
		for range Read(dir, Query{}) {
			if n++; n == want {
				break
			}
		}
		if n != want {
			t.Errorf("%d records before a break after %d", n, want)
		}
	}
	n := 0
	for _, err := range Read(filepath.Join(dir, "none"), Query{}) {
		if n++; !errors.Is(err, os.ErrNotExist) {
			t.Errorf("no folder: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d results without a folder", n)
	}
}

// Every single damaged byte of a plain segment costs at most two records (a
// line end joins two lines), and reading goes on after it.
func TestReadDamaged(t *testing.T) {
	dir := history(t)
	name := filepath.Join(dir, plainName(3))
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(good); i += stride() {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		records, damage := collect(t, dir, Query{})
		if len(records) < 7 || len(records)+len(damage) < 8 || len(damage) > 2 {
			t.Fatalf("byte %d: %d records, damage %q", i, len(records), damage)
		}
		rep, err := Verify(dir)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Broken == nil && len(rep.Notices) == 0 {
			t.Fatalf("byte %d: nobody sees it", i)
		}
	}
	for i := 0; i < len(good); i += stride() {
		if err := os.WriteFile(name, good[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		if records, damage := collect(t, dir, Query{}); len(records) < 6 || len(damage) > 1 {
			t.Fatalf("cut at %d: %d records, damage %q", i, len(records), damage)
		}
	}
}

// Damage to a compressed segment costs its frame at most; to what stands
// before the frames, nothing.
func TestReadDamagedFrames(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	for i := range 4000 {
		j.Record(event(fmt.Sprintf("%d %s", i, strings.Repeat("x", i%97))))
	}
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	j.writer.close()
	d := quickDisk()
	if err := pack(context.Background(), &d, dir, 1); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, packedName(1))
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(good) < 20000 {
		t.Fatalf("compressed to %d bytes", len(good))
	}
	lost, intactOnes := 0, 0
	for i := 0; i < len(good); i += (1 + len(good)/60) * stride() {
		bad := bytes.Clone(good)
		bad[i] ^= 0x04
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		records, damage := collect(t, dir, Query{})
		lost = max(lost, 4000-len(records))
		if len(records) == 4000 {
			intactOnes++
		} else if len(damage) != 1 {
			t.Errorf("byte %d: %d records, damage %q", i, len(records), damage)
		}
		last := uint64(0)
		for _, r := range records {
			if r.Seq <= last || r.Event != EventStart {
				t.Fatalf("byte %d: %+v", i, r)
			}
			last = r.Seq
		}
		// A flipped bit that decodes to the same bytes is no change.
		if rep, err := Verify(dir); err != nil || rep.Broken == nil && len(records) < 4000 {
			t.Errorf("byte %d: nobody sees it (%v)", i, err)
		}
	}
	if lost == 0 || lost > 3000 || intactOnes == 0 {
		t.Errorf("up to %d records lost, %d times none", lost, intactOnes)
	}
}

// One who reads while the box writes, rotates, packs and deletes sees every
// record that is there all the time, once, in order.
func TestReadWhileWriting(t *testing.T) {
	dir := t.TempDir()
	l := defaults()
	l.segment = 4000
	j := mustOpen(t, Config{Dir: dir, MaxSize: 1 << 20}, quickDisk(), l)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	total := 3000 / stride()
	wg.Go(func() {
		defer close(stop)
		for i := range total {
			j.Record(event(fmt.Sprint(i)))
			if i%10 == 0 {
				j.flush()
			}
			if i%100 == 0 {
				j.tidy(context.Background())
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for done := false; !done; {
				select {
				case <-stop:
					done = true
				default:
				}
				low := j.Stats().Records
				last := uint64(0)
				for r, err := range j.Read(Query{}) {
					if err != nil {
						t.Error(err)
					}
					if r.Seq != last+1 {
						t.Errorf("seq %d follows %d", r.Seq, last)
					}
					last = r.Seq
				}
				if last < low {
					t.Errorf("read up to %d, %d were recorded before", last, low)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
	j.writer.close()
	intact(t, dir)
}

// What is read is what there was when reading began, once, even if it moves
// from memory to the disk and into a compressed segment meanwhile.
func TestReadSnapshot(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	j.batch(t, "1")
	j.writer.close()
	j.batch(t, "2")
	j.Record(event("3"))
	var got []Record
	for r, err := range j.Read(Query{}) {
		if err != nil {
			t.Error(err)
		}
		if got = append(got, r); len(got) == 1 {
			j.batch(t, "4")
			j.writer.close()
			j.batch(t, "5")
			if err := j.tidy(context.Background()); err != nil || names(t, dir) != "00000001.jsonl.zst 00000002.jsonl.zst 00000003.jsonl" {
				t.Fatal(err, names(t, dir))
			}
		}
	}
	if details(got) != "1 2 3" {
		t.Errorf("read %s", details(got))
	}
	// A segment that was begun since is not looked at: its last line may be half there.
	edit(t, filepath.Join(dir, plainName(3)), func(b []byte) []byte { return b[:len(b)-5] })
	for _, err := range readUntil(dir, Query{}, edge{seq: 4, active: 2, sealed: 1 << 20}, nil) {
		if err != nil {
			t.Error(err)
		}
	}
}

// A line longer than any record's is told, not read.
func TestLongLine(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir}, quickDisk(), defaults())
	j.batch(t, "1")
	j.writer.close()
	r := full()
	r.Seq = 2
	for _, tt := range []struct{ detail, damage int }{{maxLine / 2, 0}, {maxLine, 1}} {
		r.Detail = strings.Repeat("x", tt.detail)
		edit(t, filepath.Join(dir, plainName(1)), func(b []byte) []byte { return append(r.AppendJSON(b), '\n') })
		_, damage := collect(t, dir, Query{})
		if len(damage) != tt.damage || tt.damage > 0 && !strings.Contains(damage[0], "line 5: too long for a record") {
			t.Errorf("%d bytes: damage %q", tt.detail, damage)
		}
	}
}

// The magic number of a frame may stand within one by chance.
func TestFrames(t *testing.T) {
	enc, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	noise := make([]byte, 1000)
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range noise { // does not compress, so it stands in the frame as it is
		noise[i] = byte(rnd.IntN(256))
	}
	copy(noise[500:], frameMagic)
	other := []byte("other content")
	file := appendSkippable(nil, rollupMagic, enc.EncodeAll(other, nil))
	file = enc.EncodeAll(noise, file)
	if n := bytes.Count(file, frameMagic); n != 3 {
		t.Fatalf("the magic number stands there %d times", n)
	}
	file = enc.EncodeAll(other, file)
	f, err := newFrames(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.dec.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, append(bytes.Clone(noise), other...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestUsages(t *testing.T) {
	dir := t.TempDir()
	clock := &settable{at("2026-11-22T10:30:00Z")}
	j := mustOpen(t, Config{Dir: dir, Now: clock.now, Boot: "b"}, quickDisk(), defaults())
	allow := Record{Plane: policy.Connect, Verdict: policy.Allow, Reason: policy.Documented, Client: netip.MustParseAddr("10.0.0.1"),
		Name: "a", Service: "payxpert/emv", Rule: "packs/payxpert.yaml:9"}
	for range 3 {
		j.attempt(allow)
	}
	j.attempt(denial("10.0.0.2", "b"))
	closed := allow
	closed.Event, closed.Up, closed.Down = EventClose, 10, 200
	j.Record(closed)
	opened := allow
	opened.Event = EventOpen
	j.Record(opened)
	j.Record(event("not counted"))
	clock.t = clock.t.Add(time.Hour)
	j.repeats.close()
	j.Record(closed)
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	j.writer.close()
	want := []Usage{
		{at("2026-11-22T10:00:00Z"), policy.Connect, policy.Allow, policy.Documented, allow.Client, allow.Service, allow.Rule, 3, 10, 200},
		{at("2026-11-22T10:00:00Z"), policy.DNS, policy.Deny, policy.NotDocumented, netip.MustParseAddr("10.0.0.2"), "", "", 1, 0, 0},
		{at("2026-11-22T11:00:00Z"), policy.Connect, policy.Allow, policy.Documented, allow.Client, allow.Service, allow.Rule, 0, 10, 200},
	}
	read := func(since, until string) (got []Usage, damage int) {
		var from, to time.Time
		if since != "" {
			from, to = at(since), at(until)
		}
		for u, err := range Usages(dir, from, to) {
			if err != nil {
				damage++
			} else {
				got = append(got, u)
			}
		}
		return got, damage
	}
	for _, packed := range []bool{false, true} {
		if packed {
			d := quickDisk()
			if err := pack(context.Background(), &d, dir, 1); err != nil {
				t.Fatal(err)
			}
		}
		got, damage := read("", "")
		if d := diff(want, got); d != "" || damage > 0 {
			t.Errorf("packed %v: %d damaged, %s", packed, damage, d)
		}
		if got, _ := read("2026-11-22T11:00:00Z", "2026-11-22T12:00:00Z"); len(got) != 1 {
			t.Errorf("packed %v: the second hour has %d rows", packed, len(got))
		}
	}
	// A damaged rollup is made anew from the records.
	name := filepath.Join(dir, packedName(1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sum, rest, ok := skippable(b)
	if !ok {
		t.Fatal("it does not begin with a skippable frame")
	}
	b[len(b)-len(rest)+20] ^= 0xff
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, damage := read("", ""); diff(want, got) != "" || damage > 0 {
		t.Errorf("damaged: %d damaged, %s", damage, diff(want, got))
	}
	if err := os.WriteFile(name, append(appendSkippable(nil, summaryMagic, sum), "junk"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, damage := read("", ""); len(got) != 0 || damage != 1 {
		t.Errorf("gone: %d rows, %d damaged", len(got), damage)
	}
}

// A rollup is bounded, and counts all the same.
func TestRollupFull(t *testing.T) {
	u := newRollup(3000)
	first := at("2026-11-22T10:30:00Z")
	for i := range 1000 {
		r := denial(fmt.Sprintf("10.0.%d.%d", i/250, i%250), "x")
		r.Time, r.Rule, r.Plane = first.Add(time.Duration(i)*time.Minute), fmt.Sprintf("policy.yaml:%d", i), policy.Plane(i%2)
		u.add(&r)
	}
	lines := u.lines()
	if len(lines) > 3000+6*3*350 {
		t.Errorf("%d bytes", len(lines))
	}
	rows, err := parseRollup(lines)
	if err != nil {
		t.Fatal(err)
	}
	total, other := uint64(0), 0
	for _, row := range rows {
		total += row.Count
		if row.Rule == OtherRule {
			if other++; !row.Hour.Equal(at("2026-11-22T10:00:00Z")) || row.Client.IsValid() {
				t.Errorf("%+v", row)
			}
		}
	}
	if total != 1000 || other != 2 {
		t.Errorf("%d counted, %d rows for the others", total, other)
	}
	// The longest line is no longer than what is counted for it.
	zone := strings.Repeat("\xff", 10)
	long := newRollup(maxRollup)
	long.add(&Record{Time: first, Plane: policy.Firewall, Verdict: policy.WouldDeny, Reason: policy.Documented,
		Client:  netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666").WithZone(zone),
		Service: zone, Rule: zone, Count: 1 << 63, Up: 1 << 63, Down: 1 << 63})
	if n := len(long.lines()); n > long.bytes {
		t.Errorf("a line of %d bytes is counted as %d", n, long.bytes)
	}
}
