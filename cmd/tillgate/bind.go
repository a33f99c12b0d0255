package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"tillgate/console"
)

// explainBind says what keeps a listener from its address, and what to do. key
// is that of the address in tillgate.yaml, empty where that has no say; proc is
// where the kernel tells of processes.
func explainBind(key string, err error, proc string) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil {
		return fmt.Errorf("listening: %w", err)
	}
	addr := op.Addr.String()
	protocol := strings.TrimRight(op.Net, "46") // udp4 is udp
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		where, perr := netip.ParseAddrPort(addr)
		if perr != nil {
			where = netip.AddrPortFrom(netip.IPv6Unspecified(), portOf(op.Addr)) // of all addresses it shows no host
		}
		return inUse(key, protocol, addr, findHolder(proc, op.Net, where))
	case errors.Is(err, syscall.EACCES) && portOf(op.Addr) < 1024:
		return fmt.Errorf("listening on %s %s: this user (uid %d) may not use ports below 1024, which takes CAP_NET_BIND_SERVICE; "+
			"start it by its systemd unit (systemctl start tillgate), give the program the capability (sudo setcap cap_net_bind_service=+ep %s), "+
			"or try it without rights: tillgate run --loopback", addr, protocol, os.Geteuid(), programPath())
	case key == "":
		return fmt.Errorf("listening on %s %s: %w; bring the interface lo up", addr, protocol, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listening on %s %s: this machine does not have that address; ip address lists those that it has: correct %s, or bring the interface up first",
			addr, protocol, key)
	}
	return fmt.Errorf("listening on %s %s: %w; correct %s", addr, protocol, err, key)
}

func portOf(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.UDPAddr:
		return uint16(a.Port)
	case *net.TCPAddr:
		return uint16(a.Port)
	}
	return 0
}

func programPath() string {
	path, err := os.Executable()
	if err != nil {
		return "tillgate"
	}
	return path
}

// inUse is the error of an address that is taken. Who holds it decides what
// there is to do.
func inUse(key, protocol, addr string, h holder) error {
	_, port, _ := net.SplitHostPort(addr)
	list := "ss -ltnp"
	if protocol == "udp" {
		list = "ss -lunp"
	}
	switch {
	case h.pid != 0:
		return fmt.Errorf("listening on %s %s: the port is held by %s (process %d) at %s; %s", addr, protocol, h.name, h.pid, h.addr, whatToDo(key, h))
	case h.found:
		return fmt.Errorf("listening on %s %s: the port is held by a process of %s at %s; sudo %s 'sport = :%s' names it: %s",
			addr, protocol, h.user(), h.addr, list, port, whatToDo(key, h))
	}
	return fmt.Errorf("listening on %s %s: the port is taken; sudo %s 'sport = :%s' names the process: %s", addr, protocol, list, port, whatToDo(key, h))
}

// whatToDo about whom holds the port of DNS, or any other.
func whatToDo(key string, h holder) string {
	const elsewhere = "listen on the terminals' addresses alone, for instance %s: [\"10.20.0.1:53\"]"
	switch {
	case key == "" && h.name != "tillgate":
		return "stop it: the ports of --loopback are fixed"
	// The kernel cuts names of processes off after 15 bytes.
	case strings.HasPrefix(h.name, "systemd-resolve"), h.pid == 0 && isResolvedStub(h.addr):
		return "it is systemd-resolved's stub: turn that off (DNSStubListener=no below [Resolve] in /etc/systemd/resolved.conf.d/tillgate.conf, " +
			"then systemctl restart systemd-resolved), or " + fmt.Sprintf(elsewhere, key)
	case h.name == "dnsmasq":
		return "stop it (systemctl disable --now dnsmasq), or where it is needed for DHCP take its DNS away (port=0 in its configuration), or " +
			fmt.Sprintf(elsewhere, key)
	case h.name == "tillgate":
		return fmt.Sprintf("it is another tillgate: stop it (systemctl stop tillgate, or kill %d)", h.pid)
	}
	return "stop it, or give " + key + " another address"
}

// isResolvedStub reports the addresses that systemd-resolved listens at
// (systemd-resolved.service(8)).
func isResolvedStub(addr netip.AddrPort) bool {
	a := addr.Addr().Unmap()
	return addr.Port() == 53 && (a == netip.AddrFrom4([4]byte{127, 0, 0, 53}) || a == netip.AddrFrom4([4]byte{127, 0, 0, 54}))
}

// listenSocket makes the socket's folder where it is missing, and the socket.
func listenSocket(ctx context.Context, c *console.Console, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the folder of the socket: %w; name another socket with --socket", err)
	}
	err := c.Listen(ctx)
	var inUse *console.InUseError
	switch {
	case errors.As(err, &inUse):
		return fmt.Errorf("%w; stop it, or give this one a socket of its own with --socket", err)
	case err != nil:
		return fmt.Errorf("making the socket: %w; name another with --socket", err)
	}
	return nil
}
