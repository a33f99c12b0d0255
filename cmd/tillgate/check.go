package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"tillgate/internal/check"
)

func newPortTest(p process) *cobra.Command {
	var (
		flags  places
		via    string
		req    check.Request
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "try every documented destination, and say what is wrong",
		Long: `Try every destination of the provider's document, or of a class: its name is
resolved, its port connected, its certificate verified; HTTP is asked at port 80, and
time servers are asked for the time. Then say what is wrong, and what to do.

The running box does it, with its own resolver and clock; where there is none, this
program with the files. With --via it is done as by a terminal that is set to the box
at an address: by its DNS, through its proxy (port 3128), with the time from where its
DNS says. From a machine in the terminals' network that tests all of the box; on the
box itself, give the address that it has in that network.

With --via the box is asked first as whom it knows this machine, and what it lets that
reach is tried: no files are needed, and nothing is denied. A machine in no class is
told so. With --class another's destinations are tried, which the box then denies and
records; they are those of the files here, or in the folder that --config names.

The exit status is 1 when a required destination is not reached; with --class also when
a conditional one is not, or one of the store's own. Of the time servers three are
enough, as the box is the terminals' own.`,
		Example: `  tillgate check
  tillgate check --class sunmi
  tillgate check --via 10.20.1.1
  tillgate check --speed https://api.eu.sunmi.com/`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if via != "" {
				a, err := netip.ParseAddr(via)
				if err != nil {
					return fmt.Errorf("--via %q is not an address; write that of the box, as 10.20.1.1 or fd00:20:1::1", via)
				}
				req.Via = a.Unmap()
			}
			if req.Speed != "" {
				if err := check.CheckSpeedURL(req.Speed); err != nil {
					return fmt.Errorf("--speed: %w", err)
				}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			out := newCheckOutput(p, asJSON)
			if err := runCheck(ctx, req, flags, p, out); err != nil {
				return err
			}
			return out.end()
		},
	}
	cmd.Flags().StringVar(&via, "via", "", "go through the box at this address, as a terminal does")
	cmd.Flags().StringVar(&req.Class, "class", "", "try what this class of devices may reach")
	cmd.Flags().StringVar(&req.Speed, "speed", "", "also measure the download of this https URL, for 10 s or 64 MB")
	configFlag(cmd, &flags.config, "try what the files in this folder say, without the running box")
	socketFlag(cmd, &flags.socket)
	jsonFlag(cmd, &asJSON)
	cmd.RegisterFlagCompletionFunc("class", completeClass(p))
	cmd.RegisterFlagCompletionFunc("via", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("speed", cobra.NoFileCompletions)
	return cmd
}

// runCheck has the running box test, or does so itself.
func runCheck(ctx context.Context, req check.Request, flags places, p process, out *checkOutput) error {
	if flags.config == "" {
		c, _, err := findBox(ctx, flags.socket, p)
		if err == nil {
			in, err := c.Policy(ctx)
			if err != nil {
				return failed(err)
			}
			if req.Class != "" {
				var known []string
				for _, class := range in.Classes {
					known = append(known, class.Name)
				}
				if !slices.Contains(known, req.Class) {
					return oneOf("class", req.Class, known)
				}
			}
			out.begin("the box at "+c.Socket, in.ID)
			for line, err := range c.Check(ctx, req) {
				if err != nil {
					return interrupted(ctx, failed(err))
				}
				if err := out.line(line); err != nil {
					return failed(err)
				}
			}
			return nil
		}
		if !isNoBox(err) || flags.socket != "" {
			return err
		}
	}
	set, by, err := loadPolicy(flags.config, p.getenv)
	if err != nil {
		return err
	}
	dir := flags.config
	if dir == "" {
		dir = systemPlaces(p.getenv).config
	}
	s, err := readConfiguration(dir)
	if err != nil {
		return err
	}
	out.begin("this machine, by "+by, set.ID())
	err = checkHere(ctx, set, s, req, flags.config != "", p, out.line)
	if unknown, ok := errors.AsType[*unknownClassError](err); ok && flags.config == "" {
		unknown.by = fmt.Sprintf(" (by %s); --config names the folder of other files", by)
	}
	return interrupted(ctx, err)
}

// interrupted is the error of a test that somebody stopped.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return failed(errors.New("interrupted, so there is no verdict"))
	}
	return err
}
