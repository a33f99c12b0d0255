package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tillgate/internal/storelab"
	"tillgate/policy"
)

// A destination is a documented host, and a port of the web that it has.
type destination struct {
	row  int
	host string
	port uint16
}

// destinations are all that the document has for TCP; of a wildcard, a host that it matches.
func destinations(t *testing.T) []destination {
	t.Helper()
	set, err := policy.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	var all []destination
	for _, s := range set.Services() {
		for _, rule := range s.Destinations {
			for _, p := range rule.Ports {
				if p.Proto == policy.TCP {
					all = append(all, destination{s.Row, storelab.Names([]*policy.Rule{rule})[0], p.Number})
				}
			}
		}
	}
	return all
}

// url is a page there, of whose path the log of the origin tells who visited.
func (d destination) url(path string) string {
	switch {
	case d.host == "dns.google":
		return "https://dns.google/dns-query?dns=AAABAAABAAAAAAAABmdvb2dsZQNkbnMAAAEAAQ" // dns.google, A
	case d.port == 80:
		return "http://" + d.host + path
	}
	return "https://" + d.host + path
}

// webStore is a store with nginx behind every documented host of the web, and further
// names that have nothing behind them.
func webStore(t *testing.T, further ...string) (*storelab.Store, *storelab.Web) {
	t.Helper()
	var hosts []string
	for _, d := range destinations(t) {
		if !slices.Contains(hosts, d.host) {
			hosts = append(hosts, d.host)
		}
	}
	store := storelab.New(t, storelab.Config{Names: append(further, hosts...)})
	store.Box.Write(t, "policy.yaml", storePolicy)
	store.Box.Write(t, settingsFile, "dns: {rate: 0}\njournal: {repeat_window: 1s}\n")
	return store, store.Web(t, hosts...)
}

// outcome is what becomes of an attempt by this way that is not allowed.
func (w way) outcome(port uint16) string {
	switch {
	case w.proxy.IsValid():
		return forbidden
	case !w.addr.IsValid() && !w.doh:
		return unresolved
	case port == 80:
		return forbidden
	}
	return alerted
}

// TestStoreWeb has the usual clients visit every documented host from each class by each
// way. They are served what the class may have, by the host itself; of the rest the host
// hears nothing. Every attempt is in the journal.
func TestStoreWeb(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl", "python3")
	store, web := webStore(t)
	store.Box.Redirect(t)
	box := store.Box.Start(t)
	all := destinations(t)
	var seen []string // by the origins, that is to be
	for _, class := range slices.Sorted(maps.Keys(rows)) {
		term := store.Terminal(t, class)
		for _, d := range all {
			learn(t, term, d.host)
		}
		decisions, ends := make(map[string]int), make(map[string]int)
		for _, w := range ways(term) {
			for _, client := range clients {
				path := strings.Join([]string{"", class, w.name, client.name}, "/")
				var urls []string
				want := make(map[string]string)
				for _, d := range all {
					u := d.url(path)
					urls = append(urls, u)
					what := fmt.Sprintf("%s:%d row %d", d.host, d.port, d.row)
					if !slices.Contains(rows[class], d.row) {
						if want[u] = w.outcome(d.port); want[u] != unresolved {
							decisions[w.plane(d.port)+" deny other-class "+what]++
						}
						continue
					}
					decisions[w.plane(d.port)+" allow documented "+what]++
					ends[w.plane(d.port)+" "+what]++
					if d.host == "dns.google" {
						want[u] = client.google
					} else {
						want[u] = "served " + d.host + " " + path
						seen = append(seen, fmt.Sprintf("%s:%d GET %s", d.host, d.port, u))
					}
				}
				if diff := cmp.Diff(want, client.visit(t, store, term, w, urls)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", path, diff)
				}
			}
		}
		checkCalls(t, store, class)
		checkRecords(t, store, class, decisions, ends)
	}
	var got []string
	waitFor(t, func() bool { // nginx writes when it has answered
		got = web.Seen()
		return len(got) >= len(seen) || t.Failed()
	})
	slices.Sort(got)
	slices.Sort(seen)
	if diff := cmp.Diff(seen, got); diff != "" {
		t.Errorf("seen by the origins (-want +got):\n%s", diff)
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}

// addrsOf are the addresses that the Internet has for a host.
func addrsOf(t *testing.T, store *storelab.Store, host string) []netip.Addr {
	t.Helper()
	if host == "dns.google" {
		return store.Upstream.Addrs
	}
	a4, a6 := store.Internet.Addr(t, host)
	return []netip.Addr{a4, a6}
}

// checkCalls looks at whom the box has called since the last time: dns.google, which it
// resolves at itself, and what the class may have.
func checkCalls(t *testing.T, store *storelab.Store, class string) {
	t.Helper()
	may := make(map[netip.AddrPort]bool)
	for _, a := range store.Upstream.Addrs {
		may[netip.AddrPortFrom(a, 443)] = true
	}
	called := store.Internet.Called(t)
	for _, d := range destinations(t) {
		if slices.Contains(rows[class], d.row) {
			was := false
			for _, a := range addrsOf(t, store, d.host) {
				to := netip.AddrPortFrom(a, d.port)
				may[to] = true
				was = was || called[to]
			}
			if !was {
				t.Errorf("%s: nobody called %s:%d", class, d.host, d.port)
			}
		}
	}
	for a := range called {
		if !may[a] {
			t.Errorf("%s: %v was called", class, a)
		}
	}
}

// checkRecords compares the journal of a class with the attempts that it made, and the
// ends of the tunnels and exchanges that it had.
func checkRecords(t *testing.T, store *storelab.Store, class string, decisions, ends map[string]int) {
	t.Helper()
	var diff string
	defer func() {
		if diff != "" {
			t.Errorf("%s: recorded (-want +got):\n%s", class, diff)
		}
	}()
	waitFor(t, func() bool { // repeats are written at the end of their window, tunnels at their own
		made, had := make(map[string]int), make(map[string]int)
		for _, r := range journal(t, store, "--class", class) {
			what := fmt.Sprintf("%s:%d row %d", r.Name, r.Port, r.Row)
			switch {
			case r.Plane == "dns":
			case r.Event == "":
				made[fmt.Sprintf("%s %s %s %s", r.Plane, r.Verdict, r.Reason, what)] += max(r.Count, 1)
			case r.Event == "close":
				had[r.Plane+" "+what] += max(r.Count, 1)
				if dest, err := netip.ParseAddrPort(r.Dest); r.Count == 0 && (err != nil || int(dest.Port()) != r.Port || !slices.Contains(addrsOf(t, store, r.Name), dest.Addr())) {
					t.Fatalf("a tunnel to %s led to %q", r.Name, r.Dest)
				}
				least := 200 // of a handshake
				if r.Plane == "http" {
					least = 50
				}
				if r.Up < least || r.Down < least || r.By == "" {
					t.Fatalf("a tunnel is recorded as %+v", r)
				}
			}
		}
		diff = cmp.Diff(decisions, made) + cmp.Diff(ends, had)
		return diff == ""
	})
}
