package pktinfo

import (
	"fmt"
	"net"
	"net/netip"
)

// Split takes a listen address apart, host:port, and says on which families (4, 6) it is
// listened to. A wildcard, which becomes the empty host, is one socket for each: so
// addresses are never mapped, and a machine without IPv6 still serves IPv4.
func Split(listen string) (host, port string, families []string, err error) {
	host, port, err = net.SplitHostPort(listen)
	if err != nil {
		return "", "", nil, fmt.Errorf("listen address %q: %w", listen, err)
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && addr.IsUnspecified():
		return "", port, []string{"4", "6"}, nil
	case err == nil && addr.Is6():
		return host, port, []string{"6"}, nil
	}
	return host, port, []string{"4"}, nil
}
