package main

import (
	"context"
	"errors"
	"net/netip"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tillgate/console"
	"tillgate/firewall"
)

// rulesFile has the rules that were in force last, in the folder of the state.
const rulesFile = "firewall.nft"

func newFirewallKeep(p process) *cobra.Command {
	var flags places
	cmd := &cobra.Command{
		Use:   "keep",
		Short: "be the unit that keeps the rules in the kernel",
		Long: `Keep the rules in the kernel until SIGINT or SIGTERM: first those that were in force
last (the first time those of the files), before the network is up, then those of the
running box, as its policy changes.
If somebody flushes or changes the box's table it is put back at once. What the rules
stop is told to the box, for its log.

The rules stay when this ends or fails, and when the box does; tillgate firewall remove
takes them away. It needs CAP_NET_ADMIN, the program nft, and to be the box's user or root.
It is meant to be run by tillgate-firewall.service.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			where, err := runPlaces(false, flags, p.getenv)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return failed(keepRules(ctx, where, p))
		},
	}
	stateFlag(cmd, &flags.state, "folder of the box's state, with the last rules")
	socketFlag(cmd, &flags.socket)
	return cmd
}

func keepRules(ctx context.Context, where places, p process) error {
	log := newLogger(p)
	unit := newSystemd(log, p.getenv)
	box := console.NewClient(where.socket)
	k := firewall.NewKeeper(firewall.KeeperConfig{File: filepath.Join(where.state, rulesFile)}, firewall.KeeperDeps{
		Rules: func(ctx context.Context, have string) ([]byte, []netip.Prefix, error) {
			rules, err := box.Firewall(ctx, have)
			if errors.Is(err, console.ErrNoBox) {
				err = noBoxError{[]string{where.socket}}
			}
			return []byte(rules.Text), rules.Networks, err
		},
		First: func() ([]byte, error) {
			r, err := new(firewallFlags).ofFiles(time.Time{}, p)
			if err != nil {
				return nil, err
			}
			return r.Text(), nil
		},
		Records: box.FirewallRecords,
		Ready:   unit.ready,
		Now:     time.Now,
		Log:     log,
	})
	defer unit.stopping()
	return k.Serve(ctx)
}
