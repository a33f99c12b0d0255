package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tillgate/internal/crew"
	"tillgate/internal/pktinfo"
	"tillgate/policy"
)

const (
	// drainTime is how long tunnels may go on when the box stops.
	drainTime = 3 * time.Second
	// acceptPause is how long nothing is accepted when the box has no descriptors left.
	acceptPause = time.Second
)

// A ListenError is an address that can't be bound.
type ListenError struct {
	Intercept bool // it is of Config.Intercept, else of Config.Listen
	Err       error
}

func (e *ListenError) Error() string { return e.Err.Error() }
func (e *ListenError) Unwrap() error { return e.Err }

// Listen binds every address of the configuration. If one can't be bound, none is, and
// the error is a *[ListenError].
func (p *Proxy) Listen(ctx context.Context) error {
	for _, side := range []struct {
		addrs     []string
		listeners *[]*net.TCPListener
	}{{p.cfg.Listen, &p.explicit}, {p.cfg.Intercept, &p.intercepted}} {
		for _, addr := range side.addrs {
			bound, err := bind(ctx, addr)
			*side.listeners = append(*side.listeners, bound...)
			if err != nil {
				p.closeListeners()
				return &ListenError{Intercept: side.listeners == &p.intercepted, Err: err}
			}
		}
	}
	return nil
}

// bind listens at host:port, all families at the same port.
func bind(ctx context.Context, addr string) (bound []*net.TCPListener, err error) {
	host, port, families, err := pktinfo.Split(addr)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: prepare, KeepAlive: -1}
	lc.SetMultipathTCP(false) // its sockets have neither splice(2) nor the original destination
	for _, family := range families {
		l, err := lc.Listen(ctx, "tcp"+family, net.JoinHostPort(host, port))
		if family == "6" && host == "" && errors.Is(err, syscall.EAFNOSUPPORT) {
			continue // the kernel has no IPv6
		}
		if err != nil {
			return bound, err
		}
		bound = append(bound, l.(*net.TCPListener))
		port = fmt.Sprint(l.Addr().(*net.TCPAddr).Port) // the kernel chooses one for 0
	}
	return bound, nil
}

// prepare has a listener's connections keep alive: they take that over (tcp(7)), and need no
// calls of their own for it.
func prepare(network, address string, c syscall.RawConn) error {
	if err := pktinfo.Ask(network, address, c); err != nil {
		return err
	}
	var errs [4]error
	err := c.Control(func(fd uintptr) {
		for i, o := range [len(errs)]struct{ level, option, value int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.SOL_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Idle / time.Second)},
			{unix.SOL_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Interval / time.Second)},
			{unix.SOL_TCP, unix.TCP_KEEPCNT, keepAlive.Count},
		} {
			errs[i] = unix.SetsockoptInt(int(fd), o.level, o.option, o.value)
		}
	})
	return errors.Join(append(errs[:], err)...)
}

// Addrs are the addresses that are bound: of Config.Listen and of Config.Intercept.
func (p *Proxy) Addrs() (explicit, intercepted []netip.AddrPort) {
	for _, l := range p.explicit {
		explicit = append(explicit, l.Addr().(*net.TCPAddr).AddrPort())
	}
	for _, l := range p.intercepted {
		intercepted = append(intercepted, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return explicit, intercepted
}

func (p *Proxy) closeListeners() {
	for _, l := range p.explicit {
		l.Close()
	}
	for _, l := range p.intercepted {
		l.Close()
	}
}

// Serve serves connections until ctx ends. Then it accepts no more, gives tunnels
// drainTime to end by themselves, and returns when all that it started is gone.
func (p *Proxy) Serve(ctx context.Context) error {
	defer p.addrs.close()
	defer p.parking.close()
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range p.explicit {
		g.Go(func() error { return p.accept(ctx, l, policy.Connect, p.serveProxy) })
	}
	for _, l := range p.intercepted {
		g.Go(func() error { return p.accept(ctx, l, policy.TLS, p.intercept) })
	}
	g.Go(func() error {
		p.registry.watch(ctx)
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		p.closeListeners()
		p.registry.drain(p.drainTime)
		return nil
	})
	return g.Wait()
}

// accept serves a listener until it is closed, and its connections to their end. The
// plane is that of a connection which is refused before it has said anything.
func (p *Proxy) accept(ctx context.Context, l *net.TCPListener, plane policy.Plane, serve func(context.Context, *peer)) error {
	var conns crew.Crew
	defer conns.Close()
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil && p.probes.has(conn.RemoteAddr().(*net.TCPAddr).AddrPort()):
			conn.Close()
		case err == nil:
			p.stats.connections.Add(1)
			c := p.newPeer(conn)
			if p.welcome(c, plane) {
				conns.Do(func() { attend(ctx, &conns, c, serve) })
			}
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // no descriptors or memory, or the network or a filter was in the way: it passes
			p.trouble.report(fmt.Sprintf("connections can't be accepted: %v", err))
			p.deps.Log.Error("a connection could not be accepted", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
}

// attend serves a connection to its end and then gives back its place. A tunnel has
// goroutines of its own, and at times none: what the stack of this one has grown to, with TLS
// and all, would stay with it for as long as the tunnel lasts.
func attend(ctx context.Context, conns *crew.Crew, c *peer, serve func(context.Context, *peer)) {
	serve(ctx, c)
	if c.carry == nil {
		c.giveUpPlace()
		return
	}
	done := conns.Hold()
	c.carry(func() {
		c.giveUpPlace()
		done()
	})
}

// newPeer finds out what there is to know of a connection.
func (p *Proxy) newPeer(conn *net.TCPConn) *peer {
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	return &peer{
		TCPConn: conn,
		client:  conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone(""),
		local:   netip.AddrPortFrom(local.Addr().Unmap().WithZone(""), local.Port()),
		iface:   p.ifaces.Name(pktinfo.Incoming(conn)),
		began:   time.Now(),
	}
}

// welcome takes a connection in, or refuses it without having heard it: one too many, and
// one from the Internet that is in no class. One from within the store that is in none is
// heard, so that its record tells what it wants.
func (p *Proxy) welcome(c *peer, plane policy.Plane) bool {
	a := c.attempt(plane, "", 0)
	p.know(a)
	var err error
	reason, detail := policy.NoReason, ""
	if a.decision.Class == nil && policy.CheckAddr(c.client) == nil {
		reason = policy.UnknownClient
	} else if c.guest, err = p.registry.arrive(placeOf(a), func() { c.Close() }); err == nil {
		return true
	} else if full, ok := errors.AsType[*limitError](err); ok {
		reason, detail = policy.LimitReached, err.Error()
		p.reportLimit(full)
	}
	c.reset()
	if reason != policy.NoReason {
		p.stats.refused.Add(1)
		p.deny(a, reason, detail)
	}
	return false
}

// placeOf is the address by which the connections are counted that have asked for nothing
// yet. Who is in no class can have all the IPv6 addresses of a network, which therefore
// count as one. The clients of a class can't be taken together: their VLAN is one /64.
func placeOf(a *attempt) netip.Addr {
	if a.decision.Class != nil || a.client.Is4() {
		return a.client
	}
	return netip.PrefixFrom(a.client, 64).Masked().Addr()
}
