package policy

import (
	"net/netip"
)

// A Set is a compiled policy. It never changes: what its methods return is
// shared, and only to be read.
type Set struct {
	mode     Mode
	packs    []Pack
	classes  []*Class
	services []*Service
	rules    []*Rule
	hash     string
	files    []File // that it was compiled of

	suggestions map[string]*Suggestion // by host

	clients clients
	index   *index
	ntp     *Rule   // for udp/123, of whatever service; nil: none
	times   []*Rule // of [Set.TimeServers], with those that end
}

// A Pack is one provider's document that is in force.
type Pack struct {
	Name     string
	Title    string
	Source   string // the document
	Embedded bool   // it came with the program, and is not from the folder
}

// Mode is the mode of classes that say nothing of their own.
func (s *Set) Mode() Mode { return s.mode }

// Packs returns the packs in force, in the order of policy.yaml.
func (s *Set) Packs() []Pack { return s.packs }

// Classes returns the classes, in the order of policy.yaml.
func (s *Set) Classes() []*Class { return s.classes }

// Services returns all services: those of the packs, then the store's own.
func (s *Set) Services() []*Service { return s.services }

// Rules returns all destinations, service by service, then the deny rules.
func (s *Set) Rules() []*Rule { return s.rules }

// Hash is the SHA-256 over policy.yaml and every pack in force, in 64 hex digits.
func (s *Set) Hash() string { return s.hash }

// ID is the first 12 digits of [Set.Hash], as records show it.
func (s *Set) ID() string { return s.hash[:12] }

// Files returns what the set was compiled of: policy.yaml and each pack in force. Compiled
// once more they are the same policy.
func (s *Set) Files() []File { return s.files }

// Class returns the class of a client: that with the longest matching network,
// else that of the interface that it came in by, else nil.
func (s *Set) Class(client netip.Addr, iface string) *Class {
	return s.clients.class(client, iface)
}

// seal makes a set of its parts fit to decide. It gives the classes their bits, and the
// rules those of the classes that use them: what is a time server and nothing else is for
// every class with `time: true`, too.
func (s *Set) seal() {
	var timed uint64
	for i, c := range s.classes {
		c.bit = 1 << i
		if c.Time {
			timed |= c.bit
		}
		for _, service := range c.Services {
			service.classes |= c.bit
		}
	}
	hosts := make([]*Rule, 0, len(s.rules))
	for _, r := range s.rules {
		if r.Host != "" {
			hosts = append(hosts, r)
		}
		if r.Service == nil {
			continue
		}
		r.classes = r.Service.classes
		if !r.Has(UDP, ntpPort) {
			continue
		}
		if !r.web() {
			r.classes |= timed
		}
		if s.ntp == nil {
			s.ntp = r
		}
		for _, c := range s.classes {
			if r.Service.classes&c.bit != 0 && (c.ntp == nil || c.ntp.Service.endsBefore(r.Service)) {
				c.ntp = r
			}
		}
	}
	s.index = newIndex(hosts, timed)
	s.times = s.timeServers()
	s.clients = newClients(s.classes)
}

const ntpPort = 123

func (s *Service) endsBefore(t *Service) bool {
	return !s.Until.IsZero() && (t.Until.IsZero() || s.Until.Before(t.Until))
}
