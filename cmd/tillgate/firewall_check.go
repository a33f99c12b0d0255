package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tillgate/firewall"
)

// checkedFirewall is what firewall check found, as JSON tells it.
type checkedFirewall struct {
	Good    bool     `json:"good"`   // what is loaded is what the policy makes
	Loaded  bool     `json:"loaded"` // there is a table, be it good or not
	Behind  bool     `json:"behind"` // there are rules of the routing policy beside it, or in its place
	Policy  string   `json:"policy"`
	Missing []string `json:"missing"` // lines that should be loaded, as nft lists them
	More    []string `json:"more"`    // lines that should not
	Beside  []string `json:"beside"`  // what in the host's other tables may be in the way
}

func newFirewallCheck(p process) *cobra.Command {
	var (
		f      firewallFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "compare the rules in the kernel with the policy",
		Long: `Say whether the rules in the kernel are those that the policy makes, and what of the
host's other tables may be in their way. The exit status is 1 when they are not.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := f.rules(cmd.Context(), p)
			if err != nil {
				return err
			}
			c, err := checkFirewall(cmd.Context(), r)
			if err != nil {
				return failed(err)
			}
			if asJSON {
				err = writeJSON(p.stdout, c)
			} else {
				writeFirewallCheck(p, c)
			}
			if err == nil && !c.Good {
				return errSaid
			}
			return err
		},
	}
	f.on(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func checkFirewall(ctx context.Context, r madeRules) (checkedFirewall, error) {
	c := checkedFirewall{Policy: r.policy, Missing: []string{}, More: []string{}, Beside: []string{}}
	handle, err := firewall.Loaded(ctx)
	if err != nil {
		return c, err
	}
	c.Loaded = handle != 0
	if c.Behind, err = firewall.HasBackstop(); err != nil {
		return c, err
	}
	if c.Loaded {
		missing, more, err := firewall.Differs(ctx, r.text)
		if err != nil {
			return c, err
		}
		c.Good = len(missing)+len(more) == 0
		c.Missing, c.More = append(c.Missing, missing...), append(c.More, more...)
	}
	notes, err := firewall.Beside(ctx)
	c.Beside = append(c.Beside, notes...)
	return c, err
}

// maxShownLines bounds the differences that are shown of either kind; JSON has all.
const maxShownLines = 10

func writeFirewallCheck(p process, c checkedFirewall) {
	d := newDisplay(p.stdout, p.getenv)
	switch {
	case c.Good:
		fmt.Fprintf(p.stdout, "%s: the rules of policy %s are loaded\n", d.paint(green, "good"), c.Policy)
	case !c.Loaded && c.Behind:
		fmt.Fprintf(p.stdout, "%s: the table of rules is gone, and only the routing policy keeps the classes from the Internet; tillgate firewall apply loads that of policy %s\n", d.paint(red, "bad"), c.Policy)
	case !c.Loaded:
		fmt.Fprintf(p.stdout, "%s: no rules are loaded; tillgate firewall apply loads those of policy %s\n", d.paint(red, "bad"), c.Policy)
	default:
		fmt.Fprintf(p.stdout, "%s: what is loaded is not what policy %s makes; tillgate firewall apply loads that\n", d.paint(red, "bad"), c.Policy)
	}
	show := func(mark string, lines []string) {
		for i, line := range lines {
			if i == maxShownLines {
				fmt.Fprintf(p.stdout, "  %s and %d more\n", mark, len(lines)-i)
				break
			}
			fmt.Fprintf(p.stdout, "  %s %s\n", mark, printable(line))
		}
	}
	show("missing:", c.Missing)
	show("too much:", c.More)
	show("beside:", c.Beside)
}
