package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tillgate/internal/pktinfo"
)

// Listen binds every address of the configuration, for UDP and TCP. If one can't be
// bound, none is.
func (r *Resolver) Listen(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			r.closeListeners()
		}
	}()
	for _, addr := range r.cfg.Listen {
		host, port, families, err := pktinfo.Split(addr)
		if err != nil {
			return err
		}
		if err := r.bindAll(ctx, host, port, families); err != nil {
			return err
		}
	}
	return nil
}

// bindAll opens all sockets of a host and port. A port that the kernel chose for one of
// them may be taken for another; then it may choose again.
func (r *Resolver) bindAll(ctx context.Context, host, port string, families []string) (err error) {
	const choices = 10
	udp, tcp := len(r.udp), len(r.tcp)
	for range choices {
		at := port
		for _, family := range families {
			if at, err = r.bind(ctx, family, host, at); err != nil {
				break
			}
		}
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		for _, s := range r.udp[udp:] {
			s.conn.Close()
		}
		for _, l := range r.tcp[tcp:] {
			l.Close()
		}
		r.udp, r.tcp = r.udp[:udp], r.tcp[:tcp]
	}
	return err
}

// maxReaders is how many UDP sockets an address has at most; one for each core up to this.
// One core answers more than a store asks, and each socket has buffers.
const maxReaders = 4

// bind opens the UDP sockets and a TCP socket at the same port and returns it: the kernel
// chooses one for "0".
func (r *Resolver) bind(ctx context.Context, family, host, port string) (string, error) {
	readers := min(runtime.GOMAXPROCS(0), maxReaders)
	conns, err := pktinfo.ListenUDP(ctx, "udp"+family, net.JoinHostPort(host, port), readers, pktinfo.Ask)
	if err != nil {
		if family == "6" && host == "" && errors.Is(err, syscall.EAFNOSUPPORT) {
			return port, nil // the kernel has no IPv6
		}
		return port, err
	}
	for _, conn := range conns {
		conn.SetReadBuffer(udpBuffer) // the kernel may give less
		conn.SetWriteBuffer(udpReplies)
		r.udp = append(r.udp, &udpSocket{conn: conn, memo: newMemo(r.tell)})
	}

	port = fmt.Sprint(conns[0].LocalAddr().(*net.UDPAddr).Port)
	lc := net.ListenConfig{Control: pktinfo.Ask}
	lc.SetMultipathTCP(false) // its sockets don't tell the interface
	l, err := lc.Listen(ctx, "tcp"+family, net.JoinHostPort(host, port))
	if err != nil {
		return port, err
	}
	r.tcp = append(r.tcp, l.(*net.TCPListener))
	return port, nil
}

// Addrs are the addresses that are bound, for TCP; UDP has the same.
func (r *Resolver) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(r.tcp))
	for _, l := range r.tcp {
		addrs = append(addrs, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return addrs
}

// Serve answers queries until ctx ends. It returns when all that it started is gone: what
// was asked before is answered, within the upstream's timeout.
func (r *Resolver) Serve(ctx context.Context) error {
	r.restoreCache()
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range r.udp {
		g.Go(func() error { return r.readUDP(s) })
	}
	for _, l := range r.tcp {
		g.Go(func() error { return r.acceptTCP(ctx, l) })
	}
	g.Go(func() error {
		r.keepWarm(ctx)
		return nil
	})
	g.Go(func() error {
		r.keepCache(ctx)
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		r.stopReading()
		r.fetches.close()
		return nil
	})
	err := g.Wait()
	r.end()
	r.closeListeners()
	r.upstream.close()
	return err
}

// stopReading takes in no more queries. The sockets stay, for the replies to come.
func (r *Resolver) stopReading() {
	for _, s := range r.udp {
		s.conn.SetReadDeadline(time.Unix(0, 1))
	}
	for _, l := range r.tcp {
		l.Close()
	}
	r.conns.close()
}

func (r *Resolver) closeListeners() {
	for _, s := range r.udp {
		s.conn.Close()
	}
	for _, l := range r.tcp {
		l.Close()
	}
}
