package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"tillgate/decision"
	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

// DNS by TCP (RFC 7766). The loop is ours, since miekg's server sets no deadline on
// writes: a client that does not read would hold a goroutine for ever.

const (
	// maxTCP and maxTCPClient are how many connections are open in all and from one
	// client; a further one is closed at once.
	maxTCP       = 256
	maxTCPClient = 16
	// maxTCPStrangers is how many clients in no class may have, of those.
	maxTCPStrangers = 16
	// maxPipelined is how many queries of a connection may wait for the upstream;
	// then no more is read from it (RFC 7766 §6.2.1.1).
	maxPipelined = 32
	// tcpIdle is how long a connection may stand without a whole query
	// (RFC 7766 §6.2.3), tcpWrite how long a reply may take to get away.
	tcpIdle  = 10 * time.Second
	tcpWrite = 2 * time.Second
)

// tcpConns are all open connections. The zero value is ready.
type tcpConns struct {
	mu        sync.Mutex
	open      map[*tcpConn]struct{}
	client    map[netip.Addr]int
	strangers int // of clients in no class
	closed    bool
}

// tcpConn is one connection of a client.
type tcpConn struct {
	*net.TCPConn
	client, local netip.Addr
	ifindex       int
	stranger      bool          // in no class
	slots         chan struct{} // one for each query that is not answered yet
	replies       chan []byte   // that are not written yet; each has a slot, so it never blocks
}

// add takes a connection in, or says that there are too many.
func (t *tcpConns) add(c *tcpConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.open) >= maxTCP || t.client[c.client] >= maxTCPClient || c.stranger && t.strangers >= maxTCPStrangers {
		return false
	}
	if t.open == nil {
		t.open = make(map[*tcpConn]struct{})
		t.client = make(map[netip.Addr]int)
	}
	t.open[c] = struct{}{}
	t.client[c.client]++
	if c.stranger {
		t.strangers++
	}
	return true
}

func (t *tcpConns) remove(c *tcpConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if t.client[c.client]--; t.client[c.client] == 0 {
		delete(t.client, c.client)
	}
	if c.stranger {
		t.strangers--
	}
}

// close ends the reading of all connections: what was asked is still answered.
func (t *tcpConns) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.open {
		c.CloseRead()
	}
}

// acceptTCP serves a listener until it is closed, and its connections to their end.
func (r *Resolver) acceptTCP(ctx context.Context, l *net.TCPListener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// No descriptors or memory, or the network or a filter was in the way: it passes.
			r.deps.Log.Error("a DNS connection could not be accepted", "at", l.Addr(), "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
				continue
			}
		}
		c := &tcpConn{
			TCPConn: conn,
			client:  conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone(""),
			local:   conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone(""),
			ifindex: pktinfo.Incoming(conn),
			slots:   make(chan struct{}, maxPipelined),
			replies: make(chan []byte, maxPipelined),
		}
		class := r.deps.Policy().Class(c.client, r.ifaces.Name(c.ifindex))
		c.stranger = class == nil
		switch {
		case c.stranger && policy.CheckAddr(c.client) == nil: // the Internet hears nothing
			r.refuseTCP(c, class, policy.UnknownClient, "")
			continue
		case !r.conns.add(c):
			r.refuseTCP(c, class, policy.LimitReached,
				fmt.Sprintf("more than %d DNS connections, or %d of one client", maxTCP, maxTCPClient))
			continue
		}
		conns.Go(func() { r.readTCP(c) })
	}
}

// refuseTCP closes a connection unheard.
func (r *Resolver) refuseTCP(c *tcpConn, class *policy.Class, why policy.Reason, detail string) {
	defer c.Close() // after the record, so that whoever sees it closed may read why
	r.stats.dropped.Add(1)
	rec := decision.Record{Plane: policy.DNS, Reason: why, Client: c.client, Proto: policy.TCP}
	if r.deps.Records.Repeat(rec.Key()) {
		return
	}
	if class != nil {
		rec.Class = class.Name
	}
	rec.Detail = detail
	r.deps.Records.Record(rec)
}

// readTCP serves a connection. Replies go out as they come, not in the order of the
// queries (RFC 7766 §6.2.1.1).
func (r *Resolver) readTCP(c *tcpConn) {
	defer r.conns.remove(c)
	var writer sync.WaitGroup
	writer.Go(func() { r.writeTCP(c) })
	for {
		wire, err := c.message()
		if err != nil {
			break
		}
		q := &query{
			client:  c.client,
			local:   c.local,
			ifindex: c.ifindex,
			proto:   policy.TCP,
			set:     r.deps.Policy(),
			at:      r.deps.Now(),
		}
		q.send = func(reply []byte) { c.replies <- reply }
		c.slots <- struct{}{}
		r.serve(q, wire)
	}
	c.drain()
	close(c.replies)
	writer.Wait()
	c.Close()
}

// writeTCP writes the replies of a connection, on a goroutine of its own: they come from
// those of the upstream's answers, which many clients wait for. A client that does not
// read loses its connection; nil, which is silence by UDP, ends it too.
func (r *Resolver) writeTCP(c *tcpConn) {
	ended := false
	for reply := range c.replies {
		if reply == nil {
			ended = true
			c.CloseRead()
		} else if !ended {
			if err := c.write(reply); err != nil {
				ended = true
				c.SetLinger(0)
				c.Close()
				r.stats.unsent.Add(1)
			}
		}
		<-c.slots
	}
}

// errTooLong is a message that no query can be.
var errTooLong = errors.New("the message is too long")

// message reads one query.
func (c *tcpConn) message() ([]byte, error) {
	c.SetReadDeadline(time.Now().Add(tcpIdle))
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(length[:])
	if n > maxQuery {
		return nil, errTooLong
	}
	wire := make([]byte, n)
	_, err := io.ReadFull(c, wire)
	return wire, err
}

// write sends a reply.
func (c *tcpConn) write(reply []byte) error {
	framed := make([]byte, 2, 2+len(reply))
	binary.BigEndian.PutUint16(framed, uint16(len(reply)))
	framed = append(framed, reply...) // one write: one segment
	c.SetWriteDeadline(time.Now().Add(tcpWrite))
	_, err := c.Write(framed)
	return err
}

// drain waits for the replies that are still to come. Each does: the upstream's
// timeout bounds it.
func (c *tcpConn) drain() {
	for range maxPipelined {
		c.slots <- struct{}{}
	}
}
