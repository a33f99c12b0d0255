package main

import (
	"path/filepath"
	"strings"
	"testing"

	"tillgate/internal/storelab"
)

// TestStoreTelnet is the document's own test of the way to a server, of somebody who types it.
func TestStoreTelnet(t *testing.T) {
	t.Parallel()
	store := storelab.New(t, storelab.Config{Names: []string{"central.payxpert.com"}})
	store.Box.Write(t, "policy.yaml", storePolicy)
	store.Box.Write(t, settingsFile, "proxy: {hello_timeout: 2s}\njournal: {repeat_window: 1s}\n")
	store.Box.Start(t)
	keeper := store.Box.Keep(t)
	keeper.WaitFor(t, "rules in force")
	// At a keyboard nobody types anything.
	const try = `mkfifo "$0" && exec 3<>"$0" && exec curl -vLI telnet://central.payxpert.com:443 <&3`
	for class, want := range map[string]string{
		"pc":    "Connected to central.payxpert.com (",
		"sunmi": "Could not resolve host: central.payxpert.com",
	} {
		term := store.Terminal(t, class)
		learn(t, term, "central.payxpert.com")
		curl := term.Start(t, "sh", "-c", try, filepath.Join(store.Dir(), "keys-"+class))
		curl.WaitFor(t, want)
		waitFor(t, func() bool {
			for _, r := range journal(t, store, "--class", class, "--denied") {
				if class == "pc" && r.Plane == "tls" && r.Reason == "no-hello" && r.Port == 443 ||
					class != "pc" && r.Plane == "dns" && r.Reason == "other-class" && r.Name == "central.payxpert.com" {
					return true
				}
			}
			return false
		})
		curl.Kill()
	}
}

// TestStoreOwnDoH has a terminal resolve by itself at dns.google, which it may use. It learns
// every name's addresses there, but where its connections lead to is judged by the name that
// they say.
func TestStoreOwnDoH(t *testing.T) {
	t.Parallel()
	const mine, others = "connect2.payxpert.com", "central.payxpert.com"
	for _, form := range []string{"gateway", "one-armed"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			store := storelab.New(t, storelab.Config{Names: []string{mine, others}})
			web := store.Web(t, mine, others)
			settings := "journal: {repeat_window: 1s}\n"
			if form == "one-armed" {
				store.OneArmed(t, "sunmi")
				settings += "firewall: {interfaces: {sunmi: [eth0.21]}}\n"
			}
			store.Box.Write(t, "policy.yaml", storePolicy)
			store.Box.Write(t, settingsFile, settings)
			applied(t, store)
			store.Box.Start(t)
			keeper := store.Box.Keep(t)
			keeper.WaitFor(t, "rules in force")
			till, pc := store.Terminal(t, "sunmi"), store.Terminal(t, "pc")
			curl := func(term *storelab.Terminal, host string) string {
				out, err := term.Run(t.Context(), "curl", "-sS", "--max-time", "60", "--cacert", store.CA.File,
					"--doh-url", "https://dns.google/dns-query", "https://"+host+"/")
				if err != nil {
					return err.Error()
				}
				return out
			}
			learn(t, till, "dns.google", mine)
			waitFor(t, func() bool { return curl(till, mine) == "served "+mine+" /" })
			if got := curl(till, others); !strings.Contains(got, "unrecognized name") {
				t.Errorf("%s: %s", others, got)
			}
			a4, a6 := store.Internet.Addr(t, others)
			waitFor(t, func() bool {
				for _, r := range journal(t, store, "--class", "sunmi", "--denied", "--name", others) {
					if r.Plane == "tls" && r.Reason == "other-class" && r.Port == 443 {
						return true
					}
				}
				return false
			})
			for _, r := range journal(t, store, "--class", "sunmi", "--name", others) {
				if r.Plane == "dns" {
					t.Errorf("the box was asked: %+v", r)
				}
			}
			// A class that may not use dns.google learns nothing there.
			if got := curl(pc, others); !strings.Contains(got, "curl: (6)") {
				t.Errorf("of a PC: %s", got)
			}
			for to := range store.Internet.Called(t) {
				if to.Addr() == a4 || to.Addr() == a6 {
					t.Errorf("somebody has called %v", to)
				}
			}
			for _, seen := range web.Seen() {
				if !strings.HasPrefix(seen, mine+":443 ") {
					t.Errorf("seen: %s", seen)
				}
			}
		})
	}
}
