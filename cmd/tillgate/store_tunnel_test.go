package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"tillgate/internal/storelab"
)

// labPolicy lets terminals of pos use HTTP at the lab's hosts too.
var labPolicy = strings.Replace(storePolicy, `"*.lab.example", ports: [tcp/443]`, `"*.lab.example", ports: [tcp/80, tcp/443]`, 1)

// labStore is a store with the names and no nginx.
func labStore(t *testing.T, names ...string) *storelab.Store {
	t.Helper()
	store := storelab.New(t, storelab.Config{Names: names})
	store.Box.Write(t, "policy.yaml", labPolicy)
	store.Box.Write(t, settingsFile, "dns: {rate: 0}\njournal: {repeat_window: 1s}\n")
	store.Box.Redirect(t)
	return store
}

// TestStoreIdleTunnels holds WebSockets on which nobody says anything until every timeout
// of the box but that of idle tunnels has ended something that was begun after them.
func TestStoreIdleTunnels(t *testing.T) {
	t.Parallel()
	store := labStore(t, "socket.lab.example", "dark.lab.example", "mute.lab.example")
	store.Box.Write(t, settingsFile, "proxy: {hello_timeout: 3s, connect_timeout: 3s}\n")
	dark4, dark6 := store.Internet.Addr(t, "dark.lab.example")
	store.Internet.BlackHole(t, dark4, dark6)
	serveHTTP(t, store, "socket.lab.example", 443, echoSocket)
	serveHTTP(t, store, "socket.lab.example", 80, http.NotFoundHandler())
	serveHTTP(t, store, "mute.lab.example", 80, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // until the box hangs up
	}))
	box := store.Box.Start(t)
	pos := store.Terminal(t, "pos")
	explicit := netip.AddrPortFrom(pos.Box4, 3128)
	learn(t, pos, "socket.lab.example", "dark.lab.example", "mute.lab.example")

	var sockets []*websocket.Conn
	for _, w := range ways(pos) {
		if !w.proxy.IsValid() && !w.addr.IsValid() {
			w.addr, _ = store.Internet.Addr(t, "socket.lab.example")
		}
		config, err := websocket.NewConfig("wss://socket.lab.example/", "https://lab.example")
		if err != nil {
			t.Fatal(err)
		}
		ws, err := websocket.NewClient(config, reachTLS(t, store, pos, w, "socket.lab.example"))
		if err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		sockets = append(sockets, ws)
	}
	chat := func(when string) {
		t.Helper()
		for i, ws := range sockets {
			for _, text := range []string{"a few words", strings.Repeat("many words ", 100_000)} {
				var got string
				if err := websocket.Message.Send(ws, text); err != nil {
					t.Fatalf("%s: socket %d: %v", when, i, err)
				}
				if err := websocket.Message.Receive(ws, &got); err != nil || got != text {
					t.Fatalf("%s: socket %d: %d bytes came back of %d, %v", when, i, len(got), len(text), err)
				}
			}
		}
	}
	chat("at first")

	// Each returns when the box has waited for long enough.
	silent := func(to netip.AddrPort) {
		c, err := pos.Dial(t.Context(), "tcp", to.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if got, err := io.ReadAll(c); len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 4") {
			t.Errorf("silent at %v: %q, %v", to, got, err)
		}
	}
	status := func(request, want string) {
		c, err := pos.Dial(t.Context(), "tcp", explicit.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, request)
		r := bufio.NewReader(c)
		if got, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(got, "HTTP/1.1 "+want) {
			t.Errorf("%q: %q, %v; want %s", request, got, err, want)
		}
		io.Copy(io.Discard, r)
	}
	waits := []func(){
		func() { silent(explicit) },
		func() { silent(netip.MustParseAddrPort("23.0.0.7:443")) },
		func() { status("CONNECT dark.lab.example:443 HTTP/1.1\r\nHost: dark.lab.example:443\r\n\r\n", "504") },
	}
	if os.Getenv("TILLGATE_E2E") == "required" { // a minute
		waits = append(waits,
			func() { status("GET http://socket.lab.example/ HTTP/1.1\r\nHost: socket.lab.example\r\n\r\n", "404") }, // kept alive
			func() { status("GET http://mute.lab.example/ HTTP/1.1\r\nHost: mute.lab.example\r\n\r\n", "504") },
		)
	}
	done := make(chan bool)
	for _, wait := range waits {
		go func() {
			wait()
			done <- true
		}()
	}
	for range waits {
		<-done
	}
	chat("after all timeouts")
	for _, ws := range sockets {
		ws.Close()
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}

// TestStoreTunnelsEnd has tunnels ended by a policy that denies them, by the end of their
// rule, and by the box's.
func TestStoreTunnelsEnd(t *testing.T) {
	t.Parallel()
	hosts := []string{"kept.lab.example", "denied.lab.example", "until.lab.example"}
	store := labStore(t, hosts...)
	for _, host := range hosts {
		serveTCP(t, store, host, func(c net.Conn) { io.Copy(c, c) })
	}
	// Rules end by trusted time.
	store.ServeTime(t, hosts[0], 0)
	server, _ := store.Internet.Addr(t, hosts[0])
	store.Box.Write(t, settingsFile, fmt.Sprintf("dns: {rate: 0}\njournal: {repeat_window: 1s}\ntime: {servers: [%s]}\n", server))
	box := store.Box.Start(t)
	pos := store.Terminal(t, "pos")
	learn(t, pos, hosts...)
	tunnels := make(map[string]map[string]net.Conn) // by host and way
	for _, host := range hosts {
		tunnels[host] = make(map[string]net.Conn)
		for _, w := range ways(pos) {
			if !w.proxy.IsValid() && !w.addr.IsValid() {
				continue
			}
			c, err := reach(pos, w, host)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			tunnels[host][w.plane(443)+c.LocalAddr().String()] = c
			if err := talk(c, string(helloFor(t, host))); err != nil {
				t.Fatal(err)
			}
		}
	}
	// ended waits until the tunnels to a host have ended, as what must be in the journal.
	ended := func(host, by, why string) {
		t.Helper()
		for name, c := range tunnels[host] {
			c.SetReadDeadline(time.Now().Add(patience))
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s to %s ended with %d bytes, %v", name, host, n, err)
			}
		}
		var got []record
		waitFor(t, func() bool {
			got = nil
			for _, r := range journal(t, store, "--name", host) {
				if r.Event == "close" {
					got = append(got, r)
				}
			}
			return len(got) == len(tunnels[host])
		})
		for _, r := range got {
			if r.By != by || r.Detail != why || r.Up == 0 || r.Up != r.Down {
				t.Errorf("the end of a tunnel to %s is recorded as %+v, want by %s, %s", host, r, by, why)
			}
		}
	}

	store.Box.Write(t, "policy.yaml", labPolicy+"deny: [{host: denied.lab.example}]\n")
	ended("denied.lab.example", "policy", "denied-by-policy")

	// The rule of the lab no longer has the third host; its own ends in a moment.
	text := strings.Replace(labPolicy, `{host: "*.lab.example", ports: [tcp/80, tcp/443]}`, `{host: kept.lab.example, ports: [tcp/443]}`, 1)
	text = strings.Replace(text, "local/lab]", "local/lab, local/short]", 1)
	text += fmt.Sprintf("  - id: local/short\n    reason: for a moment\n    until: %s\n    destinations: [{host: until.lab.example, ports: [tcp/443]}]\n",
		time.Now().Add(4*time.Second).UTC().Format(time.RFC3339))
	store.Box.Write(t, "policy.yaml", text)
	ended("until.lab.example", "until", "expired")
	if _, err := reach(pos, way{proxy: netip.AddrPortFrom(pos.Box4, 3128)}, "until.lab.example"); err == nil || !strings.Contains(err.Error(), "(expired)") {
		t.Errorf("after its end: %v", err)
	}

	for name, c := range tunnels["kept.lab.example"] {
		if err := talk(c, "still there"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
	ended("kept.lab.example", "stop", "")
}

// talk says something to an echo, and hears it.
func talk(c net.Conn, text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		return fmt.Errorf("%q came back: %w", got, err)
	}
	return nil
}
