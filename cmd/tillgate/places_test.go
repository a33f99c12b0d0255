package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRunPlaces(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for name, tt := range map[string]struct {
		loopback bool
		flags    places
		env      map[string]string
		want     places
		err      string
	}{
		"installed": {want: places{"/etc/tillgate", "/var/lib/tillgate", "/run/tillgate/tillgate.sock"}},
		"by systemd": {
			env:  map[string]string{"CONFIGURATION_DIRECTORY": "/c:/d", "STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/r"},
			want: places{"/c", "/s", "/r/tillgate.sock"},
		},
		"flags win": {
			flags: places{dir, "state", "s"},
			env:   map[string]string{"CONFIGURATION_DIRECTORY": "/c", "STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/r"},
			want:  places{dir, dir + "/state", dir + "/s"},
		},
		"loopback": {
			loopback: true,
			env:      map[string]string{"HOME": "/home/u", "STATE_DIRECTORY": "/s"},
			want:     places{"", "/home/u/.local/state/tillgate", "/home/u/.local/state/tillgate/run/tillgate.sock"},
		},
		"loopback of a session": {
			loopback: true,
			env:      map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": dir + "/run"},
			want:     places{"", "/x/tillgate", dir + "/run/tillgate/tillgate.sock"},
		},
		"loopback of a session that is not there": {
			loopback: true,
			env:      map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "relative", "XDG_RUNTIME_DIR": dir + "/gone"},
			want:     places{"", "/home/u/.local/state/tillgate", "/home/u/.local/state/tillgate/run/tillgate.sock"},
		},
		"loopback elsewhere": {
			loopback: true,
			flags:    places{state: "/other"},
			env:      map[string]string{"XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": dir + "/run"},
			want:     places{"", "/other", "/other/run/tillgate.sock"},
		},
		"loopback without a home": {
			loopback: true,
			err:      "no home folder to keep the state in; set HOME, or give --state and --socket",
		},
		"loopback without a home, but told": {
			loopback: true,
			flags:    places{state: "/s", socket: "/s/sock"},
			want:     places{"", "/s", "/s/sock"},
		},
		"a slip": {
			flags: places{config: "/etc/tilgate"},
			err:   "there is no folder /etc/tilgate; make it, or name another",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := runPlaces(tt.loopback, tt.flags, func(k string) string { return tt.env[k] })
			if err != nil || tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// Whatever box is started without naming a socket, the commands find it.
func TestSocketsAreFound(t *testing.T) {
	for _, env := range []map[string]string{
		{"HOME": "/home/u"},
		{"HOME": "/home/u", "XDG_RUNTIME_DIR": t.TempDir()},
		{"HOME": "/home/u", "XDG_STATE_HOME": "/x", "RUNTIME_DIRECTORY": "/r"},
	} {
		getenv := func(k string) string { return env[k] }
		var started []string
		for _, loopback := range []bool{false, true} {
			p, err := runPlaces(loopback, places{}, getenv)
			if err != nil {
				t.Fatal(err)
			}
			started = append(started, p.socket)
		}
		if diff := cmp.Diff(started, sockets(getenv)[:2]); diff != "" {
			t.Errorf("(-started +tried):\n%s", diff)
		}
	}
	if got := sockets(func(string) string { return "" }); len(got) != 1 {
		t.Errorf("without a home: %v", got)
	}
}

// A run that failed early leaves a journal without segments, which hides no other.
func TestFindState(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"STATE_DIRECTORY": filepath.Join(dir, "system"), "XDG_STATE_HOME": dir}
	system, own := env["STATE_DIRECTORY"], filepath.Join(dir, "tillgate")
	expect := func(want string) {
		t.Helper()
		if got, err := findState(func(key string) string { return env[key] }); got != want || (err == nil) != (want != "") {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	expect("")
	for _, state := range []string{system, own} {
		if err := os.MkdirAll(filepath.Join(state, journalDir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	expect(system)
	for _, state := range []string{own, system} {
		if err := os.WriteFile(filepath.Join(state, journalDir, "00000001.jsonl"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		expect(state)
	}
}
