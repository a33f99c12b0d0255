//go:build !race

// The race detector makes a minute and more of the day below, and there is
// nothing in it for it to find: few goroutines, which other tests run as well.

package decision

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/policy"
)

// The flash budget: what the journal of a store with 30 terminals writes in a
// day, DNS only. To see the figures: go test -run FlashBudget -v ./decision
//
// The model, for each terminal, at times of its own:
//
//   - a connectivity probe every 60 s, whose name is resolved (A and AAAA)
//   - in the 8 hours that the store is open, its 10 names every 5 min, which is
//     their TTL (A and AAAA)
//   - its NTP server's name once an hour (A and AAAA)
//   - 20 names an hour that are denied (A), each tried again after 1 and 3 s
//
// Flash is written in pages of 4 KiB, and a batch that is appended writes its
// first page, half full from before, again: pages counts that.
func TestFlashBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("a day of a store takes some seconds")
	}
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "journal")
		d := quickDisk()
		if os.Getenv("TILLGATE_FLASH_DIR") != "" { // a file system whose device is watched
			dir, d = filepath.Join(os.Getenv("TILLGATE_FLASH_DIR"), "journal"), realDisk()
		}
		var bytes, pages, syncs int64
		write, sync := d.write, d.sync
		d.write = func(f *os.File, b []byte) (int, error) {
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			from, to := info.Size(), info.Size()+int64(len(b))
			bytes += to - from
			pages += (to+4095)/4096 - from/4096
			return write(f, b)
		}
		d.sync = func(f *os.File) error { syncs++; return sync(f) }
		j := mustOpen(t, Config{Dir: dir, PolicyID: func() string { return "0123456789ab" }}, d, defaults())
		stop := serve(t, j)
		lookups := storeDay(j)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		s := j.Stats()
		t.Logf("a day: %d lookups, %d records, %d batches, %d syncs, %.1f MB written, %.1f MB in pages of 4 KiB, %.1f MB kept",
			lookups, s.Records, s.Syncs, syncs, float64(bytes)/1e6, float64(pages)*4096/1e6, float64(s.Bytes)/1e6)
		// A card of 8 GB that can be written 3,000 times lasts for 24 TB: at
		// 300 MB a day, and as much again three times for the file system, for
		// more than 50 years.
		if budget := int64(300e6); pages*4096 > budget {
			t.Errorf("%d bytes in pages, the budget is %d", pages*4096, budget)
		}
		if syncs > 24*60*60/5+100 {
			t.Errorf("%d syncs", syncs)
		}
		rep := intact(t, dir)
		if rep.Records != int(s.Records) {
			t.Errorf("%d records, wrote %d", rep.Records, s.Records)
		}
	})
}

// lookup is what a terminal does again and again.
type lookup struct {
	at    time.Time
	every time.Duration
	open  bool // only while the store is open
	rec   Record
}

type lookups []*lookup

func (l lookups) Len() int           { return len(l) }
func (l lookups) Less(i, k int) bool { return l[i].at.Before(l[k].at) }
func (l lookups) Swap(i, k int)      { l[i], l[k] = l[k], l[i] }
func (l *lookups) Push(x any)        { *l = append(*l, x.(*lookup)) }
func (l *lookups) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// storeDay plays a day, and returns how many lookups there were.
func storeDay(j *Journal) (n int) {
	start := time.Now()
	all := storeLookups(start)
	for all[0].at.Sub(start) < 24*time.Hour {
		time.Sleep(time.Until(all[0].at))
		if r, ok := all.next(start); ok {
			n++
			j.attempt(r)
		}
	}
	time.Sleep(time.Until(start.Add(24 * time.Hour)))
	return n
}

// storeLookups is the model, from start on.
func storeLookups(start time.Time) (all lookups) {
	rnd := rand.New(rand.NewPCG(30, 24))
	add := func(client netip.Addr, name, qtype string, allowed, open bool, first, every time.Duration) {
		r := Record{Plane: policy.DNS, Verdict: policy.Allow, Reason: policy.Documented, Client: client, Class: "terminal", Name: name,
			Proto: policy.UDP, Qtype: qtype, Rcode: "NOERROR", Service: "payxpert/emv", Row: 1, Rule: "packs/payxpert.yaml:17", Ms: 23.417}
		switch {
		case !allowed:
			r.Verdict, r.Reason, r.Rcode, r.Service, r.Row, r.Rule, r.Ms = policy.Deny, policy.NotDocumented, "NXDOMAIN", "", 0, "", 0.041
		case qtype == "A":
			r.Answers = []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("203.0.113.11")}
		default:
			r.Answers = []netip.Addr{netip.MustParseAddr("2001:db8:1234:5678::10")}
		}
		all = append(all, &lookup{start.Add(first), every, open, r})
	}
	for i := range 30 {
		client := netip.AddrFrom4([4]byte{10, 20, 1, byte(10 + i)})
		phase := func(d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d))) }
		both := func(name string, open bool, every time.Duration) {
			first := phase(every)
			add(client, name, "A", true, open, first, every)
			add(client, name, "AAAA", true, open, first+2*time.Millisecond, every)
		}
		both("connectivitycheck.gstatic.com", false, time.Minute)
		both("ntp.sunmi.com", false, time.Hour)
		for k := range 10 {
			both(fmt.Sprintf("service-%d.payxpert.com", k), true, 5*time.Minute)
		}
		for k := range 20 {
			first := phase(time.Hour)
			for _, again := range []time.Duration{0, time.Second, 3 * time.Second} {
				add(client, fmt.Sprintf("tracker-%d.example.net", k), "A", false, false, first+again, time.Hour)
			}
		}
	}
	heap.Init(&all)
	return all
}

// next returns what is done at all[0].at, unless the store is closed then.
func (l *lookups) next(start time.Time) (r Record, ok bool) {
	now := (*l)[0]
	r, ok = now.rec, !now.open
	if hour := now.at.Sub(start) % (24 * time.Hour) / time.Hour; 9 <= hour && hour < 17 {
		ok = true
	}
	now.at = now.at.Add(now.every)
	heap.Fix(l, 0)
	return r, ok
}
