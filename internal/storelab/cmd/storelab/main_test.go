package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tillgate/internal/storelab"
)

// fakeBox is ready at once.
const fakeBox = "#!/bin/sh\necho \"the box: $(cat $CONFIGURATION_DIRECTORY/policy.yaml)\"\nsystemd-notify --ready && exec sleep 1000\n"

// lines hands on what is written, a line each.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		l <- line
	}
	return len(b), nil
}

func TestStand(t *testing.T) {
	storelab.NeedStore(t)
	storelab.Need(t, "systemd-notify")
	dir := t.TempDir()
	box := filepath.Join(dir, "box")
	if err := os.WriteFile(box, []byte(fakeBox), 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config")
	if err := os.Mkdir(config, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "policy.yaml"), []byte("of the user's"), 0o644); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said, result := make(lines, 100), make(chan error, 1)
	go func() {
		result <- stand(ctx, said, box, config)
		close(said)
	}()
	var script string
	var all strings.Builder
	for line := range said {
		all.WriteString(line)
		if m := regexp.MustCompile(`\S+/sunmi-1`).FindString(line); m != "" {
			script = m
			break
		}
	}
	if script == "" {
		t.Fatalf("no way into the store was told: %s%v", &all, <-result)
	}
	if !strings.Contains(all.String(), "the box: of the user's") {
		t.Errorf("the box was not given the configuration: %s", &all)
	}
	out, err := exec.Command(script, "cat", "/etc/resolv.conf").CombinedOutput()
	if want := "nameserver 10.20.1.1\nnameserver fd10:20:1::1\n"; err != nil || string(out) != want {
		t.Errorf("sunmi-1 has resolv.conf %q, %v; want %q", out, err, want)
	}
	out, err = exec.Command(script, "sh", "-c", "cat $SSL_CERT_FILE").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("sunmi-1 trusts %s, %v", out, err)
	}
	out, err = exec.Command(filepath.Join(filepath.Dir(script), "box"), "sh", "-c", "ip -o -4 address show dev wan; echo $STATE_DIRECTORY").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "45.60.0.2/24") || !strings.Contains(string(out), "/state\n") {
		t.Errorf("the box says %s, %v", out, err)
	}
	cancel()
	for range said {
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(script); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", script, err)
	}
}

func TestStandSaysWhatFailed(t *testing.T) {
	storelab.NeedStore(t)
	err := stand(t.Context(), new(strings.Builder), "/nowhere/tillgate", "")
	if err == nil || !strings.Contains(err.Error(), "/nowhere/tillgate") {
		t.Errorf("the error is %v", err)
	}
}

// TestDestinations has the printer of the example's policy, and all the time servers.
func TestDestinations(t *testing.T) {
	for config, printer := range map[string]bool{"": false, "../../../../packaging/etc/tillgate": true} {
		names, clocks, err := destinations(config)
		if err != nil || slices.Contains(names, "fw.printer.example") != printer || len(clocks) != 11 {
			t.Errorf("%q: %v, %v, %v", config, names, clocks, err)
		}
	}
}
