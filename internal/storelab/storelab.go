// Package storelab builds a store in network namespaces, for tests and for
// playing: terminals of three classes, the box, and an Internet where unbound
// answers as dns.google. It needs root, iproute2, nftables and unbound; and nginx
// for [Store.Web], chronyd for [Store.Time], Chromium and NSS's tools for
// [Store.Browser].
//
//	sunmi  10.20.1.0/24   eth0.21 ┐
//	pos    10.20.0.0/24   eth0.20 │
//	pc     10.20.9.0/24   eth0.29 ├─ box ── wan ── Internet: dns.google and
//	guest  10.20.99.0/24  eth0.99 ┘                every name of Config.Names
//
// Every network has its fd10:20:N::/64 beside it. The box is .1 and ::1 in each
// and forwards nothing; terminals have it as router and as DNS server. guest
// is in no class of the example policy. A test reads like this:
//
//	store := storelab.New(t, storelab.Config{Names: documented})
//	store.Box.Write(t, "policy.yaml", text)
//	box := store.Box.Start(t)
//	till := store.Terminal(t, "sunmi")
//	out, err := till.Run(t.Context(), "dig", "+short", "api.eu.sunmi.com")
//	store.Internet.BlackHole(t, store.Upstream.Addrs...)
//
// Namespaces and processes end with the process that made them, however it ends.
package storelab

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Config says what a store has.
type Config struct {
	// Names exist in the Internet, each at an address of either family of its own.
	// dns.google is always there, at its pinned addresses.
	Names []string
	// Program is the box's program. Empty: this one, which is then started with
	// "tillgate" as its os.Args[0], for a test binary to tell by.
	Program string
}

// A Store stands until its test ends.
type Store struct {
	Box      *Box
	Internet *Internet
	Upstream *Upstream // dns.google, answering
	CA       *CA

	dir     string
	spawner *spawner
	hosts   []*Host
	ground  *Host          // the switches, a bridge for each network
	taken   map[string]int // terminals of each network so far
	gateway int            // the number of whom a terminal has as its router
}

// New builds a store, with dns.google answering and the box not yet started.
// On a machine that can't have one, it skips the test: see [Skip].
func New(t TB, c Config) *Store {
	t.Helper()
	NeedStore(t)
	s := &Store{spawner: newSpawner(), taken: make(map[string]int), gateway: router}
	t.Cleanup(s.close)
	if err := s.build(c); err != nil {
		if errors.Is(err, unix.EPERM) {
			Skip(t, err.Error())
		}
		t.Fatalf("building the store: %v", err)
	}
	s.Upstream.Start(t)
	return s
}

func (s *Store) build(c Config) (err error) {
	if s.dir, err = os.MkdirTemp("", "storelab-"); err != nil {
		return err
	}
	if err = os.Chmod(s.dir, 0o755); err != nil { // the box's user comes through
		return err
	}
	if s.CA, err = NewCA(s.dir); err != nil {
		return err
	}
	if s.ground, err = s.host("switch"); err != nil {
		return err
	}
	internet, err := s.host("internet")
	if err != nil {
		return err
	}
	box, err := s.host("box")
	if err != nil {
		return err
	}
	if s.Box, err = newBox(box, s.dir, c.Program, s.CA); err != nil {
		return err
	}
	if err = s.wire(box, internet); err != nil {
		return err
	}
	if s.Internet, err = newInternet(internet, c.Names); err != nil {
		return err
	}
	if s.Upstream, err = newUpstream(s.Internet, s.CA, s.dir); err != nil {
		return err
	}
	return errors.Join(internet.settle(), box.settle(), s.ground.settle())
}

func (s *Store) host(name string) (*Host, error) {
	h, err := newHost(name, s.spawner)
	if err == nil {
		s.hosts = append(s.hosts, h)
	}
	return h, err
}

func (s *Store) close() {
	s.spawner.close()
	for _, h := range s.hosts {
		h.netns.Close()
	}
	os.RemoveAll(s.dir)
}

// Dir is a folder for the files of further hosts. It goes with the store, and
// every user may come through it.
func (s *Store) Dir() string { return s.dir }
