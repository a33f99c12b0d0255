package storelab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A network of the store: a switch, on which the box has an interface.
type network struct {
	name, device string
	net4, net6   netip.Prefix
}

var networks = []network{
	{"sunmi", "eth0.21", netip.MustParsePrefix("10.20.1.0/24"), netip.MustParsePrefix("fd10:20:1::/64")},
	{"pos", "eth0.20", netip.MustParsePrefix("10.20.0.0/24"), netip.MustParsePrefix("fd10:20:0::/64")},
	{"pc", "eth0.29", netip.MustParsePrefix("10.20.9.0/24"), netip.MustParsePrefix("fd10:20:9::/64")},
	{"guest", "eth0.99", netip.MustParsePrefix("10.20.99.0/24"), netip.MustParsePrefix("fd10:20:99::/64")},
}

// The line from the box to the Internet.
var (
	line4 = netip.MustParsePrefix("45.60.0.0/24")
	line6 = netip.MustParsePrefix("2a02:26f0:45:60::/64")
)

// Of each network, the box (or, on the line, the Internet) is the first host
// and terminals count up from the eleventh.
const (
	router        = 1
	firstTerminal = 11
	maxTerminals  = 200
)

// at is the n-th host's address in a network, with the network's length.
func at(p netip.Prefix, n int) netip.Prefix {
	b := p.Addr().AsSlice()
	b[len(b)-1] += byte(n)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}

func networkOf(name string) (network, error) {
	for _, n := range networks {
		if n.name == name {
			return n, nil
		}
	}
	return network{}, fmt.Errorf("the store has no network %q", name)
}

// wire lays the line to the Internet and brings every network up to the box.
func (s *Store) wire(box, internet *Host) error {
	internet.Addr4, internet.Addr6 = at(line4, router).Addr(), at(line6, router).Addr()
	box.Addr4, box.Addr6 = at(line4, router+1).Addr(), at(line6, router+1).Addr()
	err := errors.Join(
		cable(box, "wan", internet, "line"),
		internet.address("line", at(line4, router), at(line6, router)),
		box.address("wan", at(line4, router+1), at(line6, router+1)),
		box.route(internet.Addr4, internet.Addr6),
		// The way back to the terminals is there: it is the box alone that
		// keeps them from the Internet.
		internet.route(box.Addr4, box.Addr6),
	)
	for _, n := range networks {
		if err != nil {
			return err
		}
		err = errors.Join(
			s.ground.ip("link add "+n.name+" type bridge", "link set "+n.name+" up"),
			s.plug(box, n, n.device, "box-"+n.name, router),
			os.WriteFile(s.resolvConf(n), fmt.Appendf(nil, "nameserver %s\nnameserver %s\n",
				at(n.net4, router).Addr(), at(n.net6, router).Addr()), 0o644),
		)
	}
	return err
}

func (s *Store) resolvConf(n network) string {
	return filepath.Join(s.dir, "resolv.conf-"+n.name)
}

// plug connects a host's device to the switch of a network, as its n-th host.
func (s *Store) plug(h *Host, n network, device, port string, number int) error {
	return errors.Join(
		cable(h, device, s.ground, port),
		s.ground.ip("link set "+port+" master "+n.name),
		h.address(device, at(n.net4, number), at(n.net6, number)),
	)
}

// A Terminal is a host in a network of the store.
type Terminal struct {
	*Host
	Box4, Box6 netip.Addr // the box, as the terminal sees it
}

// Terminal adds a terminal to a network: sunmi, pos, pc or guest.
func (s *Store) Terminal(t TB, name string) *Terminal {
	t.Helper()
	term, err := s.terminal(name)
	if err != nil {
		t.Fatalf("adding a terminal: %v", err)
	}
	return term
}

func (s *Store) terminal(name string) (*Terminal, error) {
	n, err := networkOf(name)
	if err != nil {
		return nil, err
	}
	if s.taken[name] == maxTerminals {
		return nil, fmt.Errorf("%s has %d terminals already", name, maxTerminals)
	}
	i := s.taken[name]
	s.taken[name]++
	h, err := s.host(fmt.Sprintf("%s-%d", name, i+1))
	if err != nil {
		return nil, err
	}
	h.resolvConf = s.resolvConf(n)
	h.Addr4, h.Addr6 = at(n.net4, firstTerminal+i).Addr(), at(n.net6, firstTerminal+i).Addr()
	term := &Terminal{Host: h, Box4: at(n.net4, router).Addr(), Box6: at(n.net6, router).Addr()}
	return term, errors.Join(
		s.plug(h, n, "eth0", h.Name, firstTerminal+i),
		h.route(at(n.net4, s.gateway).Addr(), at(n.net6, s.gateway).Addr()),
		h.settle(),
		s.ground.settle(),
	)
}

// address gives a device addresses.
func (h *Host) address(device string, addrs ...netip.Prefix) error {
	var lines []string
	for _, a := range addrs {
		lines = append(lines, "addr add "+a.String()+" dev "+device)
	}
	return h.ip(lines...)
}

// route sends all else by way of a router.
func (h *Host) route(via4, via6 netip.Addr) error {
	return h.ip("route add default via "+via4.String(), "route add default via "+via6.String())
}

// cable connects two hosts: a's device devA with b's devB.
func cable(a *Host, devA string, b *Host, devB string) error {
	return errors.Join(
		a.ip("link add "+devA+" type veth peer name "+devB+" netns "+b.path()),
		a.ip("link set "+devA+" up"),
		b.ip("link set "+devB+" up"),
	)
}

// settle waits until the host's cables carry packets and its addresses can be
// used. Both come a moment after the command: the kernel has yet to tell the
// first end of a cable that the other is up, and to join the group in which an
// IPv6 address is asked for. Until then it is tentative: no one can bind to it.
func (h *Host) settle() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		cables, err := h.run(h.command(ctx, "ip", "-oneline", "link", "show", "type", "veth"))
		if err != nil {
			return err
		}
		tentative, err := h.run(h.command(ctx, "ip", "-oneline", "-6", "address", "show", "tentative"))
		if err != nil {
			return err
		}
		if tentative == "" && strings.Count(cables, " state UP ") == strings.Count(cables, "\n") {
			return nil
		}
	}
}
