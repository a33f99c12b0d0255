package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"tillgate/internal/storelab"
)

// patron visits a host by each way, over and over, until it is told to leave. Every visit
// must be served. It says how many there were.
func patron(t *testing.T, store *storelab.Store, term *storelab.Terminal, host string) (leave func() int) {
	t.Helper()
	learn(t, term, host)
	ctx, cancel := context.WithCancel(t.Context())
	visits := 0
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			for _, w := range ways(term) {
				c := goClient(store, term, w)
				got := fetch(c, "https://"+host+"/")
				c.CloseIdleConnections()
				if got != "served" {
					if t.Context().Err() == nil {
						t.Errorf("visit %d, %s: %s", visits, w.name, got)
					}
					return
				}
				visits++
			}
		}
	})
	leave = func() int {
		cancel()
		running.Wait()
		return visits
	}
	t.Cleanup(func() { leave() })
	return leave
}

// served is a host that has one page.
func served(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }

// TestStoreSlowClients has a terminal send its requests a few bytes at a time, over hundreds
// of connections, while another one is served.
func TestStoreSlowClients(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "slowhttptest")
	store := labStore(t, "page.lab.example", "form.lab.example")
	serveHTTP(t, store, "page.lab.example", 443, http.HandlerFunc(served))
	serveHTTP(t, store, "form.lab.example", 80, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	store.Box.Write(t, settingsFile, "dns: {rate: 0}\nproxy: {hello_timeout: 3s}\njournal: {repeat_window: 1s}\n")
	box := store.Box.Start(t)
	slow, other := store.Terminal(t, "pos"), store.Terminal(t, "pos")

	leave := patron(t, store, other, "page.lab.example")
	explicit := netip.AddrPortFrom(slow.Box4, 3128).String()
	const form = "http://form.lab.example/"
	for _, tt := range []struct {
		what string
		args []string
		want string // the plane and reason of denials that there must be
	}{
		{"headers to the proxy", []string{"-H", "-u", "http://" + explicit + "/"}, "connect no-hello"},
		{"headers, redirected", []string{"-H", "-u", form}, "http no-hello"},
		{"bodies, redirected", []string{"-B", "-u", form}, "http limit"},
		{"bodies to the proxy", []string{"-B", "-d", explicit, "-u", form}, "http limit"},
	} {
		denials := func() (n int) {
			for _, r := range journal(t, store, "--client", slow.Addr4.String(), "--denied") {
				if r.Plane+" "+r.Reason == tt.want {
					n += max(r.Count, 1)
				}
			}
			return n
		}
		before := denials()
		out, err := slow.Run(t.Context(), append([]string{"slowhttptest",
			"-c", "400", "-r", "400", "-i", "1", "-l", "4", "-s", "8192", "-x", "10"}, tt.args...)...)
		if err != nil {
			t.Errorf("%s: %v\n%s", tt.what, err, out)
		}
		waitFor(t, func() bool { return denials() > before })
	}
	t.Logf("%d visits were served meanwhile", leave())
	// And the slow one is served again when it asks as others do.
	for _, w := range ways(slow) {
		c := goClient(store, slow, w)
		waitFor(t, func() bool { return fetch(c, "https://page.lab.example/") == "served" })
		c.CloseIdleConnections()
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}

// TestStoreManyTunnels has 2,000 idle tunnels at once, half of them redirected, while
// another terminal is served and the policy changes. Each costs two sockets and no pipe.
func TestStoreManyTunnels(t *testing.T) {
	t.Parallel()
	const tunnels = 2000
	store := labStore(t, "page.lab.example", "echo.lab.example")
	serveHTTP(t, store, "page.lab.example", 443, http.HandlerFunc(served))
	serveTCP(t, store, "echo.lab.example", func(c net.Conn) { io.Copy(c, c) })
	store.Box.Write(t, settingsFile, "dns: {rate: 0}\njournal: {repeat_window: 1s}\nproxy: {tunnels: 4000, tunnels_per_client: 3000}\n")
	box := store.Box.Start(t)
	crowd, other := store.Terminal(t, "pos"), store.Terminal(t, "pos")
	hello := string(helloFor(t, "echo.lab.example"))

	leave := patron(t, store, other, "page.lab.example")
	learn(t, crowd, "echo.lab.example")
	open := func(n int) (opened []net.Conn) {
		both := []way{{proxy: netip.AddrPortFrom(crowd.Box4, 3128)}, {addr: netip.MustParseAddr("23.0.0.7")}}
		for i := range n {
			c, err := reach(crowd, both[i%2], "echo.lab.example")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if err := talk(c, hello); err != nil {
				t.Fatal(err)
			}
			opened = append(opened, c)
		}
		return opened
	}
	open(2) // so that all that is needed once is there
	memory, sockets, _ := costs(t, box.Pid())
	all := open(tunnels)
	memoryAfter, socketsAfter, pipes := costs(t, box.Pid())
	t.Logf("a tunnel costs %.1f KiB and %.2f sockets; there are %d descriptors of pipes in all",
		float64(memoryAfter-memory)/tunnels, float64(socketsAfter-sockets)/tunnels, pipes)
	// Some are of the visits, and of what the box has for itself.
	const others = 40
	if more := socketsAfter - sockets; more < 2*tunnels-others || more > 2*tunnels+others {
		t.Errorf("%d tunnels cost %d sockets", tunnels, more)
	}
	// Pipes that are not in use wait in a pool, but for those that the race detector
	// throws out of it at random.
	if pipes > others && !raceDetector() {
		t.Errorf("%d tunnels cost %d descriptors of pipes", tunnels, pipes)
	}

	before := len(journal(t, store, "--plane", "policy"))
	store.Box.Write(t, "policy.yaml", labPolicy+"# edited\n")
	waitFor(t, func() bool { return len(journal(t, store, "--plane", "policy")) > before })
	for i, c := range all {
		if err := talk(c, "still there"); err != nil {
			t.Fatalf("tunnel %d: %v", i, err)
		}
	}
	t.Logf("%d visits were served meanwhile", leave())
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}

// costs are a process's memory in KiB, and its descriptors of sockets and of pipes.
func costs(t *testing.T, pid int) (kib, sockets, pipes int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch to, _ := os.Readlink(filepath.Join(dir, e.Name())); { // none if it was closed since
		case strings.HasPrefix(to, "socket:"):
			sockets++
		case strings.HasPrefix(to, "pipe:"):
			pipes++
		}
	}
	return residentKiB(t, pid), sockets, pipes
}

// raceDetector reports whether this program, which the box is as well, was built with it.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
