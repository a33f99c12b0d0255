package storelab

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// dropping lets out the box alone, with what answers it. Whoever of the terminals tries
// hears nothing.
const dropping = `table inet router {
	chain forward {
		type filter hook forward priority filter; policy drop;
		iifname "wan" accept
		ip saddr %v accept
		ip6 saddr %v accept
	}
}`

// Router gives the line to the Internet to a router of the store's own, in every network but
// the guests', which drops what is not of the box. The box is one-armed from then on, in the
// network of that name, and forwards nothing; terminals that come later have the router as
// theirs. What comes out of it has the address that it was sent from.
func (s *Store) Router(t TB, name string) *Host {
	t.Helper()
	r, err := s.routed(name)
	if err != nil {
		t.Fatalf("putting a router into the store: %v", err)
	}
	return r
}

func (s *Store) routed(name string) (*Host, error) {
	n, err := networkOf(name)
	if err != nil {
		return nil, err
	}
	r, err := s.host("router")
	if err != nil {
		return nil, err
	}
	r.Addr4, r.Addr6 = s.Box.Addr4, s.Box.Addr6
	// The rules come first: there is no moment in which it forwards without them.
	if _, err := r.Run(context.Background(), "nft", fmt.Sprintf(dropping, at(n.net4, router).Addr(), at(n.net6, router).Addr())); err != nil {
		return nil, err
	}
	err = errors.Join(
		r.Do(func() error {
			return errors.Join(
				os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
				os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
		}),
		s.Box.ip("link set wan netns "+r.path()),
		r.ip("link set wan up"),
		r.address("wan", at(line4, router+1), at(line6, router+1)),
		r.route(s.Internet.Addr4, s.Internet.Addr6),
	)
	for _, n := range networks {
		if n.name != "guest" {
			err = errors.Join(err, s.plug(r, n, n.device, "uplink-"+n.name, uplink))
		}
	}
	s.gateway = uplink
	return r, errors.Join(err,
		s.Box.route(at(n.net4, uplink).Addr(), at(n.net6, uplink).Addr()),
		r.settle(), s.Internet.settle(), s.ground.settle())
}
