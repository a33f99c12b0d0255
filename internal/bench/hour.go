package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSlope is what memory may grow in an hour, of itself, and be called flat.
const maxSlope = 0.05

// leastMinutes is of how many minutes the slope says something.
const leastMinutes = 20

// A minute is what there is of tillgate at the end of one.
type minute struct{ memory, descriptors, goroutines, tunnels, answers, journal float64 }

// hour measures whether anything grows with time. Each minute the policy is
// changed while all terminals have a burst.
func (l *lab) hour(ctx context.Context) (t table, err error) {
	p, s, closeShop, err := l.openShop(ctx, "@DIR@/tillgate")
	if err != nil {
		return t, err
	}
	defer closeShop()
	var minutes []minute
	after := 0
	for n := 1; n <= int(l.Hour/time.Minute); n++ {
		if err := pause(ctx, restOfMinute); err != nil {
			return t, err
		}
		before := s.errors()
		s.burst()
		m, err := l.reload(ctx, n)
		if err != nil {
			return t, fmt.Errorf("minute %d: %w", n, err)
		}
		after += s.errors() - before
		minutes = append(minutes, minute{p.rss() / 1000, p.descriptors(), m.values["tillgate_goroutines"],
			m.values["tillgate_proxy_tunnels"], m.values["tillgate_dns_cache_entries"], l.journal() / 1e6})
		fmt.Fprintf(l.Log, "  %d: %+v, %d errors\n", n, minutes[n-1], s.errors())
	}
	return hourTable(minutes, s, after), nil
}

// openShop starts tillgate, which may be another program, and lets a shop's terminals
// work until it is closed.
func (l *lab) openShop(ctx context.Context, program string) (p *process, s *shop, closeShop func(), err error) {
	// The shop's one-time names fill the cache's 10,000 places in a bit less than two hours,
	// at 1 KB each; these are full after a few minutes.
	if err := l.configure(shopFolder, "dns: {", "cache: {entries: 500}\ndns: {"); err != nil {
		return nil, nil, nil, err
	}
	names, err := firstWords(filepath.Join(l.Dir, "conf/names.txt"))
	if err != nil {
		return nil, nil, nil, err
	}
	if p, err = l.scaled(ctx, shopFolder, "@DIR@/tillgate run", program+" run"); err != nil {
		return nil, nil, nil, err
	}
	if err := p.ready(ctx, planeNTP, p.ports[planeNTP]); err != nil {
		p.stop()
		return nil, nil, nil, fmt.Errorf("the time is not served: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	s = newShop(p.ports, names)
	s.open(ctx)
	return p, s, func() {
		stop()
		s.working.Wait()
		p.stop()
	}, nil
}

const shopFolder = "shop"

// reloadTime is how long a change of the policy, and a burst, are given to be over.
const (
	reloadTime   = 30 * time.Second
	restOfMinute = time.Minute - reloadTime
)

// reload changes the policy, and returns what tillgate says of itself when all of
// that must be over.
func (l *lab) reload(ctx context.Context, n int) (m metrics, err error) {
	before, err := scrape(ctx)
	if err != nil {
		return m, err
	}
	if err := l.change(n); err != nil {
		return m, err
	}
	if err := pause(ctx, reloadTime); err != nil {
		return m, err
	}
	if m, err = scrape(ctx); err == nil && m.policy == before.policy {
		err = errors.New("the policy that was changed is not in force")
	}
	return m, err
}

// change makes the policy another one, as an editor does that replaces the file.
func (l *lab) change(n int) error {
	text, err := os.ReadFile(filepath.Join(l.Dir, "etc/policy.yaml"))
	if err != nil {
		return err
	}
	to := filepath.Join(l.Dir, shopFolder, "policy.yaml")
	changed := strings.Replace(string(text), "destinations:\n",
		fmt.Sprintf("destinations:\n      - {host: minute%d.miss.org, ports: [tcp/443]}\n", n), 1)
	if err := os.WriteFile(to+".new", []byte(changed), 0o644); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// metrics are those of tillgate.
type metrics struct {
	values map[string]float64 // of those without labels
	policy string             // the line of that in force
}

func scrape(ctx context.Context) (m metrics, err error) {
	const at = "http://127.0.0.1:5504/metrics" // conf/tillgate.yaml
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return m, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return m, err
	}
	defer answer.Body.Close()
	m.values = make(map[string]float64)
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "tillgate_policy_info{") {
			m.policy = lines.Text()
		} else if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			m.values[name], _ = strconv.ParseFloat(value, 64) // a comment is no number
		}
	}
	return m, lines.Err()
}

func hourTable(minutes []minute, s *shop, after int) table {
	t := table{
		title: fmt.Sprintf("%d minutes of a shop", len(minutes)),
		head:  []string{"", "after the first minute", "at the end", "most", "grew by, an hour"},
	}
	add := func(what, unit string, of func(minute) float64) (grew float64) {
		var v []float64
		for _, m := range minutes {
			v = append(v, of(m))
		}
		slope := math.NaN()
		if half := v[len(v)/2:]; len(half) > 1 {
			slope = slopeOf(half) * 60
			grew = slope / medianOf(half).mid
		}
		t.lines = append(t.lines, []string{what, fmt.Sprintf("%.4g%s", v[0], unit), fmt.Sprintf("%.4g%s", v[len(v)-1], unit),
			fmt.Sprintf("%.4g%s", slices.Max(v), unit), fmt.Sprintf("%+.3g%s", slope, unit)})
		return grew
	}
	memory := add("memory", " MB", func(m minute) float64 { return m.memory })
	add("descriptors", "", func(m minute) float64 { return m.descriptors })
	add("goroutines", "", func(m minute) float64 { return m.goroutines })
	add("tunnels", "", func(m minute) float64 { return m.tunnels })
	add("answers in the cache", "", func(m minute) float64 { return m.answers })
	add("journal", " MB", func(m minute) float64 { return m.journal })

	flat := "memory is flat"
	switch {
	case len(minutes) < leastMinutes:
		flat = "too short to say whether memory is flat"
	case math.Abs(memory) > maxSlope:
		flat = "**memory is not flat**"
	}
	done, wrong := s.told()
	t.notes = fmt.Sprintf(`%d terminals, each a client (internal/bench/shop.go), with a tunnel each that stays. A hundred names a
minute are asked for once and never again, so the cache has 500 places here, to be full soon. Each minute the policy
is changed while all of them burst at once; 30 s later the line is taken. What it grew by is the slope over the
second half: %s (%+.1f %% an hour; to %.0f %% counts as that). Done: %s. Errors within those 30 s: %d; in all:
%s.`, terminals, flat, memory*100, maxSlope*100, done, after, wrong)
	return t
}

// slopeOf is the slope of the line of least squares through values at 0, 1, 2, …
func slopeOf(values []float64) float64 {
	n := float64(len(values))
	var mean float64
	for _, v := range values {
		mean += v / n
	}
	var up, across float64
	for i, v := range values {
		x := float64(i) - (n-1)/2
		up += x * (v - mean)
		across += x * x
	}
	return up / across
}

// firstWords are those of the lines of a file.
func firstWords(file string) (words []string, err error) {
	text, err := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 {
			words = append(words, f[0])
		}
	}
	return words, err
}
