package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	socketName = "tillgate.sock"
	journalDir = "journal"
)

// places are where a box keeps its files.
type places struct {
	config string // folder of tillgate.yaml and the policy; empty: embedded defaults alone
	state  string // folder of the journal and the rest
	socket string // of the API
}

// systemPlaces are those of the installed box. systemd's variables win: they
// are what the unit says.
func systemPlaces(getenv func(string) string) places {
	folder := func(variable, otherwise string) string {
		first, _, _ := strings.Cut(getenv(variable), ":") // systemd.exec(5): there may be several
		if filepath.IsAbs(first) {
			return first
		}
		return otherwise
	}
	return places{
		config: folder("CONFIGURATION_DIRECTORY", "/etc/tillgate"),
		state:  folder("STATE_DIRECTORY", "/var/lib/tillgate"),
		socket: filepath.Join(folder("RUNTIME_DIRECTORY", "/run/tillgate"), socketName),
	}
}

// loopbackPlaces are those of run --loopback, which belong to the user (XDG
// Base Directory Specification: a path that is not absolute is not looked at).
func loopbackPlaces(getenv func(string) string) (places, error) {
	base := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return places{}, errors.New("no home folder to keep the state in; set HOME, or give --state and --socket")
		}
		base = filepath.Join(home, ".local", "state")
	}
	p := places{state: filepath.Join(base, "tillgate")}
	p.socket = privateSocket(p.state)
	if run := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		if info, err := os.Stat(run); err == nil && info.IsDir() {
			p.socket = filepath.Join(run, "tillgate", socketName)
		}
	}
	return p, nil
}

// privateSocket is for a user without a run folder.
func privateSocket(state string) string { return filepath.Join(state, "run", socketName) }

// sockets are where a box may be found, in the order in which they are tried.
func sockets(getenv func(string) string) []string {
	list := []string{systemPlaces(getenv).socket}
	if p, err := loopbackPlaces(getenv); err == nil {
		list = append(list, p.socket)
		if private := privateSocket(p.state); private != p.socket {
			list = append(list, private)
		}
	}
	return list
}

// states are where a box's state may be found without it, in the same order.
func states(getenv func(string) string) []string {
	list := []string{systemPlaces(getenv).state}
	if p, err := loopbackPlaces(getenv); err == nil {
		list = append(list, p.state)
	}
	return list
}

// runPlaces are the places of a box that is to run. What a flag says wins.
func runPlaces(loopback bool, flags places, getenv func(string) string) (places, error) {
	p := systemPlaces(getenv)
	if loopback {
		var err error
		if p, err = loopbackPlaces(getenv); err != nil && (flags.state == "" || flags.socket == "") {
			return p, err
		}
	}
	if flags.config != "" {
		if err := isFolder(flags.config); err != nil {
			return p, err
		}
		p.config = flags.config
	}
	if flags.state != "" {
		p.state = flags.state
		if loopback && flags.socket == "" {
			p.socket = privateSocket(p.state) // of two boxes, each has its own
		}
	}
	if flags.socket != "" {
		p.socket = flags.socket
	}
	for _, path := range []*string{&p.config, &p.state, &p.socket} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path) // it is told to others, who are elsewhere
		if err != nil {
			return p, err
		}
		*path = abs
	}
	return p, nil
}

// isFolder reports a folder that a user named and that is not there: a slip of
// the pen must not become the embedded defaults.
func isFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no folder %s; make it, or name another", path)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder; name its folder, %s", path, filepath.Dir(path))
	}
	return nil
}
