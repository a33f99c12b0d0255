// Package bench measures tillgate beside other programs that do the same work:
// one processor for the server, another for the load and for what is upstream,
// all in a network namespace of its own. Rounds go through all servers in turn,
// so that what is compared was measured within seconds of each other.
//
// [Prepare] builds what is needed while there is a network, [Run] measures
// within the namespace, and [Report.WriteTo] makes a page of Markdown of it.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Options are what may be asked for.
type Options struct {
	Dir    string        // a folder that Prepare has filled
	Rows   []string      // names of rows; none: all of them
	Rounds int           // of each row, at least 1; below 6 there is no 95 % bound
	Time   time.Duration // that one server is loaded in a round
	Hour   time.Duration // that row hour takes, in whole minutes; 0 leaves it out
	Log    io.Writer     // what is going on
}

// wants reports whether a row is asked for.
func (o Options) wants(row string) bool {
	return (len(o.Rows) == 0 || has(o.Rows, row)) && (row != hourRow || o.Hour > 0)
}

// Run measures. It expects to be root in a network and a mount namespace of its
// own, as command bench makes them. A row that fails does not stop the others: with
// an error there may be a report of the rest.
func Run(ctx context.Context, o Options) (*Report, error) {
	chosen, err := choose(o.Rows)
	if err != nil {
		return nil, err
	}
	lab, err := newLab(ctx, o)
	if err != nil {
		return nil, err
	}
	defer lab.close()
	report := newReport(o)
	var failed []error
	for _, r := range chosen {
		fmt.Fprintln(o.Log, r.name)
		result, err := lab.measure(ctx, r)
		if err != nil {
			fmt.Fprintln(o.Log, "  failed:", err)
			failed = append(failed, fmt.Errorf("row %s: %w", r.name, err))
			continue
		}
		report.rows = append(report.rows, result)
	}
	report.others, err = lab.others(ctx)
	failed = append(failed, err)
	report.scale, err = lab.curves(ctx)
	failed = append(failed, err)
	report.missing = lab.missing()
	return report, errors.Join(failed...)
}

// choose returns the rows of these names, or all.
func choose(names []string) (chosen []row, err error) {
	known := map[string]bool{memoryRow: true, startRow: true}
	for _, c := range curves {
		known[c.name] = true
	}
	for _, r := range rows {
		known[r.name] = true
		if len(names) == 0 || has(names, r.name) {
			chosen = append(chosen, r)
		}
	}
	for _, n := range names {
		if !known[n] {
			return nil, fmt.Errorf("no row %q; there are %s", n, list(known))
		}
	}
	return chosen, nil
}
