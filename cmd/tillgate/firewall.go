package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tillgate/firewall"
	"tillgate/internal/clock"
	"tillgate/policy"
)

func newFirewall(p process) *cobra.Command {
	var f firewallFlags
	cmd := &cobra.Command{
		Use:   "firewall",
		Short: "print, apply and check the nftables rules of the classes",
		Long: `Make the packet filter of the policy: one table of nftables, inet tillgate, that sends
the classes' DNS, time and documented ports to this box, and stops all else of theirs.
No other table is touched. Beside it stand a few rules of the routing policy (ip rule,
protocol 116), by which a box that forwards has no way to the Internet for the enforced
classes, even while another program has flushed all tables.

Without a command, the rules are printed. A class that has a whole private network, as
that of the embedded policy, needs the interface that its devices come in by: with
--interface, or under firewall in tillgate.yaml.`,
		Example: `  tillgate firewall print --interface eth0.20
  tillgate firewall apply
  tillgate firewall check`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return printFirewall(cmd.Context(), f, p) },
	}
	f.on(cmd)
	cmd.AddCommand(newFirewallPrint(p), newFirewallApply(p), newFirewallCheck(p), newFirewallRemove(p), newFirewallKeep(p))
	return cmd
}

// firewallFlags say of what the rules are made.
type firewallFlags struct {
	config, socket string
	interfaces     []string
}

func (f *firewallFlags) on(cmd *cobra.Command) {
	configFlag(cmd, &f.config, "make them of the files in this folder")
	socketFlag(cmd, &f.socket)
	cmd.Flags().StringArrayVar(&f.interfaces, "interface", nil, "`CLASS=NAME`, an interface that the class's devices come in by; NAME is enough where there is one class")
}

func newFirewallPrint(p process) *cobra.Command {
	var f firewallFlags
	cmd := &cobra.Command{
		Use:   "print",
		Short: "print the rules, for nft -f",
		Long: `Print the rules of the running box, or where there is none or a flag says so, those of
the files.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return printFirewall(cmd.Context(), f, p) },
	}
	f.on(cmd)
	return cmd
}

func printFirewall(ctx context.Context, f firewallFlags, p process) error {
	r, err := f.rules(ctx, p)
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(r.text)
	return failed(err)
}

func newFirewallRemove(p process) *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "take the rules out of the kernel",
		Long: `Take the table inet tillgate out of the kernel, and the rules of the routing policy
beside it. What the classes may do is then up to the host's other tables alone.

This is for now. Where tillgate firewall keep runs, it puts them back, and it loads them
at its start: systemctl disable --now tillgate-firewall ends that for good.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			where, err := runPlaces(false, places{state: state}, p.getenv)
			if err != nil {
				return err
			}
			return failed(removeFirewall(cmd.Context(), filepath.Join(where.state, rulesFile), p))
		},
	}
	stateFlag(cmd, &state, "folder of the box's state, with the last rules")
	return cmd
}

// removeFirewall also says whether there is a keeper, by the file that it keeps.
func removeFirewall(ctx context.Context, file string, p process) error {
	was, err := firewall.Remove(ctx)
	switch {
	case err != nil:
		return err
	case was:
		fmt.Fprintln(p.stdout, "the rules are removed: what the classes may do is up to the host's other tables now")
	default:
		fmt.Fprintln(p.stdout, "no rules are loaded")
	}
	if _, err := os.Stat(file); err == nil {
		fmt.Fprintf(p.stdout, "tillgate firewall keep puts them back, at once if it runs and else at its start, from %s; systemctl disable --now tillgate-firewall ends that\n", file)
	}
	return nil
}

// madeRules are rules with what goes with loading them.
type madeRules struct {
	policy   string // its id
	text     []byte
	networks func() []netip.Prefix // whose older connections are to be forgotten
}

// rules are those of the running box, or of the files where there is none or the flags say
// so. It notes on the error output what an admin should know of them.
func (f *firewallFlags) rules(ctx context.Context, p process) (made madeRules, err error) {
	box, status, err := findBox(ctx, f.socket, p)
	running := err == nil
	if err != nil && (!isNoBox(err) || f.socket != "") {
		return made, err
	}
	var gaps []string
	if running && f.config == "" && len(f.interfaces) == 0 {
		r, err := box.Firewall(ctx, "")
		if err != nil {
			return made, failed(err)
		}
		made, gaps = madeRules{status.Policy.ID, []byte(r.Text), func() []netip.Prefix { return r.Networks }}, r.Gaps
	} else {
		var now time.Time
		if running && status.Time.Level != clock.None.String() {
			now = time.Now()
		}
		r, err := f.ofFiles(now, p)
		if err != nil {
			return made, err
		}
		if running && status.Policy.ID != r.Policy {
			gaps = append(gaps, fmt.Sprintf("the box has policy %s in force, these files make %s; tillgate status says why", status.Policy.ID, r.Policy))
		}
		gaps = append(gaps, r.Gaps...)
		made = madeRules{r.Policy, r.Text(), func() []netip.Prefix {
			networks, err := clientNetworks(r)
			if err != nil {
				fmt.Fprintln(p.stderr, "note:", joinLines(err.Error()))
			}
			return networks
		}}
	}
	for _, gap := range gaps {
		fmt.Fprintln(p.stderr, "note:", gap)
	}
	return made, nil
}

// ofFiles makes the rules of the files and the flags.
func (f *firewallFlags) ofFiles(now time.Time, p process) (firewall.Ruleset, error) {
	set, _, err := loadPolicy(f.config, p.getenv)
	if err != nil {
		return firewall.Ruleset{}, err
	}
	dir := f.config
	if dir == "" {
		dir = systemPlaces(p.getenv).config
	}
	s, err := readConfiguration(dir)
	if err != nil {
		return firewall.Ruleset{}, err
	}
	cfg, err := rulesConfig(s, now)
	if err != nil {
		return firewall.Ruleset{}, failed(err)
	}
	if cfg.Interfaces, err = addInterfaces(cfg.Interfaces, f.interfaces, set); err != nil {
		return firewall.Ruleset{}, err
	}
	r, err := firewall.Rules(set, cfg)
	if err != nil {
		return r, noRules{dir, err}
	}
	r.Gaps = append(r.Gaps, bridgePorts(classDevices, r.Interfaces)...)
	return r, nil
}

// sshPort is where an admin's SSH comes in.
const sshPort = 22

// rulesConfig is what tillgate.yaml, and the machine, say of the rules.
func rulesConfig(s settings, now time.Time) (firewall.Config, error) {
	near, err := ownNetworks()
	return firewall.Config{
		Near:       near,
		Interfaces: s.Firewall.Interfaces,
		Admin:      s.Firewall.Admin,
		DNS:        servedPort(s.Listen.DNS),
		Proxy:      servedPort(s.Listen.Proxy),
		Intercept:  servedPort(s.Listen.Intercept),
		NTP:        servedPort(s.Listen.NTP),
		Console:    servedPort(s.Listen.Console),
		SSH:        sshPort,
		Now:        now,
	}, err
}

// ownNetworks are those of the machine's interfaces, sorted: that a machine takes another address
// in one of them (RFC 8981) makes no other rules.
func ownNetworks() (networks []netip.Prefix, err error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("listing the box's own addresses: %w", err)
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			networks = append(networks, p.Masked())
		}
	}
	slices.SortFunc(networks, netip.Prefix.Compare)
	return slices.Compact(networks), nil
}

// servedPort is the first port of a list that others than the box itself can reach.
func servedPort(list []string) uint16 {
	for _, text := range list {
		host, port, _ := net.SplitHostPort(text) // the settings have been read
		if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() {
			continue
		}
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			return uint16(n)
		}
	}
	return 0
}

// addInterfaces adds those of the flag to those of the settings.
func addInterfaces(have map[string][]string, flags []string, set *policy.Set) (map[string][]string, error) {
	all := maps.Clone(have)
	for _, text := range flags {
		class, name, ok := strings.Cut(text, "=")
		if !ok {
			name = text
			if len(set.Classes()) != 1 {
				return nil, fmt.Errorf("--interface %s: which class comes in by it? write --interface %s=%s", text, set.Classes()[0].Name, text)
			}
			class = set.Classes()[0].Name
		}
		if !isInterfaceName(name) {
			return nil, fmt.Errorf("--interface %s: %q is not the name of an interface; ip link lists them", text, name)
		}
		if !slices.ContainsFunc(set.Classes(), func(c *policy.Class) bool { return c.Name == class }) {
			return nil, fmt.Errorf("--interface %s: the policy has no class %q", text, class)
		}
		all[class] = append(slices.Clone(all[class]), name)
	}
	return all, nil
}
