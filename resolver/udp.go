package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// maxQuery is the longest query that is read, in bytes: a name, a type and some options
// need no more. What is longer is cut, and malformed.
const maxQuery = 4096

// udpBatch is how many queries are read, and replies sent, by one system call.
const udpBatch = 32

// udpBuffer is what the kernel may keep for a socket while nobody reads, in bytes:
// the queries of a store in which everything starts at once.
const udpBuffer = 1 << 20

// udpReplies is what the kernel may keep of a socket's replies while it looks for whom they
// are for, in bytes. A reply for which there is no room is dropped.
const udpReplies = 1 << 20

// udpSocket is one of those that share an address. One goroutine reads it.
type udpSocket struct {
	conn *net.UDPConn
	memo *memo
}

// readUDP serves a socket until its read deadline, which is set when the box stops.
func (r *Resolver) readUDP(s *udpSocket) error {
	sender, err := pktinfo.NewSender(s.conn)
	if err != nil {
		return err
	}
	batch, err := pktinfo.NewBatch(s.conn, udpBatch, maxQuery, serverUDPSize)
	if err != nil {
		return err
	}
	defer func() { s.memo.settle(r.deps.Now()) }()
	send := sender.Send // once: it would be a piece of garbage each time
	err = batch.Serve(func(packets []pktinfo.Packet) {
		r.serveUDP(s.memo, packets, send)
		if unsent := batch.Send(); unsent > 0 {
			r.stats.unsent.Add(uint64(unsent))
		}
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return fmt.Errorf("reading DNS queries at %v: %w", s.conn.LocalAddr(), err)
}

// sendFunc sends a packet from an address of the box by itself; see [pktinfo.Sender].
type sendFunc func(packet []byte, from netip.Addr, to netip.AddrPort, ifindex int) error

// serveUDP answers packets: what was asked a moment ago from the memo, the rest as any
// query. Who has to wait for the upstream is answered by send.
func (r *Resolver) serveUDP(m *memo, packets []pktinfo.Packet, send sendFunc) {
	now := r.deps.Now()
	m.begin(r.deps.Policy())
	for i := range packets {
		p := &packets[i]
		if !m.answer(p, now) {
			q := r.queryUDP(m.set, p, now, send)
			r.serve(q, p.Data)
			m.keep(q, p)
		}
	}
	m.end(&r.stats)
}

// queryUDP is the query in a packet. A prompt reply goes back with it.
func (r *Resolver) queryUDP(set *policy.Set, p *pktinfo.Packet, now time.Time, send sendFunc) *query {
	q := &query{
		client:  p.From.Addr(),
		local:   p.Info.Local,
		ifindex: p.Info.Interface,
		proto:   policy.UDP,
		set:     set,
		at:      now,
		prompt:  true,
	}
	from, info := p.From, p.Info
	q.send = func(reply []byte) {
		switch {
		case reply == nil:
		case q.prompt:
			p.Reply = append(p.Reply, reply...)
		case send(reply, info.Local, from, info.Interface) != nil:
			r.stats.unsent.Add(1)
		}
	}
	return q
}
