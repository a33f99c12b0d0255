package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// maxQuery is the longest query that is read, in bytes: a name, a type and some options
// need no more. What is longer is cut, and malformed.
const maxQuery = 4096

// udpBuffer is what the kernel may keep for a socket while nobody reads, in bytes:
// the queries of a store in which everything starts at once.
const udpBuffer = 1 << 20

// udpReplies is what the kernel may keep of a socket's replies while it looks for whom they
// are for, in bytes. A reply for which there is no room is dropped.
const udpReplies = 1 << 20

// readUDP serves a socket until its read deadline, which is set when the box stops.
// Several goroutines may read one socket.
func (r *Resolver) readUDP(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	wire := make([]byte, maxQuery)
	oob := make([]byte, pktinfo.Size)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(wire, oob)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading DNS queries at %v: %w", conn.LocalAddr(), err)
		}
		local, ifindex := pktinfo.Read(oob[:oobn])
		q := &query{
			client:  from.Addr().WithZone(""),
			local:   local,
			ifindex: ifindex,
			proto:   policy.UDP,
			at:      r.deps.Now(),
		}
		q.req, q.fault = parse(wire[:n])
		q.send = func(reply []byte) {
			if reply != nil && sendUDP(raw, reply, local, from.Addr(), from.Port(), ifindex) != nil {
				r.stats.unsent.Add(1)
			}
		}
		r.serve(q)
	}
}

// sendUDP sends a reply, or fails at once. Replies to addresses that don't answer ARP wait
// in the kernel, all against the one buffer of the socket: whoever forged some hundred a
// second would hold up a sender that waits for room, and with it all other clients.
func sendUDP(raw syscall.RawConn, reply []byte, local, to netip.Addr, port uint16, ifindex int) error {
	var dest unix.Sockaddr
	if to.Is4() {
		dest = &unix.SockaddrInet4{Port: int(port), Addr: to.As4()}
	} else {
		a := &unix.SockaddrInet6{Port: int(port), Addr: to.As16()}
		if to.IsLinkLocalUnicast() {
			a.ZoneId = uint32(ifindex)
		}
		dest = a
	}
	var err error
	ctlErr := raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), reply, pktinfo.Source(local, ifindex), dest, unix.MSG_DONTWAIT)
		return true
	})
	return errors.Join(ctlErr, err)
}
