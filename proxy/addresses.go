package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// ownAddresses knows the addresses of the machine's interfaces, with their networks. To
// list them takes the kernel as long as a good part of a connection, and an age would
// leave a moment in which a new one is not known. So it listens to what the kernel says of
// changes (rtnetlink(7)), which is there before the address can be used, and looks before
// each use whether anything was said: one system call that never waits.
//
// The zero value is ready. It holds a descriptor from its first use until it is closed.
type ownAddresses struct {
	mu      sync.Mutex
	changes int // the descriptor, where open
	open    bool
	list    []netip.Prefix // as of the last change; nil: not known
}

// get returns the addresses, which are not to be changed. Where the kernel tells of no
// changes they are listed each time.
func (o *ownAddresses) get() ([]netip.Prefix, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		o.listen()
	}
	if o.list != nil && o.open && !o.changed() {
		return o.list, nil
	}
	var err error
	o.list, err = listAddresses()
	return o.list, err
}

// listen has the kernel tell of addresses that come and go.
func (o *ownAddresses) listen() {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK,
		// Of an optimistic address (RFC 4429) is told only when nobody else has it, seconds
		// after it can be used; but of the route to it at once.
		Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE,
	}); err != nil {
		unix.Close(fd)
		return
	}
	o.changes, o.open, o.list = fd, true, nil
}

// changed reports whether anything was said, and has heard it then: what is listed
// afterwards is as new. An error is news as well: there were more than the kernel keeps
// (ENOBUFS).
func (o *ownAddresses) changed() (any bool) {
	var buf [1]byte // the rest of each message is dropped: that it came is what counts
	for {
		switch _, err := unix.Read(o.changes, buf[:]); err {
		case unix.EAGAIN:
			return any
		case nil, unix.EINTR, unix.ENOBUFS:
			any = true
		default:
			o.closeLocked() // tries again the next time
			return true
		}
	}
}

// close gives the descriptor back.
func (o *ownAddresses) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeLocked()
}

func (o *ownAddresses) closeLocked() {
	if o.open {
		unix.Close(o.changes)
	}
	o.open, o.list = false, nil
}

// listAddresses asks the kernel for all addresses.
func listAddresses() ([]netip.Prefix, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	list := make([]netip.Prefix, 0, len(all))
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			return nil, fmt.Errorf("an address of the machine: %w", err)
		}
		list = append(list, p)
	}
	return list, nil
}
