package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// A holder is who has a port, as far as this process may know.
type holder struct {
	found bool
	addr  netip.AddrPort // that it is bound to
	uid   int
	pid   int    // 0: not to be seen by this user
	name  string // of the process
	inode string // of the socket
}

// user names the holder's user.
func (h holder) user() string {
	id := strconv.Itoa(h.uid)
	u, err := user.LookupId(id)
	if err != nil {
		return "uid " + id
	}
	return u.Username + " (uid " + id + ")"
}

// findHolder looks for the socket that stands in the way of addr, in the tables
// of this process's network namespace below proc, and then for who has it open.
// network is udp4, tcp6 or the like.
func findHolder(proc, network string, addr netip.AddrPort) holder {
	protocol := strings.TrimRight(network, "46")
	var best holder
	for _, table := range []string{protocol, protocol + "6"} {
		f, err := os.Open(filepath.Join(proc, "net", table))
		if err != nil {
			continue
		}
		h := scanSockets(bufio.NewScanner(f), protocol == "tcp", addr)
		f.Close()
		// A socket of all IPv6 addresses may be one of IPv4 as well, but one
		// at the very address is the more likely.
		if h.found && (!best.found || h.addr == addr) {
			best = h
		}
	}
	if best.found {
		best.pid, best.name = socketOwner(proc, best.inode)
	}
	return best
}

// scanSockets reads a table such as /proc/net/udp (proc_net_tcp in the kernel's
// documentation): after a headline, each line is a socket with its number,
// local and remote address, state, queues, timers, retransmits, user, timeout
// and inode.
func scanSockets(table *bufio.Scanner, listening bool, addr netip.AddrPort) (found holder) {
	const listen = "0A"
	for table.Scan() {
		fields := strings.Fields(table.Text())
		if len(fields) < 10 || listening && fields[3] != listen {
			continue
		}
		local, ok := parseKernelAddr(fields[1])
		if !ok || !inTheWay(local, addr) || found.found && local != addr {
			continue
		}
		uid, err := strconv.Atoi(fields[7])
		if err != nil {
			continue
		}
		found = holder{found: true, addr: local, uid: uid, inode: fields[9]}
	}
	return found
}

// inTheWay reports whether a socket at one address keeps another from a socket
// of the same protocol.
func inTheWay(local, addr netip.AddrPort) bool {
	l, a := local.Addr().Unmap(), addr.Addr().Unmap()
	return local.Port() == addr.Port() && (l == a || l.IsUnspecified() || a.IsUnspecified())
}

// parseKernelAddr reads 0100007F:0035: the address in words of 32 bits in the
// machine's byte order, the port as a number.
func parseKernelAddr(s string) (netip.AddrPort, bool) {
	host, portText, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	port, perr := strconv.ParseUint(portText, 16, 16)
	if err != nil || perr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a, uint16(port)), ok
}

// socketOwner finds a process that has the socket open. Others' processes can
// be looked into by root alone.
func socketOwner(proc, inode string) (pid int, name string) {
	links, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		folder := filepath.Dir(filepath.Dir(link))
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(folder, "comm"))
		if err != nil {
			continue
		}
		return pid, string(bytes.TrimSpace(comm))
	}
	return 0, ""
}
