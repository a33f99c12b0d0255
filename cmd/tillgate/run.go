package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// stopWithin is how long the box may take to stop. Of it queries that wait for
// the upstream, and tunnels, take 3 s at most, requests of the API one, and the rest
// is for the disk.
const stopWithin = 5 * time.Second

func newRun(p process) *cobra.Command {
	var (
		loopback bool
		flags    places
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "be the box",
		Long: `Run the box until SIGINT or SIGTERM; SIGHUP reads the policy again.

With --loopback all listeners are on 127.0.0.1, at ports that need no rights,
whatever tillgate.yaml says of them, and the embedded policy is in force unless
--config names another. Its state is the user's own. DNS is at port 5300, the proxy
at 3128, NTP at 1230, the console at 8053; what is redirected to 3129, or connects there, is meant for
port 443, or 80 if it speaks HTTP.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			where, err := runPlaces(loopback, flags, p.getenv)
			if err != nil {
				return err
			}
			return runBox(cmd.Context(), where, loopback, p)
		},
	}
	cmd.Flags().BoolVar(&loopback, "loopback", false, "try it on this machine: 127.0.0.1 alone, without rights")
	configFlag(cmd, &flags.config, "folder of tillgate.yaml, policy.yaml and packs/")
	stateFlag(cmd, &flags.state, "folder of the journal and the rest")
	socketFlag(cmd, &flags.socket)
	return cmd
}

// newLogger is the operator's log. Under systemd the journal has the time.
func newLogger(p process) *slog.Logger {
	options := &slog.HandlerOptions{}
	if p.getenv("JOURNAL_STREAM") != "" {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(p.stderr, options))
}

// runBox opens all parts, binds all listeners, then serves until it is told to
// stop.
func runBox(ctx context.Context, where places, loopback bool, p process) error {
	log := newLogger(p)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	s, err := readConfiguration(where.config)
	if err != nil {
		return err
	}
	if loopback {
		s.Listen, s.direct = loopbackListen(), true
	}
	a, err := openAppliance(where, s, p, log)
	if err != nil {
		return err
	}
	defer a.close()
	if err := a.listen(ctx); err != nil {
		return failed(err)
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	served := make(chan error, 1)
	go func() { served <- a.serve(ctx, stop, signals) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		select {
		case err = <-served:
		case <-time.After(stopWithin):
			err = fmt.Errorf("not all parts stopped within %v; what they had not written is lost", stopWithin)
		}
	}
	return failed(err)
}

// stopped is why the box stops when nothing is wrong.
type stopped struct{ by string }

func (s stopped) Error() string { return "stopped by " + s.by }

// obey does what the signals say. The first that ends the box does so with
// grace; a second one finds the kernel's default, which ends it at once.
func (a *appliance) obey(ctx context.Context, signals <-chan os.Signal, stop context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				a.reload()
				continue
			}
			signal.Reset(syscall.SIGINT, syscall.SIGTERM)
			name := "SIGTERM"
			if sig == syscall.SIGINT {
				name = "SIGINT"
			}
			stop(stopped{by: name})
		}
	}
}
