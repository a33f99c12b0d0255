package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tillgate/internal/storelab"
)

// TestMain is the part inside as well: the program runs itself again, which is the test's.
func TestMain(m *testing.M) {
	if dir := os.Getenv(insideVariable); dir != "" {
		exit(inside(dir))
	}
	os.Exit(m.Run())
}

// Of everybody in the store there is what its role is about; the console answers from outside;
// and in the end nothing is left.
func TestStoreOnADesk(t *testing.T) {
	storelab.Need(t, "ip")
	if os.Getuid() != 0 {
		storelab.Skip(t, "a system may keep its users from networks of their own")
	}
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	told, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := outside(ctx, w, options{free: true})
		w.CloseWithError(errors.Join(io.EOF, err))
		ended <- err
	}()
	console, socket, curl := listen(t, told)
	go io.Copy(io.Discard, told)
	program := filepath.Join(filepath.Dir(socket), "tillgate")

	awaitRecords(t, ctx, program, socket, map[string]func(record) bool{
		"a till pays by the proxy": func(r record) bool {
			return r.Verdict == "allow" && r.Plane == "connect" && r.Client == "10.20.0.11" && r.Name == "api-pos-default-v4.payxpert.com"
		},
		"and redirected": func(r record) bool {
			return r.Event == "close" && r.Plane == "tls" && r.Client == "10.20.1.11" && r.Down > 1000
		},
		"a terminal looks whether there is an Internet": func(r record) bool {
			return r.Verdict == "allow" && r.Plane == "http" && r.Row == 9
		},
		"a wrong app is denied": func(r record) bool {
			return r.Verdict == "deny" && r.Reason == "not-documented" && r.Client == "10.20.0.12" && r.Name == shard
		},
		"and by a deny rule": func(r record) bool {
			return r.Verdict == "deny" && r.Reason == "denied-by-policy" && r.Client == "10.20.0.12"
		},
		"the back office works": func(r record) bool {
			return r.Verdict == "allow" && r.Plane == "connect" && r.Row == 4
		},
		"and reads the news": func(r record) bool {
			return r.Event == "close" && r.Client == "10.20.9.21" && r.Name == news && r.Down > 1000
		},
		"nobody knows the phone": func(r record) bool {
			return r.Verdict == "deny" && r.Reason == "unknown-client" && r.Client == "10.20.66.6"
		},
		"the time is given": func(r record) bool {
			return r.Verdict == "allow" && r.Plane == "ntp" && r.Client == "10.20.1.11"
		},
	})

	reply, err := http.Get(console + "/v1/overview")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var overview struct {
		Status  struct{ State string }
		Blocked []struct{ Client string }
	}
	if err := json.NewDecoder(reply.Body).Decode(&overview); err != nil {
		t.Fatal(err)
	}
	if overview.Status.State != "ok" || len(overview.Blocked) < 3 {
		t.Errorf("the overview has %+v", overview)
	}
	if out, err := exec.CommandContext(ctx, "sh", "-c", curl).CombinedOutput(); err != nil || !strings.Contains(string(out), "simulation") {
		t.Errorf("%s: %v, %s", curl, err, out)
	}
	if out, err := exec.CommandContext(ctx, program, "check", "--socket", socket).CombinedOutput(); err != nil {
		t.Errorf("check: %v, %s", err, out)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); left != nil {
		t.Errorf("%v are left", left)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(console, "http://")); err == nil {
		c.Close()
		t.Error("the console's port still answers")
	}
}

// listen reads what is told until the last line of it.
func listen(t *testing.T, told io.Reader) (console, socket, curl string) {
	lines := bufio.NewScanner(told)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if after, ok := strings.CutPrefix(line, "console "); ok {
			console = strings.TrimSpace(after)
		} else if after, ok := strings.CutPrefix(line, "S="); ok {
			socket = after
		} else if strings.HasPrefix(line, "curl ") {
			return console, socket, line
		}
	}
	t.Fatalf("it ended before the store stood: %v", lines.Err())
	return "", "", ""
}

// A record is what the command line prints of it.
type record struct {
	Plane, Event, Verdict, Reason, Client, Name string
	Row                                         int
	Down                                        int64
}

// awaitRecords returns when there was a record of each kind.
func awaitRecords(t *testing.T, ctx context.Context, program, socket string, kinds map[string]func(record) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := exec.CommandContext(ctx, program, "log", "-f", "--json", "--since", "1h", "--socket", socket)
	out, err := log.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Start(); err != nil {
		t.Fatal(err)
	}
	defer log.Wait()
	defer cancel()
	lines := bufio.NewScanner(out)
	for len(kinds) > 0 && lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			continue // a line that says something else
		}
		for name, is := range kinds {
			if is(r) {
				delete(kinds, name)
			}
		}
	}
	for name := range kinds {
		t.Errorf("no record says: %s", name)
	}
}

// What plays the store is no part of the box.
func TestTheBoxHasNoneOfIt(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "tillgate/cmd/tillgate").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if !slices.Contains(packages, "tillgate/policy") {
		t.Fatalf("these are not the box's: %v", packages)
	}
	simulation := regexp.MustCompile(`^tillgate/(cmd/storesim|internal/storelab)`)
	if i := slices.IndexFunc(packages, simulation.MatchString); i >= 0 {
		t.Errorf("the box has %s", packages[i])
	}
}
