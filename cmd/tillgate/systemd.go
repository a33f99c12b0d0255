package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notifyWithin is how long systemd may leave a message unread. The box does not
// wait for it any longer, least of all when it is to stop.
const notifyWithin = time.Second

// systemd is who started the box, where it did (sd_notify(3)). Elsewhere its
// methods do nothing.
type systemd struct {
	socket   string        // empty: none
	interval time.Duration // of the watchdog; zero: none
	log      *slog.Logger
}

func newSystemd(log *slog.Logger, getenv func(string) string) systemd {
	s := systemd{socket: getenv("NOTIFY_SOCKET"), log: log}
	var err error
	if s.interval, err = daemon.SdWatchdogEnabled(false); err != nil {
		log.Warn("systemd's watchdog is not served", "err", err)
	}
	return s
}

// notify is daemon.SdNotify with a deadline.
func (s systemd) notify(state string) {
	if s.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err == nil {
		defer conn.Close()
		conn.SetWriteDeadline(time.Now().Add(notifyWithin))
		_, err = conn.Write([]byte(state))
	}
	if err != nil {
		s.log.Warn("telling systemd failed", "state", state, "err", err)
	}
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
