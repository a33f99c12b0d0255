package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tillgate/console"
	"tillgate/decision"
	"tillgate/policy"
)

// backlog is how many records a log that is followed begins with.
const backlog = 10

// logFlags are the filters as they are typed.
type logFlags struct {
	where        places
	follow       bool
	denied       bool
	client       string
	class        string
	name         string
	planes       []string
	since, until string
	last         int
	json         bool
}

func newLog(p process) *cobra.Command {
	var flags logFlags
	cmd := &cobra.Command{
		Use:   "log",
		Short: "show what was decided, and follow it",
		Long: `Show the records of the journal, oldest first. With -f go on with those to come.

A record is one decision; "12 more until 07:01:22" stands for others that were
equal. The running box is asked, and where there is none the files.

Times are how long ago (15m, 2h, 3d), dates (2026-11-22), or in the form of RFC
3339; dates are local, and begin at midnight.`,
		Example: `  tillgate log -f --denied
  tillgate log --since 2h --client 10.20.1.7
  tillgate log --since 2026-11-01 --until 2026-11-08 --name '*.payxpert.com' --json`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := flags.query(time.Now())
			if err != nil {
				return err
			}
			// An interrupt is how one stops to follow: no failure.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			err = flags.show(ctx, q, p)
			if ctx.Err() != nil {
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&flags.follow, "follow", "f", false, "go on with records as they come")
	f.BoolVar(&flags.denied, "denied", false, "only what was denied, or would be; without how that ended")
	f.StringVar(&flags.client, "client", "", "only this address or network")
	f.StringVar(&flags.class, "class", "", "only this class of devices")
	f.StringVar(&flags.name, "name", "", "only this name, or with *.NAME those below it")
	f.StringSliceVar(&flags.planes, "plane", nil, "only these planes: "+strings.Join(planeNames(), ", "))
	f.StringVar(&flags.since, "since", "", "from this time on")
	f.StringVar(&flags.until, "until", "", "before this time")
	f.IntVarP(&flags.last, "last", "n", 0, "only so many, the latest; with -f so many to begin with")
	jsonFlag(cmd, &flags.json)
	socketFlag(cmd, &flags.where.socket)
	stateFlag(cmd, &flags.where.state, "read the journal in this folder, not the running box's")
	cmd.RegisterFlagCompletionFunc("plane", cobra.FixedCompletions(planeNames(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("class", completeClass(p))
	cmd.AddCommand(newVerify(p))
	return cmd
}

func planeNames() []string {
	var names []string
	for plane := policy.DNS; plane <= policy.System; plane++ {
		names = append(names, plane.String())
	}
	return names
}

// completeClass offers the classes of the running box's policy.
func completeClass(p process) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if c, _, err := findBox(cmd.Context(), "", p); err == nil {
			if inForce, err := c.Policy(cmd.Context()); err == nil {
				for _, class := range inForce.Classes {
					names = append(names, class.Name)
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// query is what the flags ask for.
func (f *logFlags) query(now time.Time) (console.LogQuery, error) {
	q := console.LogQuery{Follow: f.follow, Last: cmp.Or(f.last, backlog)}
	q.Class, q.Name = f.class, console.ParseNameFilter(f.name)
	if f.denied {
		q.Verdicts = decision.Denied()
	}
	for _, name := range f.planes {
		plane, ok := policy.ParsePlane(name)
		if !ok {
			return q, oneOf("plane", name, planeNames())
		}
		q.Planes = append(q.Planes, plane)
	}
	var err error
	if f.client != "" {
		if q.Client, err = console.ParseClientFilter(f.client); err != nil {
			return q, fmt.Errorf("%w, as 10.20.1.7 or 10.20.1.0/24; for a class of devices write --class", err)
		}
	}
	if f.since != "" {
		if q.Since, err = parseMoment(f.since, now); err != nil {
			return q, err
		}
	}
	if f.until != "" {
		if q.Until, err = parseMoment(f.until, now); err != nil {
			return q, err
		}
	}
	switch {
	case f.last < 0 || f.last > maxLast:
		return q, fmt.Errorf("-n %d is not how many records; write 1 to %d", f.last, maxLast)
	case f.follow && f.last > 0 && f.since != "":
		return q, errors.New("-n and --since both say where -f begins; leave one out")
	case f.follow && f.until != "":
		return q, errors.New("-f and --until exclude each other: what is followed has no end")
	case f.follow && f.where.state != "":
		return q, errors.New("-f follows the running box; leave --state out, or -f")
	case f.since != "" && f.until != "" && !q.Since.Before(q.Until):
		return q, fmt.Errorf("nothing is between --since %s and --until %s; exchange them", f.since, f.until)
	}
	return q, nil
}

// show writes the log that was asked for.
func (f *logFlags) show(ctx context.Context, q console.LogQuery, p process) error {
	var read *meter
	if !f.follow {
		read = newMeter(p.stderr, time.Now)
	}
	if read != nil { // the box tells by lines, the files by a call
		q.Steps = true
		q.Progress = func(p decision.Progress) bool { read.told(p); return true }
	}
	source, where, err := f.source(ctx, p)
	if err != nil {
		return err
	}
	lines := source(q)
	if f.last > 0 && !f.follow {
		lines = latest(f.last, q, time.Now(), source)
	}
	defer read.end()
	out := newLogWriter(p.stdout, newDisplay(p.stdout, p.getenv), time.Local)
	found := false
	for line, err := range lines {
		if line.Progress != nil {
			read.told(*line.Progress)
			continue
		}
		read.hide()
		if f.denied && line.Record.Event == decision.EventClose {
			continue // how something ended that was let through by observe
		}
		found = true
		switch {
		case err != nil:
			return failed(err)
		case line.Damage != nil:
			fmt.Fprintln(p.stderr, "tillgate:", printable(line.Damage.Error()))
		case f.json:
			_, err = fmt.Fprintf(p.stdout, "%s\n", line.JSON)
		default:
			err = out.write(&line.Record)
		}
		if err != nil {
			return failed(err)
		}
	}
	if !found && !f.follow && ctx.Err() == nil {
		read.hide()
		fmt.Fprintln(p.stderr, "tillgate: nothing that was asked for is in", where)
	}
	if f.follow && ctx.Err() == nil {
		return failed(errors.New("the box has stopped, and with it the log; tillgate status tells when it is back"))
	}
	return nil
}

// A logSource reads a log.
type logSource func(console.LogQuery) iter.Seq2[console.LogLine, error]

// source is the running box, or where there is none the files; where is the folder.
func (f *logFlags) source(ctx context.Context, p process) (_ logSource, where string, _ error) {
	dir := f.where.state
	if dir == "" {
		c, status, err := findBox(ctx, f.where.socket, p)
		if err == nil {
			where = filepath.Join(status.Folders.State, journalDir)
			return func(q console.LogQuery) iter.Seq2[console.LogLine, error] { return c.Log(ctx, q) }, where, f.knowClass(ctx, c, status)
		}
		if !isNoBox(err) || f.where.socket != "" || f.follow {
			return nil, "", err
		}
		if dir, err = findState(p.getenv); err != nil {
			return nil, "", err
		}
		fmt.Fprintf(p.stderr, "tillgate: no box is running; this is the journal in %s\n", dir)
	} else if err := isFolder(dir); err != nil {
		return nil, "", err
	}
	dir = filepath.Join(dir, journalDir)
	return func(q console.LogQuery) iter.Seq2[console.LogLine, error] { return readJournal(ctx, dir, q.Query) }, dir, nil
}

// knowClass refuses a class that the policy in force does not have: it is a slip, or one
// of an earlier policy, whose records the files tell.
func (f *logFlags) knowClass(ctx context.Context, c *console.Client, s console.Status) error {
	if f.class == "" {
		return nil
	}
	inForce, err := c.Policy(ctx)
	if err != nil {
		return nil // the log itself is what was asked for
	}
	var names []string
	for _, class := range inForce.Classes {
		if class.Name == f.class {
			return nil
		}
		names = append(names, class.Name)
	}
	return fmt.Errorf("%w (of an earlier policy: --state %s)", oneOf("class", f.class, names), s.Folders.State)
}

// findState returns the first state whose journal has segments, or without one the first
// that has a journal: a run that failed early leaves an empty one.
func findState(getenv func(string) string) (string, error) {
	tried, empty := states(getenv), ""
	for _, dir := range tried {
		entries, err := os.ReadDir(filepath.Join(dir, journalDir))
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil || len(entries) > 0:
			return dir, nil // one that this user may not look into is told by who reads it
		case empty == "":
			empty = dir
		}
	}
	if empty != "" {
		return empty, nil
	}
	return "", failed(noJournalError{tried})
}

// noJournalError is a journal that is not where it was looked for.
type noJournalError struct{ tried []string }

func (e noJournalError) Error() string {
	return "no box is running, and there is no journal in " + strings.Join(e.tried, " or ") +
		"; start it with systemctl start tillgate or tillgate run --loopback, or name the folder with --state"
}

func isNoJournal(err error) bool {
	var e noJournalError
	return errors.As(err, &e)
}

// readJournal reads the files as the box would.
func readJournal(ctx context.Context, dir string, q decision.Query) iter.Seq2[console.LogLine, error] {
	return func(yield func(console.LogLine, error) bool) {
		read := func(q decision.Query) iter.Seq2[decision.Record, error] { return decision.Read(dir, q) }
		for r, err := range console.Select(ctx, read, q) {
			var damage *decision.Damage
			switch {
			case errors.As(err, &damage):
				if !yield(console.LogLine{Damage: damage}, nil) {
					return
				}
			case err != nil:
				yield(console.LogLine{}, fmt.Errorf("%w; read it as root or as a member of its group, or name another folder with --state", err))
				return
			case !yield(console.LogLine{JSON: r.AppendJSON(nil), Record: r}, nil):
				return
			}
		}
	}
}
