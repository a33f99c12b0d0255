package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tillgate/console"
	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/ntprelay"
	"tillgate/proxy"
	"tillgate/resolver"
)

// An appliance is the box: its parts, and what they tell each other.
type appliance struct {
	where   places
	build   build
	started time.Time // as all moments that are kept: by [time.Now], see tellMoment
	log     *slog.Logger
	lock    *os.File

	clock    *clock.Clock
	policy   policySource
	journal  *decision.Journal
	resolver *resolver.Resolver
	proxy    *proxy.Proxy
	relay    *ntprelay.Relay
	console  *console.Console
	systemd  systemd
	probe    string // the name that the watchdog asks for
	health   healthLog
	pid      int
	follow   string // the command that shows what this box decides

	policyBell *bell // rung when another policy is in force
	keeper     *keeperWatch

	settings     settings          // as they are in force
	settingsHash [sha256.Size]byte // of tillgate.yaml as it is in force

	lastChange atomic.Pointer[policyChange]
	saved      savedClock
	synced     chan struct{} // holds one when the clock has become fine, and is to be saved
}

// openAppliance makes the parts. It starts nothing. The error is a
// [configurationError] when the files are wrong.
func openAppliance(where places, s settings, p process, log *slog.Logger) (_ *appliance, err error) {
	a := &appliance{where: where, build: readBuild(), pid: os.Getpid(), log: log, settingsHash: s.hash,
		probe: newProbe(), systemd: newSystemd(log, p.getenv), follow: followCommand(where.socket, p.getenv),
		synced: make(chan struct{}, 1), settings: s, policyBell: newBell()}
	if a.lock, err = lockState(where.state); err != nil {
		return nil, failed(err)
	}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	saved := readClock(where.state, log)
	a.clock = clock.New(clock.Config{
		Machine:  p.lab.machine,
		Built:    a.build.Time,
		Saved:    saved,
		Quorum:   s.Time.Quorum,
		MaxError: s.Time.MaxError,
	})
	a.started = time.Now()
	_, err = os.Stat(filepath.Join(where.state, rulesFile))
	a.keeper = newKeeperWatch(err == nil, time.Now)
	if a.policy, err = openPolicy(where, a.clock.Now); err != nil {
		return nil, configurationError{where.config, err, fixFiles}
	}
	a.journal, err = decision.Open(decision.Config{
		Dir:          filepath.Join(where.state, journalDir),
		Sync:         s.Journal.Sync,
		Keep:         s.Journal.Keep,
		MaxSize:      s.Journal.MaxSize,
		RepeatWindow: s.Journal.RepeatWindow,
		Now:          a.clock.Now,
		Trusted:      func() (time.Time, bool) { t := a.clock.Trusted(); return t, !t.IsZero() },
		Coarse:       func() bool { return a.clock.Level() >= clock.Coarse },
		PolicyID:     func() string { return a.policy.set().ID() },
		Settle: func() { // both are there before the journal serves
			a.resolver.Settle()
			a.relay.Settle()
		},
		Log: log,
	})
	if err != nil {
		return nil, failed(fmt.Errorf("opening the journal: %w; make its folder readable and writable for this user", err))
	}
	a.resolver, err = resolver.New(resolver.Config{
		Listen:      s.Listen.DNS,
		URL:         s.Upstream.URL,
		Addresses:   s.Upstream.Addresses,
		Timeout:     s.Upstream.Timeout,
		Rate:        s.DNS.Rate,
		Burst:       s.DNS.Burst,
		Entries:     s.Cache.Entries,
		Stale:       s.Cache.Stale,
		Warm:        s.Cache.Warm,
		TimeServers: s.Time.Servers,
		CacheFile:   filepath.Join(where.state, "cache"),
	}, resolver.Deps{
		Policy:  a.policy.set,
		Clock:   a.clock,
		Steer:   func() bool { return len(s.Listen.NTP) > 0 },
		Records: unprobed{a.journal, a.probe},
		Log:     log,
	})
	if err != nil {
		return nil, configurationError{where.config, err, fixFiles}
	}
	a.proxy = proxy.New(proxy.Config{
		Listen:           s.Listen.Proxy,
		Intercept:        s.Listen.Intercept,
		Direct:           s.direct,
		ConnectTimeout:   s.Proxy.ConnectTimeout,
		HelloTimeout:     s.Proxy.HelloTimeout,
		IdleTimeout:      s.Proxy.IdleTimeout,
		Tunnels:          s.Proxy.Tunnels,
		TunnelsPerClient: s.Proxy.TunnelsPerClient,
	}, proxy.Deps{
		Policy:  a.policy.set,
		Lookup:  a.resolver.Lookup,
		NamesOf: a.resolver.NamesOf,
		Trusted: a.clock.Trusted,
		Tell:    a.tellWho,
		Records: a.journal,
		Log:     log,
	})
	a.relay, err = ntprelay.New(ntprelay.Config{
		Listen:  s.Listen.NTP,
		Servers: s.Time.Servers,
		Saved:   saved.Servers,
		Rate:    s.Time.Rate,
		Burst:   s.Time.Burst,
		Port:    p.lab.timePort,
	}, ntprelay.Deps{
		Policy:  a.policy.set,
		Clock:   a.clock,
		Lookup:  a.lookUpServer,
		Records: a.journal,
		Log:     log,
	})
	if err != nil {
		return nil, configurationError{where.config, err, fixFiles}
	}
	a.clock.OnChange(a.clockChanged)
	a.console = console.New(console.Config{
		Socket:    where.socket,
		Status:    a.status,
		Policy:    a.policy.set,
		Now:       a.clock.Trusted,
		Clock:     a.clock.Now,
		Journal:   a.journal,
		Observe:   a.policy.observe,
		ResetTime: a.resetTime,
		Check:     a.check,
		Firewall:  console.Firewall{Rules: a.firewallRules, Asked: a.keeper.asked, Record: a.firewallRecord},
		Web: console.WebConfig{
			Listen:  s.Listen.Console,
			Admin:   s.Firewall.Admin,
			Page:    console.Page(),
			Config:  where.config,
			State:   where.state,
			Record:  a.journal.Record,
			Decided: a.journal.Decided,
		},
		Log: log,
	})
	a.policy.onChange(a.policyChanged)
	return a, nil
}

// listen binds all that the box listens on, or nothing.
func (a *appliance) listen(ctx context.Context) error {
	explain := func(key string, err error) error {
		if a.settings.direct { // the addresses are those of --loopback
			key = ""
		}
		return explainBind(key, err, "/proc")
	}
	if err := a.resolver.Listen(ctx); err != nil {
		return explain("listen.dns", err)
	}
	if err := a.proxy.Listen(ctx); err != nil {
		key := "listen.proxy"
		if e, ok := errors.AsType[*proxy.ListenError](err); ok && e.Intercept {
			key = "listen.intercept"
		}
		return explain(key, err)
	}
	if err := a.relay.Listen(ctx); err != nil {
		return explain("listen.ntp", err)
	}
	if err := a.console.ListenWeb(ctx); err != nil {
		return explain("listen.console", err)
	}
	return listenSocket(ctx, a.console, a.where.socket)
}

// serve runs all parts until ctx ends or one of them fails. Then the listeners
// stop taking in and answer what was asked, the API ends, and the journal is
// the last to go: it has what all the others had to say.
func (a *appliance) serve(ctx context.Context, stop context.CancelCauseFunc, signals <-chan os.Signal) error {
	endJournal := stage(stop, a.journal.Serve)
	endConsole := stage(stop, a.console.Serve)
	a.announce()

	front, ctx := errgroup.WithContext(ctx)
	front.Go(func() error { return a.resolver.Serve(ctx) })
	front.Go(func() error { return a.proxy.Serve(ctx) })
	front.Go(func() error { return a.relay.Serve(ctx) })
	front.Go(func() error { a.keepClock(ctx); return nil })
	front.Go(func() error { return a.policy.serve(ctx) })
	front.Go(func() error { a.obey(ctx, signals, stop); return nil })
	front.Go(func() error { a.watchHealth(ctx); return nil })
	front.Go(func() error { a.systemd.watchdog(ctx, a.alive); return nil })
	front.Go(func() error { <-ctx.Done(); a.systemd.stopping(); return nil })
	err := front.Wait()

	a.farewell(context.Cause(ctx))
	return errors.Join(err, endConsole(), endJournal())
}

// stage starts a part that outlives others. The part's end by itself is that
// of the box; end ends it, and returns when it is gone.
func stage(stop context.CancelCauseFunc, serve func(context.Context) error) (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := serve(ctx)
		stop(err)
		done <- err
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// close lets go of the state. What else is open goes with the process.
func (a *appliance) close() { a.lock.Close() }
