package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// TestStoreLoad has dnsperf ask for documented, denied and made-up names while the
// policy is edited each second. No answer may be lost, and memory must stay flat. With
// the race detector in the test it is in the box too. It runs for a minute where
// nothing may be skipped, else for a few seconds.
func TestStoreLoad(t *testing.T) {
	storelab.Need(t, "dnsperf")
	store := newStore(t)
	store.Box.Write(t, "tillgate.yaml", "dns: {rate: 0}\n")
	box := store.Box.Start(t)
	pos := store.Terminal(t, "pos")

	seconds := 6
	if os.Getenv("TILLGATE_E2E") == "required" {
		seconds = 60
	}
	var queries strings.Builder
	for row, names := range documentedNames(t) {
		for i, name := range names {
			resolve(t, pos, "udp", pos.Box4, question(name, dns.TypeA))
			resolve(t, pos, "udp", pos.Box4, question(name, dns.TypeAAAA))
			fmt.Fprintf(&queries, "%s A\n%s AAAA\n%s HTTPS\nx%d-%d.example.com A\nhost%d%d A\n", name, name, name, row, i, row, i)
		}
	}
	file := filepath.Join(store.Dir(), "queries")
	if err := os.WriteFile(file, []byte(queries.String()), 0o644); err != nil {
		t.Fatal(err)
	}

	load := pos.Start(t, "dnsperf", "-s", pos.Box4.String(), "-d", file, "-l", fmt.Sprint(seconds), "-c", "32", "-q", "100", "-t", "10")
	var early, late int
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i, running := 0, true; running; i++ {
		select {
		case <-load.Exited():
			running = false
		case <-tick.C:
			store.Box.Write(t, "policy.yaml", fmt.Sprintf("%s# edit %d\n", storePolicy, i))
			if i == seconds/3 {
				early = residentKiB(t, box.Pid())
			}
			late = residentKiB(t, box.Pid())
		}
	}
	out := load.Output()
	if load.Status() != 0 {
		t.Fatalf("dnsperf ended with status %d:\n%s", load.Status(), out)
	}
	completed := number(t, out, `Queries completed: +(\d+)`)
	if lost := number(t, out, `Queries lost: +(\d+)`); lost != 0 || completed == 0 {
		t.Errorf("%d answers lost, %d received:\n%s", lost, completed, out)
	}
	if strings.Contains(out, "SERVFAIL") || strings.Contains(out, "REFUSED") {
		t.Errorf("answers that are none:\n%s", out)
	}
	t.Logf("%d answers in %d s; the box's memory: %d KiB after a third of it, %d KiB at the end", completed, seconds, early, late)
	if limit := early + early/4 + 8<<10; late > limit {
		t.Errorf("memory grew from %d KiB to %d KiB", early, late)
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}

// number is the first group of pattern in text.
func number(t *testing.T, text, pattern string) int {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in\n%s", pattern, text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// residentKiB is how much of a process is in memory.
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return number(t, string(status), `VmRSS:\s+(\d+) kB`)
}
