package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// systemd is who started the box, where it did (sd_notify(3)). Elsewhere its
// methods do nothing.
type systemd struct {
	notify   func(state string)
	interval time.Duration // of the watchdog; zero: none
	log      *slog.Logger
}

func newSystemd(log *slog.Logger) systemd {
	s := systemd{log: log}
	s.notify = func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("telling systemd failed", "state", state, "err", err)
		}
	}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog is not served", "err", err)
		return s
	}
	s.interval = interval
	return s
}

func (s systemd) ready()    { s.notify(daemon.SdNotifyReady) }
func (s systemd) stopping() { s.notify(daemon.SdNotifyStopping) }

// reloading is ended by ready. The time is for units of Type=notify-reload.
func (s systemd) reloading() {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // fails for unknown clocks alone
	s.notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// watchdog tells systemd three times an interval that the box is alive, each
// time after a look whether it is.
func (s systemd) watchdog(ctx context.Context, alive func(context.Context) error) {
	if s.interval == 0 {
		return
	}
	tick := time.NewTicker(s.interval / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bound, cancel := context.WithTimeout(ctx, s.interval/3)
		err := alive(bound)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Error("the box does not answer itself; systemd will restart it if that goes on", "err", err)
		default:
			s.notify(daemon.SdNotifyWatchdog)
		}
	}
}
