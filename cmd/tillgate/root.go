package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tillgate/internal/clock"
)

// process is what the commands know of the process that they run in.
type process struct {
	stdout, stderr io.Writer
	getenv         func(string) string

	// lab is zero but in tests.
	lab struct {
		machine  clock.Machine
		timePort uint16 // of the time servers
		// confirmWithin takes the place of the constant
		confirmWithin time.Duration
	}
}

// The exit statuses.
const (
	statusGood   = 0
	statusFailed = 1 // the checked thing failed
	statusUsage  = 2 // usage or configuration
)

// A failure is an error with status 1: the command was understood, and what it
// was about is not well. All other errors are of usage or configuration.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

// errSaid is a failure of which the output has told all.
var errSaid = failed(errors.New("failed"))

// execute runs a command line and returns the exit status.
func execute(args []string, p process) int {
	root := newRoot(p)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.Background())
	var f failure
	switch {
	case err == nil:
		return statusGood
	case errors.Is(err, errSaid):
		return statusFailed
	case errors.As(err, &f):
		fmt.Fprintln(p.stderr, "tillgate:", err)
		return statusFailed
	}
	fmt.Fprintln(p.stderr, "tillgate:", err)
	if !isConfiguration(err) && cmd != nil {
		fmt.Fprintf(p.stderr, "See %s --help\n", cmd.CommandPath())
	}
	return statusUsage
}

func newRoot(p process) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "tillgate",
		Short: "the payment terminals' gate",
		Long: `tillgate runs on a store's edge box. It lets payment terminals reach what their
provider documents, and nothing else, and records every decision with its reason.

  tillgate run --loopback         try it on this machine, without rights
  tillgate check                  is everything reached that a payment needs?
  tillgate log -f                 see what is decided, as it happens
  tillgate explain 10.20.1.7 dns.google:443`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if version {
				return writeVersion(p)
			}
			return helpOf(cmd, args)
		},
	}
	root.Flags().BoolVar(&version, "version", false, "say which tillgate this is")
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.AddCommand(
		newRun(p),
		newPortTest(p),
		newExplain(p),
		newLog(p),
		newPolicy(p),
		newObserve(p),
		newReport(p),
		newFirewall(p),
		newStatus(p),
		newConsole(p),
		newTime(p),
		newVersion(p),
	)
	return root
}

// oneOf is an error for a word that is none of those known.
func oneOf(what, word string, known []string) error {
	return fmt.Errorf("unknown %s %q: one of %s", what, word, strings.Join(known, ", "))
}
