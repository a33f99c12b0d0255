package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tillgate/console"
	"tillgate/internal/strictyaml"
	"tillgate/policy"
)

func newObserve(p process) *cobra.Command {
	var (
		length, reason, socket string
		end, asJSON            bool
	)
	cmd := &cobra.Command{
		Use:   "observe CLASS (--for DURATION --reason TEXT | --end)",
		Short: "let a class of devices through for a while",
		Long: `Let a class of devices through for a while: what would be denied is let through, and
recorded as would-deny with its reason. A redirected connection that names no host (no
SNI, an address in its place or in Host, a protocol that is neither TLS nor HTTP, a client
that waits for the server to speak) goes where the client itself wanted to. The guards stay
on: private addresses, a name that is not the one asked for, what is malformed, and limits
are denied as ever.

It ends by itself, after a day at most, and with the box; not with an edit of the
policy. Its beginning and its end are records. Only root and the user that the box
runs as may do this.`,
		Example: `  tillgate observe pos --for 2h --reason "till 4 cannot pay, ticket 4711"
  tillgate observe pos --end`,
		Args:              takes(1, 1),
		ValidArgsFunction: completeClass(p),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := observeFor(length, reason, end)
			if err != nil {
				return err
			}
			c, _, err := findBox(cmd.Context(), socket, p)
			if err != nil {
				return err
			}
			o, err := c.Observe(cmd.Context(), console.Observe{Class: args[0], For: d.String(), Reason: reason})
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return writeJSON(p.stdout, o)
			}
			writeObservation(p, o, d)
			return nil
		},
	}
	cmd.Flags().StringVar(&length, "for", "", "how long, at most 24h; 0 ends it")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for who reads the log")
	cmd.Flags().BoolVar(&end, "end", false, "end it now")
	socketFlag(cmd, &socket)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// observeFor is how long the flags ask for; zero ends it.
func observeFor(length, reason string, end bool) (time.Duration, error) {
	switch {
	case end && (length != "" || reason != ""):
		return 0, errors.New("--end stands alone: it ends what is observed now")
	case end:
		return 0, nil
	case length == "":
		return 0, errors.New("how long is missing; add --for 2h, or --end to end it")
	}
	d, ok := strictyaml.ParseDuration(length)
	switch {
	case !ok:
		return 0, fmt.Errorf("%q is not a duration; write 30m, 2h or 1d", length)
	case d > policy.MaxObserve:
		return 0, fmt.Errorf("%s is too long; a class can be observed for at most %v, for longer write mode: observe into policy.yaml", length, policy.MaxObserve)
	case d > 0 && reason == "":
		return 0, errors.New("the reason is missing, which an auditor asks for; add --reason TEXT")
	}
	return d, nil
}

func writeObservation(p process, o console.Observation, d time.Duration) {
	if d == 0 {
		fmt.Fprintf(p.stdout, "observing class %s has ended\n", printable(o.Class))
		return
	}
	fmt.Fprintf(p.stdout, "class %s is observed until %s; what is let through shows in tillgate log -f --denied --class %s\n",
		printable(o.Class), endMoment(o.Until, time.Now(), "15:04:05"), printable(o.Class))
}
