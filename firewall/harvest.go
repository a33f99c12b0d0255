package firewall

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"tillgate/policy"
)

// labelOf is what records say of a kind and a class.
func labelOf(kind Kind, class string) label {
	switch kind {
	case Observed:
		return label{class, policy.WouldDeny, policy.FirewallReject}
	case Spoofed:
		return label{class, policy.Deny, policy.Spoofed}
	}
	return label{class, policy.Deny, policy.FirewallReject}
}

// parseCounterName is the inverse of [CounterName].
func parseCounterName(name string) (kind Kind, class string, ok bool) {
	word, class, more := strings.Cut(name, "-")
	for i, k := range kinds {
		if more && class != "" && k == word {
			return Kind(i), class, true
		}
	}
	return 0, "", false
}

// harvest reads all that the table has counted into the tally.
func harvest(t *tally) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	t.begin()
	err = takeCounters(conn, func(name string, packets uint64) {
		if kind, class, ok := parseCounterName(name); ok {
			t.classCounter(labelOf(kind, class), packets)
		}
	})
	for _, set := range []string{SetSources4, SetSources6} {
		if err == nil {
			err = readSet(conn, set, func(e element) {
				if addr, ok := netip.AddrFromSlice(e.key); ok {
					t.sourceCounter(addr, e.packets)
				}
			})
		}
	}
	for _, set := range []string{SetPorts4, SetPorts6, SetOther4, SetOther6} {
		if err == nil {
			err = readSet(conn, set, func(e element) {
				if a, ok := attemptOf(e.key); ok {
					t.attemptCounter(a, e.packets)
				}
			})
		}
	}
	if err != nil {
		return err // without an end: what was not read is owed
	}
	t.end()
	return nil
}

// attemptOf reads the key of an attempt: source, destination, protocol and, where it has one, the
// port, each beginning at a multiple of four bytes.
func attemptOf(key []byte) (a attempt, ok bool) {
	size := 4
	switch len(key) {
	case 4 + 4 + 4, 4 + 4 + 4 + 4:
	case 16 + 16 + 4, 16 + 16 + 4 + 4:
		size = 16
	default:
		return a, false
	}
	a.src, _ = netip.AddrFromSlice(key[:size])
	a.dst, _ = netip.AddrFromSlice(key[size : 2*size])
	a.number = key[2*size]
	if rest := key[2*size+4:]; len(rest) == 4 {
		a.port = binary.BigEndian.Uint16(rest)
	}
	return a, true
}
