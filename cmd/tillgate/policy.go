package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tillgate/console"
	"tillgate/internal/strictyaml"
	"tillgate/policy"
	"tillgate/report"
)

func newPolicy(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "check files, show what is in force, try an edit",
		Args:  takes(0, 0),
		RunE:  helpOf,
	}
	cmd.AddCommand(newCheck(p), newShow(p), newDiff(p), newSuggest(p), newSchema(p))
	return cmd
}

// checked is what policy check found, as JSON tells it.
type checked struct {
	Folder   string    `json:"folder"`
	Good     bool      `json:"good"`
	Problems []problem `json:"problems"`
	Policy   string    `json:"policy,omitempty"` // id, when good
	Notes    []problem `json:"notes,omitempty"`  // what is good, but hardly meant
}

type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Text    string `json:"text,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func newCheck(p process) *cobra.Command {
	var (
		config string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "check [DIR]",
		Short: "try the files of a folder",
		Long: `Check tillgate.yaml, policy.yaml and packs/*.yaml in DIR, by default in
/etc/tillgate, and tell all that is wrong with them. Nothing is put in force. The
exit status is 1 when something is wrong.`,
		Args: takes(0, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(_ *cobra.Command, args []string) error {
			dir := systemPlaces(p.getenv).config
			if len(args) == 1 {
				if config != "" {
					return errors.New("DIR and --config are the same; give one of them")
				}
				config = args[0]
			}
			if config != "" {
				dir = config
				if err := isFolder(dir); err != nil {
					return err
				}
			}
			set, problems := checkFolder(dir)
			if asJSON {
				if err := writeJSON(p.stdout, describeCheck(dir, set, problems)); err != nil {
					return err
				}
			} else {
				writeCheck(p, dir, config != "", set, problems)
			}
			if len(problems) > 0 {
				return errSaid
			}
			return nil
		},
	}
	configFlag(cmd, &config, "the same as DIR")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// checkFolder returns the policy of a folder, or all that is wrong with its files.
func checkFolder(dir string) (*policy.Set, strictyaml.Problems) {
	_, problems := readSettings(dir)
	set, err := policy.Load(dir)
	var more strictyaml.Problems
	errors.As(err, &more)
	return set, append(problems, more...)
}

func describeCheck(dir string, set *policy.Set, problems strictyaml.Problems) checked {
	c := checked{Folder: dir, Good: len(problems) == 0, Problems: []problem{}}
	for _, q := range problems {
		c.Problems = append(c.Problems, problem{q.File, q.Line, q.Column, q.Text, q.Message, q.Hint})
	}
	if c.Good {
		c.Policy = set.ID()
		c.Notes = ended(set, time.Now())
	}
	return c
}

// ended returns the services whose until has passed, by this machine's clock.
func ended(set *policy.Set, now time.Time) (notes []problem) {
	for _, s := range set.Services() {
		if s.Ended(now) {
			notes = append(notes, problem{
				File:    s.Pos.File,
				Line:    s.Pos.Line,
				Text:    s.ID,
				Message: "ended " + s.Until.UTC().Format("2006-01-02 15:04") + " UTC and allows nothing any more",
				Hint:    "remove it, or give it another until",
			})
		}
	}
	return notes
}

// writeCheck says what policy check found; of a folder that was named also that it has no
// policy, which may be a slip of the pen.
func writeCheck(p process, dir string, named bool, set *policy.Set, problems strictyaml.Problems) {
	d := newDisplay(p.stdout, p.getenv)
	if len(problems) == 0 {
		hint := ""
		if _, err := os.Stat(filepath.Join(dir, "policy.yaml")); named && errors.Is(err, fs.ErrNotExist) {
			hint = "; no policy.yaml in " + dir + ": the embedded policy would serve"
		}
		fmt.Fprintf(p.stdout, "%s: policy %s of %s: %s, %s, %s%s\n", d.paint(green, "good"), set.ID(), ofFolder(dir, set),
			plural(len(set.Packs()), "pack"), classes(len(set.Classes())), plural(len(set.Rules()), "rule"), hint)
		for _, n := range ended(set, time.Now()) {
			fmt.Fprintf(p.stdout, "  note: %s:%d: %s %s; %s\n", n.File, n.Line, n.Text, n.Message, n.Hint)
		}
		return
	}
	fmt.Fprintf(p.stdout, "%s: %s in %s\n", d.paint(red, "bad"), plural(len(problems), "problem"), dir)
	for _, q := range problems {
		fmt.Fprintf(p.stdout, "  %s\n", q.Error())
	}
}

func classes(n int) string {
	if n == 1 {
		return "1 class"
	}
	return strconv.Itoa(n) + " classes"
}

func newShow(p process) *cobra.Command {
	var (
		flags  places
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "show",
		Short: "show the policy in force",
		Long: `Show who may reach what, and how often the rules were used in the last 90 days: the
policy in force in the running box, or where there is none that of the files.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			shown, err := showPolicy(cmd.Context(), flags, p)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(p.stdout, shown)
			}
			writePolicy(p, shown)
			return nil
		},
	}
	socketFlag(cmd, &flags.socket)
	configFlag(cmd, &flags.config, "show the files in this folder, not the running box's")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// shownPolicy is a policy and who told it.
type shownPolicy struct {
	By string `json:"by"`
	console.Policy
	Usage *report.Usage `json:"usage,omitempty"` // none: no box was asked
}

func showPolicy(ctx context.Context, flags places, p process) (shownPolicy, error) {
	if flags.config == "" {
		c, _, err := findBox(ctx, flags.socket, p)
		if err == nil {
			inForce, err := c.Policy(ctx)
			if err != nil {
				return shownPolicy{}, failed(err)
			}
			usage, err := c.Usage(ctx, time.Now().Add(-report.DefaultSince))
			return shownPolicy{"the box at " + c.Socket, inForce, &usage}, failed(err)
		}
		if !isNoBox(err) || flags.socket != "" {
			return shownPolicy{}, err
		}
	}
	set, by, err := loadPolicy(flags.config, p.getenv)
	if err != nil {
		return shownPolicy{}, err
	}
	return shownPolicy{By: by, Policy: console.DescribePolicy(set)}, nil
}

func writePolicy(p process, shown shownPolicy) {
	d := newDisplay(p.stdout, p.getenv)
	title := func(text string) { fmt.Fprintf(p.stdout, "\n%s\n", d.paint(bold, printable(text))) }
	fmt.Fprintf(p.stdout, "%s, mode %s, of %s\n", d.paint(bold, "policy "+shown.ID), shown.Mode, shown.By)
	for _, k := range shown.Packs {
		title("pack " + k.Name)
		d.facts(p.stdout, [2]string{"title", printable(k.Title)}, [2]string{"source", printable(k.Source)})
	}
	for _, c := range shown.Classes {
		title("class " + c.Name)
		facts := [][2]string{
			{"networks", strings.Join(c.Networks, ", ")},
			{"interfaces", printable(strings.Join(c.Interfaces, ", "))},
			{"services", strings.Join(c.Services, ", ")},
		}
		if c.Time {
			facts = append(facts, [2]string{"time", "by this box"})
		}
		if c.Mode != shown.Mode {
			facts = append(facts, [2]string{"mode", c.Mode})
		}
		d.facts(p.stdout, facts...)
	}
	for _, s := range shown.Services {
		title(serviceTitle(s))
		var facts [][2]string
		for _, m := range s.Destinations {
			facts = append(facts, [2]string{m.Host + m.Network, destinationWords(m) + shown.uses(s.ID, m)})
		}
		d.facts(p.stdout, facts...)
	}
	if len(shown.Deny) > 0 {
		title("denied to all")
		for _, m := range shown.Deny {
			d.facts(p.stdout, [2]string{m.Host, m.At})
		}
	}
}

// uses says how often the rule of a destination was used.
func (shown *shownPolicy) uses(service string, m console.Destination) string {
	if shown.Usage == nil {
		return ""
	}
	for _, u := range shown.Usage.Rules {
		if u.Service != service || u.Rule != m.At || u.Host != m.Host || u.Network != m.Network {
			continue
		}
		if u.Allowed == 0 {
			return "  never used"
		}
		return fmt.Sprintf("  %d allowed, last %s", u.Allowed, u.Last.Local().Format("2006-01-02 15:04"))
	}
	return ""
}

// serviceTitle is a service in one line.
func serviceTitle(s console.Service) string {
	text := s.ID
	if s.Row != 0 {
		text = "row " + strconv.Itoa(s.Row) + " " + text
	}
	for _, more := range []string{s.Title, s.Requirement, s.Reason} {
		if more != "" {
			text += ", " + more
		}
	}
	if !s.Until.IsZero() {
		text += ", until " + s.Until.Local().Format("2006-01-02 15:04")
	}
	return text
}

// destinationWords is what a destination allows, and where that is written.
func destinationWords(m console.Destination) string {
	words := m.Ports
	if m.Private {
		words = append(words, "private addresses too")
	}
	if m.SNIOptional {
		words = append(words, "also without SNI")
	}
	return strings.Join(words, " ") + "  " + m.At
}
