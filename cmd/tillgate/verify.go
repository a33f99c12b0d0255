package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"tillgate/decision"
)

// verified is what log verify found, as JSON tells it.
type verified struct {
	Folder   string   `json:"folder"`
	Good     bool     `json:"good"`
	Segments int      `json:"segments"`
	Seals    int      `json:"seals"`
	Records  int      `json:"records"`
	FirstSeq uint64   `json:"first_seq"`
	LastSeq  uint64   `json:"last_seq"`
	LastSeal string   `json:"last_seal,omitempty"`
	Breaks   int      `json:"breaks"`
	Broken   *broken  `json:"broken,omitempty"` // the first
	Notices  []string `json:"notices,omitempty"`
}

type broken struct {
	Segment  string `json:"segment"`
	Line     int    `json:"line"`
	FirstSeq uint64 `json:"first_seq,omitempty"`
	LastSeq  uint64 `json:"last_seq,omitempty"`
	What     string `json:"what"`
}

func newVerify(p process) *cobra.Command {
	var (
		flags  places
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "check the seals of the journal",
		Long: `Check that the journal is as it was written: every batch of records ends in a seal
over it and over the seal before. The exit status is 1 when one does not fit.

The last seal, noted elsewhere, proves later that the end was not cut off.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := verifyFolder(cmd.Context(), flags, p)
			if err != nil {
				return err
			}
			report, err := decision.Verify(dir)
			if err != nil {
				return failed(fmt.Errorf("verifying the journal: %w; read it as root or as a member of its group, or name another folder with --state", err))
			}
			v := describeReport(dir, report)
			if asJSON {
				err = writeJSON(p.stdout, v)
			} else {
				writeReport(p, v)
			}
			if err == nil && !v.Good {
				return errSaid
			}
			return err
		},
	}
	socketFlag(cmd, &flags.socket)
	stateFlag(cmd, &flags.state, "verify the journal in this folder, not the running box's")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// verifyFolder is the journal's folder: it is read from the disk, whoever runs.
func verifyFolder(ctx context.Context, flags places, p process) (string, error) {
	dir := flags.state
	if dir == "" {
		_, status, err := findBox(ctx, flags.socket, p)
		switch {
		case err == nil:
			dir = status.Folders.State
		case flags.socket != "" || !isNoBox(err):
			return "", err
		default:
			if dir, err = findState(p.getenv); err != nil {
				return "", err
			}
		}
	} else if err := isFolder(dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, journalDir), nil
}

func describeReport(dir string, r decision.Report) verified {
	v := verified{
		Folder:   dir,
		Good:     r.Broken == nil,
		Segments: r.Segments,
		Seals:    r.Seals,
		Records:  r.Records,
		FirstSeq: r.FirstSeq,
		LastSeq:  r.LastSeq,
		LastSeal: r.LastSeal,
		Breaks:   r.Breaks,
		Notices:  r.Notices,
	}
	if b := r.Broken; b != nil {
		v.Broken = &broken{b.Segment, b.Line, b.FirstSeq, b.LastSeq, b.What}
	}
	return v
}

func writeReport(p process, v verified) {
	d := newDisplay(p.stdout, p.getenv)
	if v.Good {
		fmt.Fprintf(p.stdout, "%s: every seal fits\n", d.paint(green, "good"))
	} else {
		fmt.Fprintf(p.stdout, "%s: the journal is not as it was written\n", d.paint(red, "broken"))
	}
	facts := [][2]string{{"folder", v.Folder}}
	add := func(label, format string, args ...any) {
		facts = append(facts, [2]string{label, printable(fmt.Sprintf(format, args...))})
	}
	if b := v.Broken; b != nil {
		add("first at", "%s line %d: %s", b.Segment, b.Line, b.What)
		if b.LastSeq != 0 {
			add("records", "%d to %d cannot be relied on", b.FirstSeq, b.LastSeq)
		}
		add("in all", "%s", plural(v.Breaks, "place"))
	}
	add("holds", "%s, %s, %s (seq %d to %d)", plural(v.Records, "record"), plural(v.Seals, "seal"), plural(v.Segments, "segment"), v.FirstSeq, v.LastSeq)
	if v.LastSeal != "" {
		add("last seal", "%s", v.LastSeal)
	}
	for _, n := range v.Notices {
		add("note", "%s", n)
	}
	d.facts(p.stdout, facts...)
}
