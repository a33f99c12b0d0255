package main

import (
	"context"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"tillgate/internal/clock"
	"tillgate/policy"
	"tillgate/replay"
)

func newDiff(p process) *cobra.Command {
	var (
		flags  recordedFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "diff DIR",
		Short: "say what an edit would change, tried on what was recorded",
		Long: `Compare the files in DIR with the policy in force, rule by rule, and try both on the
attempts of the last days: which of them would get another verdict if they were made
again now. What stops comes first. Nothing is put in force.

The policy in force and the journal are those of the running box, and where there is
none those of the files. What a class is let through for a while by tillgate observe
does not count.

Limits, broken protocols and untrusted time are judged the same by every policy.`,
		Example: `  cp -r /etc/tillgate new && $EDITOR new/policy.yaml
  tillgate policy diff new`,
		Args: takes(1, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			d, err := diffPolicy(ctx, args[0], flags, p)
			switch {
			case err != nil:
				return err
			case asJSON:
				return writeJSON(p.stdout, d)
			}
			writeDiff(p, d)
			return nil
		},
	}
	flags.on(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// policyDiff is what policy diff found, as JSON tells it.
type policyDiff struct {
	Old         namedPolicy  `json:"old"`
	New         namedPolicy  `json:"new"`
	Differences []difference `json:"differences"`
	Replay      *replayed    `json:"replay,omitempty"` // none: there is no journal
	noJournal   error
}

type namedPolicy struct {
	ID string `json:"id"`
	Of string `json:"of"`
}

type difference struct {
	Change  string   `json:"change"` // added, removed or changed
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Service string   `json:"service,omitempty"`
	Was     string   `json:"was_at,omitempty"` // file:line
	At      string   `json:"at,omitempty"`
	NoMore  []string `json:"no_more,omitempty"`
	Now     []string `json:"now,omitempty"`
}

type replayed struct {
	From     time.Time     `json:"from,omitzero"`
	To       time.Time     `json:"to,omitzero"`
	Attempts uint64        `json:"attempts"`
	Unjudged uint64        `json:"unjudged"` // too little is recorded of them
	Changed  []changeCount `json:"changed"`
	Groups   []changed     `json:"groups"`
}

// changeCount is how many attempts change so.
type changeCount struct {
	Change   string `json:"change"` // stops, passes or noted
	Attempts uint64 `json:"attempts"`
	Unlisted uint64 `json:"unlisted,omitempty"` // of these, in no group
}

// changed are attempts of one kind that would get another verdict.
type changed struct {
	Change string `json:"change"`
	sought
	Was judged `json:"was"`
	Is  judged `json:"is"`
	tried
}

type sought struct {
	Class string `json:"class,omitempty"`
	Plane string `json:"plane"`
	Name  string `json:"name,omitempty"`
	Dest  string `json:"dest,omitempty"`
	Port  uint16 `json:"port,omitempty"`
	Proto string `json:"proto,omitempty"`
}

type judged struct {
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	Rule    string `json:"rule,omitempty"`
	Service string `json:"service,omitempty"`
	Class   string `json:"class,omitempty"`
	text    string // the reason in words
}

type tried struct {
	Attempts    uint64       `json:"attempts"`
	Clients     []netip.Addr `json:"clients"`
	MoreClients bool         `json:"more_clients,omitempty"`
	First       time.Time    `json:"first"`
	Last        time.Time    `json:"last"`
}

func diffPolicy(ctx context.Context, dir string, flags recordedFlags, p process) (policyDiff, error) {
	if err := isFolder(dir); err != nil {
		return policyDiff{}, err
	}
	edited, err := policy.Load(dir)
	if err != nil {
		return policyDiff{}, configurationError{dir, err, "Nothing was compared. Correct the files; tillgate policy check tries them."}
	}
	inForce, by, err := flags.inForce(ctx, p)
	if err != nil {
		return policyDiff{}, err
	}
	d := policyDiff{
		Old:         namedPolicy{inForce.ID(), by},
		New:         namedPolicy{edited.ID(), ofFolder(dir, edited)},
		Differences: []difference{},
	}
	for _, e := range policy.Compare(inForce, edited) {
		d.Differences = append(d.Differences, describeDifference(e))
	}
	r := replay.NewDiff(inForce, edited, clock.System(time.Now, readBuild().Time).Trusted())
	if err := flags.each(ctx, p, r.Add); err != nil {
		if !isNoJournal(err) {
			return policyDiff{}, err
		}
		d.noJournal = err // what differs is worth telling all the same
		return d, nil
	}
	d.Replay = describeReplay(r)
	return d, nil
}

func describeDifference(e policy.Difference) difference {
	d := difference{"changed", e.Kind, e.Name, e.Service, placeOf(e.Old), placeOf(e.New), e.NoMore, e.Now}
	switch {
	case e.Added():
		d.Change = "added"
	case e.Removed():
		d.Change = "removed"
	}
	return d
}

// placeOf is file:line, or the file alone where no line is known.
func placeOf(pos policy.Pos) string {
	if pos.Line == 0 {
		return pos.File
	}
	return pos.String()
}

func describeReplay(r *replay.Diff) *replayed {
	d := &replayed{From: r.From, To: r.To, Attempts: r.Attempts, Unjudged: r.Unjudged, Groups: []changed{}}
	for _, c := range replay.Changes() {
		d.Changed = append(d.Changed, changeCount{c.String(), r.Changed[c], r.Unlisted[c]})
	}
	for _, g := range r.Groups() {
		d.Groups = append(d.Groups, changed{g.Change.String(), describeTarget(g.Target), describeJudged(g.Was), describeJudged(g.Is), describeTraffic(g.Traffic)})
	}
	return d
}

func describeTarget(t replay.Target) sought {
	d := sought{Class: t.Class, Plane: t.Plane.String(), Name: t.Name, Port: t.Port, Proto: t.Proto.String()}
	if t.Dest.IsValid() {
		d.Dest = t.Dest.String()
	}
	return d
}

func describeJudged(d policy.Decision) judged {
	j := judged{Verdict: d.Verdict.String(), Reason: d.Reason.String(), text: d.Reason.Text()}
	if d.Class != nil {
		j.Class = d.Class.Name
	}
	if d.Rule != nil {
		j.Rule = d.Rule.Pos.String()
		if d.Rule.Service != nil {
			j.Service = d.Rule.Service.ID
		}
	}
	return j
}

func describeTraffic(t replay.Traffic) tried {
	return tried{t.Attempts, t.Clients, t.MoreClients, t.First, t.Last}
}
