package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tillgate/decision"
	"tillgate/policy"
)

// recordedFlags choose recorded attempts, and the policy that is in force.
type recordedFlags struct {
	log    logFlags // since, client, class, socket and state alone
	config string
}

// defaultSince is how far back attempts are looked at: a week has each day of the store's.
const defaultSince = "7d"

func (f *recordedFlags) on(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.log.since, "since", defaultSince, "the attempts from this time on (2h, 3d, a date)")
	socketFlag(cmd, &f.log.where.socket)
	stateFlag(cmd, &f.log.where.state, "read the journal in this folder, not the running box's")
	configFlag(cmd, &f.config, "take the files in this folder for the policy in force")
}

// inForce returns the policy of the running box, or where there is none that of the files.
// What is observed for a while is not in it.
func (f *recordedFlags) inForce(ctx context.Context, p process) (set *policy.Set, by string, err error) {
	if f.config == "" {
		c, _, err := findBox(ctx, f.log.where.socket, p)
		if err == nil {
			set, err := c.PolicySet(ctx)
			return set, "the box at " + c.Socket, failed(err)
		}
		if !isNoBox(err) || f.log.where.socket != "" {
			return nil, "", err
		}
	}
	return loadPolicy(f.config, p.getenv)
}

// each gives every record that is chosen to take, oldest first, with the name by which its
// client knows the destination. On a terminal it tells how far it is.
func (f *recordedFlags) each(ctx context.Context, p process, take func(r *decision.Record, known string)) error {
	q, err := f.log.query(time.Now())
	if err != nil {
		return err
	}
	read, _, err := f.log.source(ctx, p)
	if err != nil {
		return err
	}
	progress := newProgress(p.stderr)
	defer progress.end()
	story := newStory()
	for line, err := range read(q) {
		switch {
		case err != nil:
			progress.end()
			return failed(err)
		case line.Damage != nil:
			progress.end()
			fmt.Fprintln(p.stderr, "tillgate:", printable(line.Damage.Error()))
			continue
		}
		progress.reached(line.Record.Time)
		take(&line.Record, story.nameOf(&line.Record))
		story.hear(&line.Record)
	}
	return nil
}

// A progress tells on a terminal how far the reading of a journal is.
type progress struct {
	w       io.Writer // nil: not on a terminal
	records int
	told    time.Time
	begun   bool // something stands on the line
}

// tellEach is how often.
const tellEach = 200 * time.Millisecond

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return &progress{}
	}
	return &progress{w: w, told: time.Now()}
}

func (p *progress) reached(at time.Time) {
	if p.records++; p.w == nil || p.records%512 != 0 || time.Since(p.told) < tellEach {
		return
	}
	p.told, p.begun = time.Now(), true
	fmt.Fprintf(p.w, "\rreading the journal: %s, %d records", at.Local().Format("2006-01-02 15:04"), p.records)
}

// end clears the line.
func (p *progress) end() {
	if p.begun {
		p.begun = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
