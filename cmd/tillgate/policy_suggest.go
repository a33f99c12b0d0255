package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tillgate/internal/clock"
	"tillgate/policy"
	"tillgate/replay"
)

func newSuggest(p process) *cobra.Command {
	var (
		flags  recordedFlags
		out    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "suggest",
		Short: "propose what denied attempts would need",
		Long: `Print policy.yaml with proposed additions for the attempts of the last days that were
denied, or would have been but for mode observe, and that the policy in force still does
not allow: services of the store's own, by class and domain, whose reasons are to be
filled in by somebody, and documented services of other classes, with a question mark
that somebody is to take away. What should not simply be allowed is listed at the top,
with why.

Nothing is put in force. A service without a reason is refused, and so is one with a
question mark, so a proposal does nothing until each has been read.`,
		Example: `  tillgate policy suggest --class pos
  tillgate policy suggest --out new/policy.yaml
  tillgate policy diff new`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			proposal, file, err := suggestPolicy(ctx, flags, p)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(p.stdout, describeProposal(proposal, file))
			}
			return writeProposal(p, proposal, file, out)
		},
	}
	flags.on(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.log.client, "client", "", "only this address or network")
	f.StringVar(&flags.log.class, "class", "", "only what was recorded of this class of devices")
	f.StringVar(&out, "out", "", "write the file here, and make its folder; there must be no such file yet")
	cmd.MarkFlagFilename("out", "yaml")
	jsonFlag(cmd, &asJSON)
	cmd.MarkFlagsMutuallyExclusive("out", "json")
	cmd.RegisterFlagCompletionFunc("class", completeClass(p))
	return cmd
}

func suggestPolicy(ctx context.Context, flags recordedFlags, p process) (*replay.Proposal, policy.File, error) {
	set, _, err := flags.inForce(ctx, p)
	if err != nil {
		return nil, policy.File{}, err
	}
	denials := replay.NewDenials(set, clock.System(time.Now, readBuild().Time).Trusted())
	if err := flags.each(ctx, p, denials.Add); err != nil {
		return nil, policy.File{}, err
	}
	proposal, err := denials.Propose()
	if err != nil {
		return nil, policy.File{}, failed(err)
	}
	file, err := proposal.File("")
	return proposal, file, failed(err)
}

// writeProposal prints the file, or writes it, and says what to do with it.
func writeProposal(p process, proposal *replay.Proposal, file policy.File, out string) error {
	say := func(format string, args ...any) { fmt.Fprintf(p.stderr, "tillgate: "+format+"\n", args...) }
	if proposal.Attempts == 0 {
		say("nothing that was denied in this time still is; there is nothing to propose")
		return nil
	}
	if len(proposal.Own)+len(proposal.Grants) > 0 || out == "" {
		if err := writeNew(p.stdout, out, file.Data); err != nil {
			return failed(err)
		}
	}
	left := proposal.Attempts - proposal.Allowed
	var todo []string
	if n := len(proposal.Own); n > 0 {
		todo = append(todo, "the reasons of "+plural(n, "service")+" filled in")
	}
	if n := len(proposal.Grants); n > 0 {
		todo = append(todo, plural(n, "question mark")+" taken away")
	}
	switch {
	case len(todo) == 0:
		say("no rule is proposed: why is at the top of the file")
		if out != "" {
			for _, line := range proposal.Told() {
				say("%s", printable(line))
			}
		}
	default:
		say("with %s, this would allow %d of %s that were denied", strings.Join(todo, " and "),
			proposal.Allowed, plural(proposal.Attempts, "attempt"))
	}
	if left > 0 {
		say("at its top: %s of other kinds, and why no rule is proposed", plural(left-proposal.Unlisted, "attempt"))
	}
	if proposal.Unlisted > 0 {
		say("left out: %s at the less asked of too many destinations; choose with --client or --class", plural(proposal.Unlisted, "attempt"))
	}
	if proposal.Unjudged > 0 {
		say("of %s too little is recorded to tell", plural(proposal.Unjudged, "attempt"))
	}
	if out == "" || len(proposal.Own)+len(proposal.Grants) == 0 {
		return nil
	}
	if own := ownPacks(proposal.Set()); len(own) > 0 {
		say("it needs packs/ of the configuration beside it: %v", own)
	}
	say("next: read %s, and fill in what is asked; tillgate policy diff %s says what it changes; copied over the policy.yaml of the box (tillgate status names its folder), it is in force", out, filepath.Dir(out))
	return nil
}

// ownPacks are the files of packs that did not come with the program.
func ownPacks(set *policy.Set) (names []string) {
	for _, f := range set.Files() {
		if f.Name != policy.FileName && !f.Embedded {
			names = append(names, f.Name)
		}
	}
	return names
}

// writeNew writes to a file that must not exist, or without a name to w.
func writeNew(w io.Writer, name string, data []byte) error {
	if name == "" {
		_, err := w.Write(data)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists, and is left as it is; remove it, or name another", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// proposed is a proposal, as JSON tells it.
type proposed struct {
	From     time.Time       `json:"from,omitzero"`
	To       time.Time       `json:"to,omitzero"`
	Policy   string          `json:"policy"`   // to which it would be added
	Attempts uint64          `json:"attempts"` // that were denied, and still would be
	Allowed  uint64          `json:"allowed"`  // of these by the proposal
	Unjudged uint64          `json:"unjudged"`
	Unlisted uint64          `json:"unlisted,omitempty"`
	Services []proposedOwn   `json:"services"`
	Grants   []proposedGrant `json:"grants"`
	Notes    []proposedNote  `json:"notes"`
	File     string          `json:"file"` // policy.yaml with all of it
}

type proposedOwn struct {
	ID     string         `json:"id"`
	Class  string         `json:"class"`
	Domain string         `json:"domain,omitempty"`
	Near   string         `json:"near,omitempty"` // the documented service that it is known to go with
	Hosts  []proposedHost `json:"hosts"`
}

type proposedGrant struct {
	Class   string         `json:"class"`
	Service string         `json:"service"`
	Hosts   []proposedHost `json:"hosts"`
}

type proposedHost struct {
	Host    string   `json:"host"`
	Ports   []string `json:"ports"`
	Guessed bool     `json:"guessed,omitempty"` // the port is
	tried
}

type proposedNote struct {
	sought
	tried
	Why string `json:"why"`
}

func describeProposal(p *replay.Proposal, file policy.File) proposed {
	d := proposed{From: p.From, To: p.To, Policy: p.Set().ID(), Attempts: p.Attempts, Allowed: p.Allowed, Unjudged: p.Unjudged,
		Unlisted: p.Unlisted, Services: []proposedOwn{}, Grants: []proposedGrant{}, Notes: []proposedNote{}, File: string(file.Data)}
	for _, o := range p.Own {
		own := proposedOwn{ID: o.ID, Class: o.Class, Domain: o.Domain, Hosts: describeHosts(o.Hosts)}
		if o.Known != nil {
			own.Near = o.Known.Near
		}
		d.Services = append(d.Services, own)
	}
	for _, g := range p.Grants {
		d.Grants = append(d.Grants, proposedGrant{g.Class, g.Service.ID, describeHosts(g.Hosts)})
	}
	for _, n := range p.Notes {
		d.Notes = append(d.Notes, proposedNote{describeTarget(n.Target), describeTraffic(n.Traffic), n.Why})
	}
	return d
}

func describeHosts(hosts []replay.Host) (list []proposedHost) {
	for _, h := range hosts {
		d := proposedHost{Host: h.Name, Guessed: h.Guessed, tried: describeTraffic(h.Traffic)}
		for _, port := range h.Ports {
			d.Ports = append(d.Ports, port.String())
		}
		list = append(list, d)
	}
	return list
}
