package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"tillgate/internal/storelab"
)

// TestStoreKeepFirst starts the keeper where no rules were ever in force and no box runs: those
// of the files hold from then on.
func TestStoreKeepFirst(t *testing.T) {
	t.Parallel()
	store := storelab.New(t, storelab.Config{})
	store.Box.Write(t, "policy.yaml", "version: 2\n")
	store.Box.Keep(t).WaitFor(t, "there are no rules yet")
	if hasTable(t, store) {
		t.Error("rules of a bad policy")
	}

	store.Box.Write(t, "policy.yaml", storePolicy)
	store.Box.Keep(t).WaitFor(t, `msg="rules in force" from="the policy's files"`)
	if got := knock(store.Terminal(t, "sunmi"), netip.MustParseAddrPort("23.0.0.8:22")); got != "refused" {
		t.Errorf("a port of another host is %s", got)
	}
	waitFor(t, func() bool { // they are kept for the next start once they are in force
		_, err := os.Stat(filepath.Join(store.Box.State, rulesFile))
		return err == nil
	})
}
