package storelab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A Host is a machine of the store or of its Internet: a network namespace.
//
// The namespace has no name: it lives as long as this process holds it or a
// process runs in it, so that nothing is left of it when a test is killed.
type Host struct {
	Name         string
	Addr4, Addr6 netip.Addr // on the box and the Internet: of the line between them
	Log          io.Writer  // also takes what started programs print; nil: nothing does

	netns      *os.File
	spawner    *spawner
	resolvConf string // what programs on it see as /etc/resolv.conf; empty: this machine's
}

func newHost(name string, s *spawner) (*Host, error) {
	h := &Host{Name: name, spawner: s}
	err := onThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		// The addresses are the lab's own: waiting a second each for someone
		// to claim them (RFC 4862 section 5.4) would only cost time.
		for _, dev := range []string{"all", "default"} {
			if err = os.WriteFile("/proc/sys/net/ipv6/conf/"+dev+"/accept_dad", []byte("0"), 0); err != nil {
				return err
			}
		}
		h.netns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := h.ip("link set lo up"); err != nil {
		h.netns.Close()
		return nil, err
	}
	return h, nil
}

// path is the namespace for programs that take one by its file name.
func (h *Host) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.netns.Fd())
}

// Do runs f on a thread that is in the host's network: sockets that f itself
// opens are the host's, and stay so. Those of goroutines that f starts are not.
// f must not end the test (Fatal, Skip): it runs on a goroutine of its own.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := h.enter(); err != nil {
			return err
		}
		return f()
	})
}

func (h *Host) enter() error {
	if err := unix.Setns(int(h.netns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network of %s: %w", h.Name, err)
	}
	return nil
}

// onThread runs f on an operating system thread that ends with it. A goroutine
// that ends without UnlockOSThread takes its thread with it, so no other can
// come to run in a network that f has entered.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(result)
		result <- f()
	}()
	err, ok := <-result
	if !ok {
		return errors.New("the function did not return")
	}
	return err
}

// Dial connects from the host. The address holds no name: looking one up would
// leave the host's network.
func (h *Host) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dialling from %s: %w", h.Name, err)
	}
	err = h.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen accepts connections at an address of the host.
func (h *Host) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	err = h.Do(func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenPacket receives datagrams at an address of the host.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (p net.PacketConn, err error) {
	err = h.Do(func() (err error) {
		p, err = new(net.ListenConfig).ListenPacket(ctx, network, address)
		return err
	})
	return p, err
}

// ip runs commands of ip(8) on the host, one a line.
func (h *Host) ip(lines ...string) error {
	cmd := h.command(context.Background(), "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	_, err := h.run(cmd)
	return err
}
