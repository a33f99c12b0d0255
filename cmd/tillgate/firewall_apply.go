package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tillgate/firewall"
)

// confirmWithin is how long rules that nobody has confirmed stay: long enough to try
// whether a new SSH session still comes in.
const confirmWithin = time.Minute

func newFirewallApply(p process) *cobra.Command {
	var (
		f       firewallFlags
		confirm bool
	)
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "put the rules in force",
		Long: `Put the rules in force, all at once, and end the classes' connections that are older
and would go around them.

Unless ENTER is pressed within a minute, what was there before is put back: so that a
rule that locks you out does so for a minute. It is put back, too, when the session is
lost, by Ctrl-C, and where there is no terminal to press ENTER at. tillgate firewall apply --confirm, in this
session or in another, does not wait. The rules are in the kernel only, and a reboot ends
them: tillgate firewall keep has them in force from the start on, and follows the policy.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := f.rules(cmd.Context(), p)
			if err != nil {
				return err
			}
			return failed(applyFirewall(cmd.Context(), r, confirm, p))
		},
	}
	f.on(cmd)
	cmd.Flags().BoolVar(&confirm, "confirm", false, "keep them without being asked")
	return cmd
}

// keepTells is what is easily missed: the kernel tells nobody but the keeper.
const keepTells = "what they stop is in the log while tillgate firewall keep runs: systemctl enable --now tillgate-firewall"

func applyFirewall(ctx context.Context, r madeRules, confirm bool, p process) error {
	// From here on a signal, as a lost SSH session sends one, must not leave the rules.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	whole := context.WithoutCancel(ctx) // nor stop it half-way
	before, err := firewall.Backup(whole)
	if err != nil {
		return err
	}
	switch err := firewall.Load(whole, r.text); {
	case errors.Is(err, firewall.ErrBackstop):
		fmt.Fprintln(p.stderr, "note:", joinLines(err.Error()))
	case err != nil:
		return err
	}
	handle, err := firewall.Loaded(whole)
	if err != nil {
		return putBack(before, err)
	}
	if err := forget(r, p); err != nil {
		return putBack(before, err)
	}
	if confirm {
		fmt.Fprintf(p.stdout, "the rules of policy %s are in force\n%s\n", r.policy, keepTells)
		return nil
	}
	within := confirmWithin
	if p.lab.confirmWithin != 0 {
		within = p.lab.confirmWithin
	}
	fmt.Fprintf(p.stdout, "the rules of policy %s are in force; within %v, press ENTER to keep them, or say tillgate firewall apply --confirm in another session\n", r.policy, within)
	entered, err := awaitEnter(ctx, os.Stdin, within)
	if entered {
		fmt.Fprintln(p.stdout, "they are kept")
		fmt.Fprintln(p.stdout, keepTells)
		return nil
	}
	now, loadedErr := firewall.Loaded(whole)
	if loadedErr == nil && now != handle {
		fmt.Fprintln(p.stdout, "others have taken their place meanwhile, which are left as they are")
		return nil
	}
	if err == nil {
		err = errors.New("nobody has confirmed the rules")
	}
	return putBack(before, err)
}

// putBack loads what was there before, since something was not well.
func putBack(before []byte, why error) error {
	if err := firewall.Load(context.Background(), before); err != nil {
		return fmt.Errorf("%w; putting back what was there before has failed too: %w; see tillgate firewall check", why, err)
	}
	return fmt.Errorf("%w; what was there before is put back", why)
}

// awaitEnter waits for the end of a line. The error says what came first, if it is no more
// than the time's end. It polls, since a read cannot be given up.
func awaitEnter(ctx context.Context, in *os.File, within time.Duration) (bool, error) {
	const tick = 100 * time.Millisecond
	fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}
	line := make([]byte, 256)
	for end := time.Now().Add(within); time.Now().Before(end); {
		n, err := unix.Poll(fds, int(tick.Milliseconds()))
		if ctx.Err() != nil {
			return false, errors.New("interrupted")
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, fmt.Errorf("waiting for ENTER: %w", err)
		}
		if err != nil || n == 0 {
			continue
		}
		n, err = in.Read(line)
		if bytes.ContainsRune(line[:max(n, 0)], '\n') {
			return true, nil
		}
		if err != nil {
			fds = nil // nobody is there to press it: the time still runs, for another session
		}
	}
	return false, nil
}

// forget ends the classes' connections that are older than the rules. The rules stop their
// packets without it; but a device that asks from the same port again would not be
// redirected for as long.
func forget(r madeRules, p process) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("reading the box's addresses: %w", err)
	}
	var local []netip.Addr
	for _, own := range prefixes(addrs) {
		local = append(local, own.Addr())
	}
	n, err := firewall.Forget(r.networks(), local)
	if err != nil {
		return err
	}
	if n > 0 {
		fmt.Fprintf(p.stdout, "%s older than the rules forgotten\n", plural(n, "connection"))
	}
	return nil
}

// clientNetworks are those of the classes, by network and by interface. The error is of
// interfaces that are not there now, or can't be looked at; the others are returned.
func clientNetworks(r firewall.Ruleset) (networks []netip.Prefix, err error) {
	networks = slices.Clone(r.Clients)
	for _, name := range r.Interfaces {
		var addrs []net.Addr
		i, e := net.InterfaceByName(name)
		if e == nil {
			addrs, e = i.Addrs()
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("interface %s: %w", name, e))
		}
		networks = append(networks, prefixes(addrs)...)
	}
	return networks, err
}

// prefixes are addresses with the length of their networks.
func prefixes(addrs []net.Addr) (list []netip.Prefix) {
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p)
		}
	}
	return list
}
