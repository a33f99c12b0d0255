package resolver

import (
	"errors"
	"fmt"
	"net"
	"os"

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
	sender, err := pktinfo.NewSender(conn)
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
		info := pktinfo.Read(oob[:oobn])
		q := &query{
			client:  from.Addr().WithZone(""),
			local:   info.Local,
			ifindex: info.Interface,
			proto:   policy.UDP,
			at:      r.deps.Now(),
		}
		q.req, q.fault = parse(wire[:n])
		q.send = func(reply []byte) {
			if reply != nil && sender.Send(reply, info.Local, from, info.Interface) != nil {
				r.stats.unsent.Add(1)
			}
		}
		r.serve(q)
	}
}
