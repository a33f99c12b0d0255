package storelab

import "errors"

// uplink is the number of the store's real router in the network of a one-armed box.
const uplink = 254

// OneArmed takes the box's line away and gives a network another router, which leads to
// the Internet: the Internet itself, by its interface "uplink". The box reaches it by the
// network's own interface, and the terminals still have the box as their router.
func (s *Store) OneArmed(t TB, name string) {
	t.Helper()
	n, err := networkOf(name)
	if err == nil {
		err = errors.Join(
			s.Box.ip("link delete wan"), // both ends of it
			s.plug(s.Internet.Host, n, "uplink", "uplink", uplink),
			s.Box.route(at(n.net4, uplink).Addr(), at(n.net6, uplink).Addr()),
			s.Internet.settle(),
			s.ground.settle(),
		)
	}
	if err != nil {
		t.Fatalf("making the box one-armed: %v", err)
	}
}
