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
		for _, conn := range r.udp[udp:] {
			conn.Close()
		}
		for _, l := range r.tcp[tcp:] {
			l.Close()
		}
		r.udp, r.tcp = r.udp[:udp], r.tcp[:tcp]
	}
	return err
}

// bind opens a UDP and a TCP socket at the same port and returns it: the kernel chooses
// one for "0".
func (r *Resolver) bind(ctx context.Context, family, host, port string) (string, error) {
	lc := net.ListenConfig{Control: pktinfo.Ask}
	pc, err := lc.ListenPacket(ctx, "udp"+family, net.JoinHostPort(host, port))
	if err != nil {
		if family == "6" && host == "" && errors.Is(err, syscall.EAFNOSUPPORT) {
			return port, nil // the kernel has no IPv6
		}
		return port, err
	}
	conn := pc.(*net.UDPConn)
	conn.SetReadBuffer(udpBuffer) // the kernel may give less
	conn.SetWriteBuffer(udpReplies)
	r.udp = append(r.udp, conn)

	port = fmt.Sprint(conn.LocalAddr().(*net.UDPAddr).Port)
	lc = net.ListenConfig{Control: pktinfo.Ask}
	lc.SetMultipathTCP(false) // its sockets don't tell the interface
	l, err := lc.Listen(ctx, "tcp"+family, net.JoinHostPort(host, port))
	if err != nil {
		return port, err
	}
	r.tcp = append(r.tcp, l.(*net.TCPListener))
	return port, nil
}

// Addrs are the addresses that are bound, for UDP; TCP has the same.
func (r *Resolver) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(r.udp))
	for _, s := range r.udp {
		addrs = append(addrs, s.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return addrs
}

// Serve answers queries until ctx ends. It returns when all that it started is gone: what
// was asked before is answered, within the upstream's timeout.
func (r *Resolver) Serve(ctx context.Context) error {
	r.restoreCache()
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range r.udp {
		for range runtime.GOMAXPROCS(0) {
			g.Go(func() error { return r.readUDP(s) })
		}
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
	for _, conn := range r.udp {
		conn.SetReadDeadline(time.Unix(0, 1))
	}
	for _, l := range r.tcp {
		l.Close()
	}
	r.conns.close()
}

func (r *Resolver) closeListeners() {
	for _, conn := range r.udp {
		conn.Close()
	}
	for _, l := range r.tcp {
		l.Close()
	}
}
