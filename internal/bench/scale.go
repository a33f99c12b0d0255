package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A curve is a row without peers: what tillgate's work costs by how much there is
// of something, or with time.
type curve struct {
	name    string
	measure func(*lab, context.Context) (table, error)
}

var curves = []curve{
	{"rules", (*lab).byRules},
	{"clients", (*lab).byClients},
	{"tunnels", (*lab).byTunnels},
	{emulatedRow, (*lab).emulated},
	{hourRow, (*lab).hour},
}

// scaleRounds bounds the rounds of a point of a curve: its neighbours tell as much.
const scaleRounds = 5

// A table is a curve, measured.
type table struct {
	title string
	head  []string
	lines [][]string
	notes string // for people
}

func (t table) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n| %s |\n|%s\n", t.title, strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, l := range t.lines {
		fmt.Fprintf(b, "| %s |\n", strings.Join(l, " | "))
	}
	fmt.Fprintf(b, "\n%s\n", t.notes)
}

// curves measures those that are asked for. One that fails does not stop the others.
func (l *lab) curves(ctx context.Context) (all []table, err error) {
	var failed []error
	for _, c := range curves {
		if !l.wants(c.name) {
			continue
		}
		fmt.Fprintln(l.Log, c.name)
		t, err := c.measure(l, ctx)
		if err != nil {
			fmt.Fprintln(l.Log, "  failed:", err)
			failed = append(failed, fmt.Errorf("row %s: %w", c.name, err))
			continue
		}
		all = append(all, t)
	}
	return all, errors.Join(failed...)
}

// scaled starts tillgate with an empty state and what is in a folder of its own
// below the lab's. Only the DNS is waited for: the time takes seconds to be known.
// The edits are made to its command.
func (l *lab) scaled(ctx context.Context, folder string, edits ...string) (*process, error) {
	if err := l.fresh(); err != nil {
		return nil, err
	}
	s := find(own)
	ports := s.ports
	s.ports = one(planeDNS, ports[planeDNS])
	s.command = strings.NewReplacer(append(edits, "@DIR@/etc", "@DIR@/"+folder)...).Replace(s.command)
	p, err := l.start(ctx, s, serverCPU)
	if err == nil {
		p.ports = ports
	}
	return p, err
}

// configure makes a folder with the configuration that all rows have, of which
// the settings may be other.
func (l *lab) configure(folder string, edits ...string) error {
	dir := filepath.Join(l.Dir, folder)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	for _, name := range []string{"tillgate.yaml", "policy.yaml"} {
		text, err := os.ReadFile(filepath.Join(l.Dir, "etc", name))
		if err != nil {
			return err
		}
		edited := strings.NewReplacer(edits...).Replace(string(text))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(edited), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A cost is what one operation takes at one point of a curve.
type cost struct{ rate, cpu estimate }

// cost loads tillgate with a row's work.
func (l *lab) cost(ctx context.Context, r row, p *process) (c cost, err error) {
	if err := l.warm(ctx, r, p); err != nil {
		return c, err
	}
	var rates, cpus []float64
	for range min(l.Rounds, scaleRounds) {
		s, err := l.quiet(ctx, r, p)
		if err != nil {
			return c, err
		}
		rates, cpus = append(rates, s.rate), append(cpus, s.cpu)
	}
	return cost{medianOf(rates), medianOf(cpus)}, nil
}

func (c cost) String() string { return fmt.Sprintf("%.3g µs, %s/s", c.cpu.mid, amount(c.rate.mid)) }

// count writes a number of things as people do.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

// settle is how long memory is given to be what it will be.
const settle = 2 * time.Second
