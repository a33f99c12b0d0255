package ntprelay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"tillgate/internal/pktinfo"
)

// Buffers of a socket in the kernel, in bytes: the requests of a store in which everything
// starts at once; the replies of which it still looks for the receiver. What finds no room
// is dropped.
const (
	requestBuffer = 256 << 10
	replyBuffer   = 256 << 10
)

// maxReaders is how many sockets an address has at most; one for each core up to this. One
// core answers more than a store asks.
const maxReaders = 4

// batchSize is how many requests are read, and answers sent, by one system call. No more,
// since the last of them leaves when all others have: a few microseconds each after its
// transmit stamp. In a store, where requests come one by one, there are no others.
const batchSize = 16

// Listen binds every address of the configuration. If one can't be bound, none is.
func (r *Relay) Listen(ctx context.Context) error {
	for _, addr := range r.cfg.Listen {
		if err := r.bind(ctx, addr); err != nil {
			r.closeConns()
			return err
		}
	}
	return nil
}

// bind opens the sockets of an address, all at the same port.
func (r *Relay) bind(ctx context.Context, addr string) error {
	host, port, families, err := pktinfo.Split(addr)
	if err != nil {
		return err
	}
	control := func(network, address string, c syscall.RawConn) error {
		pktinfo.Stamp(c)
		return pktinfo.Ask(network, address, c)
	}
	readers := min(runtime.GOMAXPROCS(0), maxReaders)
	for _, family := range families {
		conns, err := pktinfo.ListenUDP(ctx, "udp"+family, net.JoinHostPort(host, port), readers, control)
		if family == "6" && host == "" && errors.Is(err, syscall.EAFNOSUPPORT) {
			continue // the kernel has no IPv6
		}
		if err != nil {
			return err
		}
		for _, conn := range conns {
			conn.SetReadBuffer(requestBuffer) // the kernel may give less
			conn.SetWriteBuffer(replyBuffer)
		}
		r.conns = append(r.conns, conns...)
		for range conns {
			r.memos = append(r.memos, newMemo(r.clients, r.tell))
		}
		at := conns[0].LocalAddr().(*net.UDPAddr)
		r.addrs = append(r.addrs, at.AddrPort())
		port = fmt.Sprint(at.Port) // the kernel chooses one for 0
	}
	return nil
}

// Addrs are the addresses that are bound.
func (r *Relay) Addrs() []netip.AddrPort { return slices.Clone(r.addrs) }

func (r *Relay) closeConns() {
	for _, conn := range r.conns {
		conn.Close()
	}
}

// stopReading takes in no more requests. The sockets stay, for the replies to come.
func (r *Relay) stopReading() {
	for _, conn := range r.conns {
		conn.SetReadDeadline(time.Unix(0, 1))
	}
}

// read serves a socket until its read deadline, which is set when the box stops.
func (r *Relay) read(conn *net.UDPConn, m *memo) error {
	sender, err := pktinfo.NewSender(conn)
	if err != nil {
		return err
	}
	batch, err := pktinfo.NewBatch(conn, batchSize, maxRequest, headerSize)
	if err != nil {
		return err
	}
	defer func() { m.settle(r.deps.Clock.Raw()) }()
	q := &request{send: sender.Send}
	err = batch.Serve(func(packets []pktinfo.Packet) {
		r.serveAll(m, q, packets)
		if unsent := batch.Send(); unsent > 0 {
			r.stats.unsent.Add(uint64(unsent))
		}
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return fmt.Errorf("reading NTP requests at %v: %w", conn.LocalAddr(), err)
}

// age is how long ago the kernel took in a packet, by the system's clock. That one may be
// stepped in between, by whom it belongs to: then it says nothing, and the packet is new.
func age(stamp, now time.Time) time.Duration {
	age := now.Sub(stamp)
	if stamp.IsZero() || age < 0 || age > time.Second {
		return 0
	}
	return age
}
