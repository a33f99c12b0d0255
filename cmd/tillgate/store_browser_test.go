package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tillgate/internal/storelab"
)

// visitPage asks for every URL of a list, and then for a page at home whose address tells
// what became of each: the word served, or what was answered instead. A socket must say
// back what it is told.
const visitPage = `<!doctype html><meta charset="utf-8"><title>visits</title><script type="module">
const visits = %s;
async function visit(v) {
	try {
		if (v.url.startsWith("wss:")) return await echo(v.url);
		const r = await fetch(v.url, {cache: "no-store", mode: v.text ? "cors" : "no-cors"});
		return !v.text || await r.text() === v.text ? "served" : "garbled";
	} catch (e) {
		return "failed";
	}
}
function echo(url) {
	return new Promise((resolve, reject) => {
		const socket = new WebSocket(url), text = "x".repeat(70000);
		socket.onerror = reject;
		socket.onopen = () => socket.send(text);
		socket.onmessage = (m) => resolve(m.data === text ? "served" : "garbled");
	});
}
const told = await Promise.all(visits.map(visit));
fetch("/told/%s?" + told.join(","));
</script>`

// A pageVisit is one of the visits of visitPage. Without a text it is enough that there
// is an answer.
type pageVisit struct {
	URL  string `json:"url"`
	Text string `json:"text"`
}

// TestStoreBrowser has Chromium visit every documented host: by the box's PAC file, and
// redirected.
func TestStoreBrowser(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "chromium", "certutil")
	store, web := webStore(t, "socket.lab.example")
	store.Box.Write(t, "policy.yaml", strings.Replace(storePolicy, `"payxpert/sunmi-*"`, `"payxpert/sunmi-*", local/lab`, 1))
	store.Box.Redirect(t)
	serveHTTP(t, store, "socket.lab.example", 443, echoSocket)
	box := store.Box.Start(t)
	for _, tt := range []struct {
		class string
		way   way
		flag  string
		home  string // where the page is: on one of HTTPS, what is HTTP would be mixed content
	}{
		{"sunmi", way{name: "pac", proxy: netip.MustParseAddrPort("10.20.1.1:3128")}, "--proxy-pac-url=http://10.20.1.1:3128/proxy.pac", "http://connectivitycheck.gstatic.com"},
		{"sunmi", way{name: "redirected"}, "--no-proxy-server", "http://connectivitycheck.gstatic.com"},
		{"sunmi", way{name: "elsewhere", addr: netip.MustParseAddr("23.0.0.7")}, "--host-resolver-rules=MAP * 23.0.0.7", "http://connectivitycheck.gstatic.com"},
		{"pc", way{name: "pac", proxy: netip.MustParseAddrPort("[fd10:20:9::1]:3128")}, "--proxy-pac-url=http://[fd10:20:9::1]:3128/wpad.dat", "https://central.payxpert.com"},
	} {
		t.Run(tt.class+" "+tt.way.name, func(t *testing.T) {
			term := store.Terminal(t, tt.class)
			store.Internet.Called(t) // by the one before
			learn(t, term, "socket.lab.example")

			page := tt.class + "-" + tt.way.name + ".html"
			socket := pageVisit{URL: "wss://socket.lab.example/"}
			visits, want := []pageVisit{socket}, map[string]string{socket.URL: "failed"}
			seen, recorded := []string{tt.home + "/" + page}, make(map[string]bool) // what there must be
			if tt.class == "sunmi" {
				want[socket.URL] = "served"
				recorded[tt.way.plane(443)+" allow local-service socket.lab.example:443"] = true
			}
			for _, d := range destinations(t) {
				if d.port == 80 && strings.HasPrefix(tt.home, "https:") {
					continue
				}
				learn(t, term, d.host)
				path := "/" + page + "/visit"
				v := pageVisit{URL: d.url(path)}
				if d.host != "dns.google" {
					v.Text = "served " + d.host + " " + path
				}
				visits = append(visits, v)
				what := fmt.Sprintf("%s:%d", d.host, d.port)
				if slices.Contains(rows[tt.class], d.row) {
					want[v.URL] = "served"
					recorded[tt.way.plane(d.port)+" allow documented "+what] = true
					if d.host != "dns.google" {
						seen = append(seen, v.URL)
					}
					continue
				}
				want[v.URL] = "failed"
				if tt.way.outcome(d.port) != unresolved {
					recorded[tt.way.plane(d.port)+" deny other-class "+what] = true
				}
			}
			list, err := json.Marshal(visits)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(web.Root, page), fmt.Appendf(nil, visitPage, list, page), 0o644); err != nil {
				t.Fatal(err)
			}

			browser := store.Browser(t, term, tt.flag, tt.home+"/"+page)
			web.WaitFor(t, "/told/"+page)
			browser.Kill()

			got := make(map[string]string)
			requests := make(map[string]bool)
			for _, r := range web.Seen() {
				u := r[strings.LastIndexByte(r, ' ')+1:]
				requests[u] = true
				if _, words, ok := strings.Cut(u, "/told/"+page+"?"); ok {
					for i, word := range strings.Split(words, ",") {
						got[visits[i].URL] = word
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("visits (-want +got):\n%s", diff)
			}
			for _, u := range seen {
				if !requests[u] {
					t.Errorf("the origin did not see %s", u)
				}
			}
			checkBrowserRecords(t, store, tt.class, term, recorded)
		})
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}

// checkBrowserRecords wants each of the decisions in the journal. A browser asks for more
// than it is told to; nobody must have called what the class may not have.
func checkBrowserRecords(t *testing.T, store *storelab.Store, class string, term *storelab.Terminal, want map[string]bool) {
	t.Helper()
	missing := maps.Clone(want)
	for _, addr := range []netip.Addr{term.Addr4, term.Addr6} {
		for _, r := range journal(t, store, "--client", addr.String()) {
			delete(missing, fmt.Sprintf("%s %s %s %s:%d", r.Plane, r.Verdict, r.Reason, r.Name, r.Port))
		}
	}
	for what := range missing {
		t.Errorf("not recorded: %s", what)
	}
	called := store.Internet.Called(t)
	for _, d := range destinations(t) {
		if slices.Contains(rows[class], d.row) {
			continue
		}
		for _, a := range addrsOf(t, store, d.host) {
			if to := netip.AddrPortFrom(a, d.port); called[to] && d.host != "dns.google" {
				t.Errorf("%s: %v (%s) was called", class, to, d.host)
			}
		}
	}
}
