package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"tillgate/internal/storelab"
)

// TestStoreDownload gets one large file through a tunnel while the policy is edited each
// second, and compares what came with what was sent.
func TestStoreDownload(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl", "sha256sum")
	size := int64(256 << 20)
	if os.Getenv("TILLGATE_E2E") == "required" {
		size = 2 << 30
	}
	const edits = 3 // that there must be before the last bytes are sent
	store := labStore(t, "files.lab.example")
	enough := make(chan struct{})
	sent := make(chan string, 1)
	serveHTTP(t, store, "files.lab.example", 443, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		sum := sha256.New()
		random := io.TeeReader(rand.NewChaCha8([32]byte{}), sum)
		if _, err := io.CopyN(w, random, size-1); err != nil {
			t.Errorf("sending: %v", err)
		}
		<-enough
		last := make([]byte, 1)
		random.Read(last)
		sent <- fmt.Sprintf("%x  -\n", sum.Sum(nil))
		w.Write(last)
	}))
	box := store.Box.Start(t)
	pos := store.Terminal(t, "pos")
	learn(t, pos, "files.lab.example")
	before := len(journal(t, store, "--plane", "policy"))
	download := pos.Start(t, "sh", "-c", `curl -sS --http1.1 --cacert "$0" --proxy "$1" "$2" | sha256sum`,
		store.CA.File, "http://"+netip.AddrPortFrom(pos.Box4, 3128).String(), "https://files.lab.example/")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := false
	for i, running := 0, true; running; i++ {
		select {
		case <-download.Exited():
			running = false
		case <-tick.C:
			if i > 20*edits {
				t.Fatal("the edits are not in force")
			}
			store.Box.Write(t, "policy.yaml", fmt.Sprintf("%s# edit %d\n", labPolicy, i))
			if told || len(journal(t, store, "--plane", "policy")) < before+edits {
				break // several may have become one
			}
			told = true
			close(enough)
		}
	}
	select {
	case want := <-sent:
		if download.Output() != want {
			t.Errorf("of the download came %q, want %q", download.Output(), want)
		}
	default:
		t.Fatalf("the download ended before its time: %s", download.Output())
	}
	var closed []record
	waitFor(t, func() bool {
		closed = nil
		for _, r := range journal(t, store, "--name", "files.lab.example", "--plane", "connect") {
			if r.Event == "close" {
				closed = append(closed, r)
			}
		}
		return len(closed) > 0
	})
	if len(closed) != 1 || int64(closed[0].Down) < size {
		t.Errorf("recorded of the tunnel: %+v", closed)
	}
	t.Logf("%d MiB while the policy was read %d times", size>>20, len(journal(t, store, "--plane", "policy"))-before)
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}
