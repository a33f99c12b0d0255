package pktinfo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenUDP binds n sockets to one address, among which the kernel shares out what
// comes, by the address and port of who sends it. All are made with control. Port 0 is one port for all.
//
// The first is bound as if it were alone: by SO_REUSEPORT all must agree, so an address that
// another socket has is an error, also if that one would share it. Afterwards only a program
// of the same user that says it too could join them.
func ListenUDP(ctx context.Context, network, address string, n int, control func(network, address string, c syscall.RawConn) error) (conns []*net.UDPConn, err error) {
	defer func() {
		if err != nil {
			for _, conn := range conns {
				conn.Close()
			}
			conns = nil
		}
	}()
	lc := net.ListenConfig{Control: control}
	for len(conns) < n {
		conn, err := lc.ListenPacket(ctx, network, address)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn.(*net.UDPConn))
		if len(conns) > 1 || n == 1 {
			continue
		}
		raw, err := conns[0].SyscallConn()
		if err == nil {
			err = share(raw)
		}
		if err != nil {
			return conns, fmt.Errorf("sharing %v among %d sockets: %w", conn.LocalAddr(), n, err)
		}
		address = conn.LocalAddr().String()
		lc.Control = func(network, address string, c syscall.RawConn) error {
			return errors.Join(share(c), control(network, address, c))
		}
	}
	return conns, nil
}

func share(c syscall.RawConn) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(ctlErr, err)
}

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
