// Command bench measures tillgate beside other programs, and prints a page of
// Markdown: BENCHMARKS.md. It needs Debian, root and a C compiler, and is run
// from the module's root:
//
//	go run ./internal/bench/cmd/bench [-rounds N] [-time D] [-hour D] [-dir FOLDER] [ROW...]
//
// Without names it measures all rows, which takes an hour and some 25 minutes; -hour 0
// leaves out the hour of a shop's traffic, and so do the names of other rows.
// It measures in a network namespace of its own, as a child of itself; as
// "bench relay ADDRESS" it is one of the peers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"tillgate/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "relay" {
		return bench.Relay(args[1])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	o := bench.Options{Log: os.Stderr}
	flags.IntVar(&o.Rounds, "rounds", 15, "how many `rounds` each row has")
	flags.DurationVar(&o.Time, "time", time.Second, "how long a server is loaded in a round")
	flags.DurationVar(&o.Hour, "hour", time.Hour, "how long row hour takes, in whole minutes; 0 leaves it out")
	flags.StringVar(&o.Dir, "dir", "", "a `folder` for what is built, and kept for the next time; empty: a temporary one")
	inside := flags.Bool("inside", false, "this is the child in the namespace, and the folder is filled")
	flags.Parse(args)
	o.Rows = flags.Args()
	if o.Rounds < 1 || o.Time < 100*time.Millisecond {
		return fmt.Errorf("%d rounds of %v measure nothing: give 1 or more, of 100ms or more", o.Rounds, o.Time)
	}
	if o.Hour != 0 && (o.Hour < 4*time.Minute || o.Hour%time.Minute != 0) {
		return fmt.Errorf("-hour %v is not 4 whole minutes or more, or 0", o.Hour)
	}
	if *inside {
		report, err := bench.Run(ctx, o)
		if report != nil {
			_, werr := report.WriteTo(os.Stdout)
			err = errors.Join(err, werr)
		}
		return err
	}
	return outside(ctx, o)
}

// outside fills the folder while there is a network, and measures in a child.
func outside(ctx context.Context, o bench.Options) (err error) {
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "bench"); err != nil {
			return err
		}
		defer os.RemoveAll(o.Dir)
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if err := bench.Prepare(ctx, o); err != nil {
		return err
	}
	args := append([]string{"-inside", "-dir", o.Dir, "-rounds", fmt.Sprint(o.Rounds), "-time", o.Time.String(), "-hour", o.Hour.String()}, o.Rows...)
	child := exec.CommandContext(ctx, "taskset", append([]string{"-c", bench.LoadCPU, filepath.Join(o.Dir, "bench")}, args...)...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	return child.Run()
}
