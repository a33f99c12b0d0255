package main

import (
	"errors"
	"net/netip"
	"regexp"
	"syscall"
	"testing"

	"tillgate/internal/storelab"
)

// TestStoreStory: what a device did on all planes stands in the log in its order, with what
// ties it together; and the explanation of the name tells of it.
func TestStoreStory(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl")
	store, _ := webStore(t, "evil.example")
	store.Box.Start(t)
	keeper := store.Box.Keep(t)
	keeper.WaitFor(t, "rules in force")
	const host = "api-pos-default-v4.payxpert.com"
	a4, _ := store.Internet.Addr(t, host)
	term := store.Terminal(t, "sunmi")

	learn(t, term, "evil.example", host)
	if _, err := term.Run(t.Context(), "curl", "-4", "-sS", "--cacert", store.CA.File, "https://"+host+"/till"); err != nil {
		t.Fatal(err)
	}
	if _, err := askedUDP(term, netip.AddrPortFrom(a4, 443), []byte("QUIC")); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("QUIC: %v", err)
	}

	client, addr, name := term.Addr4.String(), regexp.QuoteMeta(a4.String()), regexp.QuoteMeta(host)
	story := regexp.MustCompile(`(?s) deny +` + regexp.QuoteMeta(client) + ` \(sunmi\) +evil\.example A  no rule names it\n` +
		`.* allow [^\n]+ ` + name + ` A  row 1 payxpert/emv; ` + addr + `\n` +
		`.* allow [^\n]+ ` + name + `:443 tls  row 1 payxpert/emv; to [0-9a-f.:]+, answered [^\n]+ before\n` +
		`.* deny [^\n]+ ` + addr + `:443 udp  [^\n]*` + addr + ` is ` + name + `, answered [^\n]+ before`)
	var out string
	defer func() {
		if t.Failed() {
			t.Logf("the story of %s is\n%s", client, out)
		}
	}()
	waitFor(t, func() bool { // until the keeper has told
		var err error
		if out, err = store.Box.Tillgate(t.Context(), "log", "--client", client); err != nil {
			t.Fatal(err)
		}
		return story.MatchString(out)
	})
	if found := blocked(t, store, "--name", host); len(found) != 1 {
		t.Errorf("by its name is found: %q", found)
	}
	lately := regexp.MustCompile(`(?s)\n  lately .* deny ` + addr + `:443 udp: [^\n]*` + addr + ` is ` + name)
	waitFor(t, func() bool { // it leaves out what is not found soon
		var err error
		if out, err = store.Box.Tillgate(t.Context(), "explain", client, host); err != nil {
			t.Fatal(err)
		}
		return lately.MatchString(out)
	})
}
