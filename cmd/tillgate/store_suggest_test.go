package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// TestStoreSuggest: of a day on which a class was observed and another was denied, a proposal
// is made; policy diff foretells what it does; and with it in force, that day is allowed.
func TestStoreSuggest(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl")
	const (
		api, www    = "api.shop.example", "www.shop.example"
		emv, office = "api-pos-default-v4.payxpert.com", "central.payxpert.com"
		doh         = "mozilla.cloudflare-dns.com"
	)
	store := storelab.New(t, storelab.Config{Names: []string{api, www, emv, office, doh}})
	web := store.Web(t, api, www, emv, office)
	observed := strings.Replace(storePolicy, "payxpert/logs, local/lab]}", "payxpert/logs, local/lab], mode: observe}", 1)
	if observed == storePolicy {
		t.Fatal("no class is observed")
	}
	store.Box.Write(t, "policy.yaml", observed)
	store.Box.Write(t, settingsFile, "dns: {rate: 0}\njournal: {repeat_window: 1s}\n")
	gateway(t, store)
	store.Box.Start(t)
	keeper := store.Box.Keep(t)
	keeper.WaitFor(t, "rules in force")
	pos, sunmi := store.Terminal(t, "pos"), store.Terminal(t, "sunmi")

	curl := func(args ...string) error {
		_, err := pos.Run(t.Context(), append([]string{"curl", "-4", "-sS", "--max-time", "20", "--cacert", store.CA.File}, args...)...)
		return err
	}
	day := func() { // what is done in the store
		t.Helper()
		learn(t, pos, emv, api, www, office)
		for _, u := range []string{"https://" + emv + "/", "https://" + api + "/", "https://" + office + "/", "http://" + www + "/"} {
			if err := curl(u); err != nil {
				t.Errorf("%s: %v", u, err)
			}
		}
		if err := curl("--proxy", "http://"+pos.Box4.String()+":3128", "https://"+api+"/"); err != nil {
			t.Errorf("by the proxy: %v", err)
		}
		resolve(t, sunmi, "udp", sunmi.Box4, question(office, dns.TypeA))
		resolve(t, sunmi, "udp", sunmi.Box4, question(doh, dns.TypeA))
	}
	// denied are the attempts since the policy came into force that have one of the verdicts.
	denied := func(verdicts ...string) map[string]int {
		all := journal(t, store)
		found := make(map[string]int)
		for _, r := range all {
			switch {
			case r.Plane == "policy" || r.Event == "start":
				clear(found)
			case r.Event == "" && slices.Contains(verdicts, r.Verdict):
				what := r.Name
				if r.Plane == "firewall" { // of which the name is known by the answers
					what = "to " + strings.Split(r.Dest, ":")[0]
				}
				found[fmt.Sprintf("%s %s %s:%d", r.Class, r.Plane, what, r.Port)] += max(r.Count, 1)
			}
		}
		return found
	}
	day()
	www4, _ := store.Internet.Addr(t, www)
	packets := fmt.Sprintf("pos firewall to %v:80", www4)
	waitFor(t, func() bool { return denied("would-deny")[packets] > 0 }) // until the keeper has told

	folder := t.TempDir()
	file := filepath.Join(folder, "policy.yaml")
	if _, err := store.Box.Tillgate(t.Context(), "policy", "suggest", "--out", file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Box.Tillgate(t.Context(), "policy", "check", folder); err == nil {
		t.Error("it is good without reasons")
	}
	reviewed := strings.ReplaceAll(string(text), "reason: #", "reason: ticket 7 #")
	reviewed = strings.ReplaceAll(reviewed, "payxpert/central?", "payxpert/central")
	reviewed = strings.Replace(reviewed, ", mode: observe", "", 1)
	if err := os.WriteFile(file, []byte(reviewed), 0o644); err != nil {
		t.Fatal(err)
	}

	var (
		before map[string]int
		out    string
	)
	waitFor(t, func() bool { // until nothing is told any more of the day
		before = denied("deny", "would-deny")
		if out, err = store.Box.Tillgate(t.Context(), "policy", "diff", folder, "--json"); err != nil {
			t.Fatalf("%v\n%s", err, reviewed)
		}
		return maps.Equal(before, denied("deny", "would-deny"))
	})
	var foretold policyDiff
	if err := json.Unmarshal([]byte(out), &foretold); err != nil {
		t.Fatal(err)
	}
	allowed := make(map[string]int)
	for _, g := range foretold.Replay.Groups {
		what := g.Name
		if g.Plane == "firewall" {
			what = "to " + g.Dest
		}
		if g.Is.Verdict != "allow" {
			t.Errorf("foretold: %+v", g)
		}
		allowed[fmt.Sprintf("%s %s %s:%d", g.Class, g.Plane, what, g.Port)] += int(g.Attempts)
	}
	const stays = "sunmi dns " + doh + ":0"
	if before[stays] == 0 {
		t.Errorf("denied: %v", before)
	}
	delete(before, stays)
	if diff := cmp.Diff(before, allowed); diff != "" {
		t.Errorf("of what was denied is foretold to be allowed (-denied +allowed):\n%s\nproposed:\n%s", diff, reviewed)
	}

	store.Box.Write(t, "policy.yaml", reviewed)
	waitFor(t, func() bool { // until the keeper has the rules, too
		if err := curl("http://" + www + "/in-force"); err != nil {
			return false
		}
		for _, r := range journal(t, store, "--plane", "http", "--name", www) {
			if r.Verdict == "allow" {
				return true
			}
		}
		return false
	})
	day()
	// What would be denied is of the policy before: no class is observed any more.
	after := denied("deny")
	delete(after, packets) // the last of a connection that went there while the class was observed
	if diff := cmp.Diff(map[string]int{stays: 1}, after); diff != "" {
		t.Errorf("in force, denied is (-want +got):\n%s", diff)
	}
	if len(web.Seen()) == 0 {
		t.Error("no host was visited")
	}
}
