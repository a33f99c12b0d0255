package resolver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestCacheIsBounded(t *testing.T) {
	c := newCache(50, time.Hour)
	inUse := key{"in.use", dns.TypeA}
	c.put(inUse, &answer{ttl: 1000}, start)
	for i := range 1000 {
		now := start.Add(time.Duration(i) * time.Millisecond)
		c.put(key{fmt.Sprint(i), dns.TypeA}, &answer{ttl: 1000}, now)
		c.fail(key{fmt.Sprint("failed", i), dns.TypeA}, errors.New("x"), now, failTTL)
		if c.get(inUse, now).state != fresh {
			t.Fatalf("after %d others, a name in use was pushed out", i)
		}
		if c.len() > 50 {
			t.Fatalf("%d items", c.len())
		}
	}
}

func TestDue(t *testing.T) {
	const warm = time.Hour
	c := newCache(100, time.Hour)
	put := func(name string, ttl uint32, asked time.Time) {
		c.put(key{name, dns.TypeA}, &answer{ttl: ttl}, start)
		c.items[key{name, dns.TypeA}].asked = asked
	}
	put("ends-soon", 100, start)
	put("ends-later", 3000, start)
	put("not-in-use", 100, start.Add(-warm))
	c.fail(key{"never-had-one", dns.TypeA}, errors.New("x"), start, failTTL)
	put("failing", 80, start)
	put("of-a-moment", minWarmTTL-1, start)
	c.put(key{"no-such-name", dns.TypeA}, &answer{ttl: 100, rcode: dns.RcodeNameError}, start)
	c.fail(key{"failing", dns.TypeA}, errors.New("x"), start.Add(88*time.Second), failTTL)

	for _, tt := range []struct {
		after time.Duration
		want  string
	}{
		{0, ""},
		{89 * time.Second, ""},
		{90 * time.Second, "ends-soon"},
		{93 * time.Second, "ends-soon failing"},
	} {
		got := map[string]bool{}
		for _, k := range c.due(start.Add(tt.after), warm, 10) {
			got[k.name] = true
		}
		for _, name := range strings.Fields(tt.want) {
			if !got[name] {
				t.Errorf("after %v: %s is not due", tt.after, name)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("after %v: due too: %v", tt.after, got)
		}
	}
	if n := len(c.due(start.Add(time.Hour-time.Second), warm, 1)); n != 1 {
		t.Errorf("%d keys, more than the bound of 1", n)
	}
}

func TestCacheFile(t *testing.T) {
	c := newCache(100, 6*time.Hour)
	c.put(key{"a.example", dns.TypeA}, &answer{ttl: 60, cname: []string{"b.example"}, addrs: addrs("192.0.9.1")}, start)
	c.put(key{"old.example", dns.TypeA}, &answer{ttl: 60, addrs: addrs("192.0.9.2")}, start.Add(-5*time.Hour))
	c.put(key{"none.example", dns.TypeA}, &answer{ttl: 60, rcode: dns.RcodeNameError}, start)
	data, err := c.encode(start, start, maxCacheFile)
	if err != nil {
		t.Fatal(err)
	}

	get := func(now time.Time, name string, lookAt time.Time) (*cache, cached) {
		t.Helper()
		c := newCache(100, 6*time.Hour)
		if err := c.decode(data, now, now); err != nil {
			t.Fatal(err)
		}
		k := key{name, dns.TypeA}
		if got := c.get(k, now); got.state != missing {
			t.Errorf("%s is %v before the upstream failed: a restart keeps nothing fresh", name, got.state)
		}
		if c.items[k] == nil {
			return c, cached{state: missing}
		}
		return c, c.fail(k, errUpstreamTimeout, lookAt, failTTL)
	}
	now := start.Add(time.Second)
	if _, got := get(now, "a.example", now); got.state != stale || got.answer.addrs[0] != addrs("192.0.9.1")[0] || got.answer.cname[0] != "b.example" {
		t.Errorf("kept: %+v", got)
	}
	if _, got := get(now, "none.example", now); got.state != missing {
		t.Errorf("a negative answer was kept: %+v", got)
	}
	if _, got := get(now.Add(2*time.Hour), "old.example", now); got.state != missing {
		t.Errorf("an answer older than the bound was kept: %+v", got)
	}
	// A clock that fell back by years makes no answer younger than it was.
	past := start.AddDate(-5, 0, 0)
	if _, got := get(past, "old.example", past.Add(time.Hour)); got.state != stale {
		t.Errorf("clock in the past, within the bound: %v", got.state)
	}
	if _, got := get(past, "old.example", past.Add(90*time.Minute)); got.state == stale {
		t.Error("clock in the past, beyond the bound: still given")
	}
	// Keys asked for before the restart are refreshed at once.
	c, _ = get(now, "a.example", now)
	c.items[key{"a.example", dns.TypeA}].failed = nil
	if due := c.due(now, time.Hour, 10); len(due) != 1 || due[0].name != "a.example" {
		t.Errorf("due after a restart: %v", due)
	}

	for _, bad := range []string{``, `{`, `[]`, `{"version":2}`} {
		if err := newCache(1, 0).decode([]byte(bad), now, now); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	for _, bad := range []string{
		`{"name":"a b","type":"A","addrs":["192.0.9.1"]`,
		`{"name":"a","type":"MX","addrs":["192.0.9.1"]`,
		`{"name":"a","type":"AAAA","addrs":["192.0.9.1"]`,
		`{"name":"a","type":"A","addrs":[]`,
		`{"name":"a","type":"AAAA","addrs":["fe80::1%eth0"]`,
	} {
		c := newCache(1, time.Hour)
		file := `{"version":1,"answers":[` + bad + `,"expires":"2027-01-05T07:00:00Z","asked":"2027-01-05T07:00:00Z"}]}`
		if err := c.decode([]byte(file), now, now); err != nil || c.len() != 0 {
			t.Errorf("%s: %v, %d items", bad, err, c.len())
		}
	}
}

// TestCacheFileIsBounded: of a cache that is larger than the file may be, the names asked for
// last are kept.
func TestCacheFileIsBounded(t *testing.T) {
	c := newCache(1000, time.Hour)
	for i := range 1000 {
		c.put(key{fmt.Sprintf("n%d.example", i), dns.TypeA}, &answer{ttl: 60, addrs: addrs("192.0.9.1")}, start.Add(time.Duration(i)*time.Millisecond))
	}
	const most = 20000
	data, err := c.encode(start.Add(time.Second), start.Add(time.Second), most)
	if err != nil || len(data) > most {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	back := newCache(1000, time.Hour)
	if err := back.decode(data, start, start); err != nil {
		t.Fatal(err)
	}
	if n := back.len(); n < 50 || back.items[key{"n999.example", dns.TypeA}] == nil || back.items[key{"n0.example", dns.TypeA}] != nil {
		t.Errorf("%d names are kept, not the last ones", n)
	}
}

func FuzzCacheFile(f *testing.F) {
	c := newCache(10, time.Hour)
	c.put(key{"a.example", dns.TypeA}, &answer{ttl: 60, cname: []string{"b"}, addrs: addrs("192.0.9.1")}, start)
	seed, _ := c.encode(start, start, maxCacheFile)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		c := newCache(10, time.Hour)
		if c.decode(data, start, start) != nil {
			return
		}
		if c.len() > 10 {
			t.Fatalf("%d items", c.len())
		}
		for k, it := range c.items {
			if !it.restored || it.expires.Sub(start) > maxTTL*time.Second || len(it.answer.addrs) == 0 || it.asked.After(start) {
				t.Fatalf("%v: %+v", k, it)
			}
		}
	})
}
