package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tillgate/decision"
	"tillgate/report"
)

// reportFlags are what a report is asked for with.
type reportFlags struct {
	where  places
	since  string
	html   string
	csv    string
	verify bool
	json   bool
}

func newReport(p process) *cobra.Command {
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "report",
		Short: "tell an auditor what the rules did",
		Long: `Tell for an auditor: rules with their reason, hits and last use; rules never used;
denials by class and destination; changes of the policy; outages and gaps; what went to
the document's resolver, behind which the box does not see; and whether the journal is
as it was written. Beside each part stand the requirements of PCI DSS that it gives
evidence for.

The report is made of the sums that the journal's segments carry. That these are true is
checked for the newest segments alone, and for all with --verify, which takes a minute
for each few hundred of them. The exit status is 1 when the journal is broken.

The running box is asked, and where there is none the files.`,
		Example: `  tillgate report --since 180d --html report.html
  tillgate report --csv report/ --verify`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.csv != "" {
				if err := isNewFolder(flags.csv); err != nil { // which may take minutes to fill
					return err
				}
			}
			rep, err := flags.make(cmd.Context(), p)
			switch {
			case err != nil:
				return err
			case rep.Since.After(rep.Made):
				return fmt.Errorf("--since %s is yet to come, as it is %s; name a time that has passed, as 90d",
					flags.since, rep.Made.Local().Format("2006-01-02 15:04"))
			}
			if err := flags.write(&rep, p); err != nil {
				return err
			}
			if !rep.Journal.Good() {
				return errSaid
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.since, "since", "90d", "from this time on")
	f.StringVar(&flags.html, "html", "", "write a page to this file")
	f.StringVar(&flags.csv, "csv", "", "write a table for each part into this folder, a new or an empty one")
	f.BoolVar(&flags.verify, "verify", false, "check every record of the journal")
	cmd.MarkFlagFilename("html", "html")
	cmd.MarkFlagDirname("csv")
	jsonFlag(cmd, &flags.json)
	socketFlag(cmd, &flags.where.socket)
	configFlag(cmd, &flags.where.config, "report on the policy in this folder where no box runs")
	stateFlag(cmd, &flags.where.state, "report on the journal in this folder, not the running box's")
	return cmd
}

// make asks the running box for a report, or makes it of the files.
func (f *reportFlags) make(ctx context.Context, p process) (rep report.Report, err error) {
	since, err := parseMoment(f.since, time.Now())
	if err != nil {
		return rep, err
	}
	dir := f.where.state
	if dir == "" && f.where.config == "" {
		c, status, err := findBox(ctx, f.where.socket, p)
		if err == nil {
			if rep, err = c.Report(ctx, since); err != nil {
				return rep, failed(err)
			}
			return rep, f.check(&rep, filepath.Join(status.Folders.State, journalDir))
		}
		if !isNoBox(err) || f.where.socket != "" {
			return rep, err
		}
	}
	if dir == "" {
		if dir, err = findState(p.getenv); err != nil {
			return rep, err
		}
	} else if err := isFolder(dir); err != nil {
		return rep, err
	}
	if rep, err = f.ofFiles(ctx, filepath.Join(dir, journalDir), since, p); err != nil {
		return rep, err
	}
	return rep, f.check(&rep, filepath.Join(dir, journalDir))
}

// ofFiles makes a report without a box.
func (f *reportFlags) ofFiles(ctx context.Context, dir string, since time.Time, p process) (report.Report, error) {
	set, origin, err := loadPolicy(f.where.config, p.getenv)
	if err != nil {
		return report.Report{}, err
	}
	oldest, err := decision.Oldest(dir)
	if err != nil {
		return report.Report{}, unreadable(err)
	}
	rep, err := report.Make(ctx, report.Source{
		Set:    set,
		Origin: origin,
		Now:    time.Now(),
		Since:  since,
		Oldest: oldest,
		Digests: func(since, until time.Time) iter.Seq2[decision.Digest, error] {
			return decision.Digests(dir, since, until)
		},
		Verify: func(newest int) (decision.Report, error) { return decision.VerifyNewest(dir, newest) },
	})
	if err != nil {
		return rep, unreadable(err)
	}
	return rep, nil
}

// check has all records checked, where that is asked for.
func (f *reportFlags) check(rep *report.Report, dir string) error {
	if !f.verify {
		return nil
	}
	err := rep.Journal.Check(func(newest int) (decision.Report, error) { return decision.VerifyNewest(dir, newest) }, 0)
	if err != nil {
		return unreadable(err)
	}
	return nil
}

func unreadable(err error) error {
	return failed(fmt.Errorf("%w; read it as root or as a member of its group, or name another folder with --state", err))
}

// write gives the report in the forms that were asked for, and says which files it wrote.
func (f *reportFlags) write(rep *report.Report, p process) error {
	told := p.stdout
	if f.json {
		told = p.stderr
	}
	if f.html != "" {
		var page bytes.Buffer
		if err := rep.HTML(&page); err != nil {
			return failed(err)
		}
		if err := os.WriteFile(f.html, page.Bytes(), 0o640); err != nil {
			return failed(fmt.Errorf("%w; name another file", err))
		}
		fmt.Fprintln(told, "written:", f.html)
	}
	if f.csv != "" {
		parts := rep.Parts()
		if err := writeTables(f.csv, parts); err != nil {
			return failed(fmt.Errorf("%w; name another folder", err))
		}
		fmt.Fprintf(told, "written: %s with %s, one for each part\n", f.csv, plural(len(parts), "table"))
	}
	switch {
	case f.json:
		return writeJSON(p.stdout, rep)
	case f.html == "" && f.csv == "":
		writeParts(p, rep)
	case rep.Journal.Good():
		fmt.Fprintln(p.stdout, "nothing of the journal that was looked at is broken")
	default:
		fmt.Fprintf(p.stderr, "tillgate: the journal is broken: %s\n", printable(strings.Join(append(rep.Journal.Unlinked, rep.Journal.Broken...), "; ")))
	}
	return nil
}

// isNewFolder wants a folder for tables that is not there yet, or is empty: tables of two
// reports beside each other are evidence of neither.
func isNewFolder(dir string) error {
	switch entries, err := os.ReadDir(dir); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w; name another folder", err)
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty; name a folder that is, or that is yet to be made", dir)
	}
	return nil
}

// writeTables writes a file for each part.
func writeTables(dir string, parts []report.Part) error {
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for i := range parts {
		if err := os.WriteFile(filepath.Join(dir, parts[i].ID+".csv"), parts[i].CSV(), 0o640); err != nil {
			return err
		}
	}
	return nil
}

const (
	// shownRows is how many rows of a part a terminal is shown.
	shownRows = 12
	// reportWidth is for reading, also of a file: these lines are sentences, and nothing
	// that programs take apart.
	reportWidth = 100
)

func writeParts(p process, rep *report.Report) {
	d := newDisplay(p.stdout, p.getenv)
	if d.width == 0 || d.width > reportWidth {
		d.width = reportWidth
	}
	for i, part := range rep.Parts() {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		colour := bold
		if part.Bad {
			colour = red
		}
		fmt.Fprintf(p.stdout, "%s  %s\n", d.paint(colour, part.Title), d.paint(faint, "PCI DSS "+part.PCI))
		for _, text := range part.Text {
			d.hang(p.stdout, "  ", 2, printable(text))
		}
		if len(part.Rows) == 0 {
			d.hang(p.stdout, "  ", 2, part.Empty)
		}
		for n, row := range part.Rows {
			if n == shownRows && len(part.Rows) > shownRows+1 {
				fmt.Fprintf(p.stdout, "  ... %d more: --html or --csv has them\n", len(part.Rows)-n)
				break
			}
			d.hang(p.stdout, "  - ", 4, rowWords(&part, row))
		}
	}
}

// rowWords is a row in a line: cells that say nothing are left out, and so are the names of
// columns where the first cell is one itself.
func rowWords(part *report.Part, row []string) string {
	if len(row) == 2 {
		return printable(row[0]) + ": " + printable(row[1])
	}
	var words []string
	for i, cell := range row {
		if cell != "" {
			words = append(words, strings.ToLower(part.Columns[i])+" "+printable(cell))
		}
	}
	return strings.Join(words, ", ")
}
