package bench

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Report is what a run has found.
type Report struct {
	options Options
	when    time.Time
	rows    []result
	others  []other
	scale   []table
	missing []string
}

func newReport(o Options) *Report { return &Report{options: o, when: time.Now()} }

// WriteTo writes it as a page of Markdown.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

`+"`go run ./internal/bench/cmd/bench > BENCHMARKS.md`"+` as root on Debian measures this page anew, of
the peers that are installed (apt-get install gcc unbound dnsdist dnsmasq-base squid tinyproxy chrony;
CoreDNS is built by the Go module proxy).

The server has one processor, the load and what is upstream the other; all of it is on loopback in a
network namespace. Everything of tillgate is on: policy, records, metrics; limits that the peers don't
have are out of the way (internal/bench/conf). %d rounds of %v go through all servers of a row in turn.
A ratio is the median of the rounds' own ratios, in brackets where that median is with 95 %% probability;
above 1 tillgate is the better: its rate by the peer's, and the peer's CPU for an operation by its own.
A round in which others used more than %.0f %% of a processor was repeated, up to %d times; "noisy" counts
those in which that did not help.

`, r.options.Rounds, r.options.Time, maxNoise*100, maxTries-1)
	fmt.Fprintf(&b, "Measured %s on %s, Linux %s, %s.\n", r.when.UTC().Format("2006-01-02 15:04 MST"), cpuModel(), kernel(), loadAverage())
	fmt.Fprintf(&b, "Versions: %s.\n", strings.Join(versions(r.options.Dir), ", "))
	if len(r.missing) > 0 {
		fmt.Fprintf(&b, "Not there, and so left out: %s.\n", strings.Join(r.missing, ", "))
	}
	if len(r.rows) > 0 {
		b.WriteString("\n| work | against | rate, ours / theirs | CPU, ours / theirs | better by rate | better by CPU | target | |\n|---|---|---|---|---|---|---|---|\n")
	}
	for _, row := range r.rows {
		row.write(&b)
	}
	if len(r.others) > 0 {
		b.WriteString("\n| | of | median | target |\n|---|---|---|---|\n")
	}
	for _, o := range r.others {
		target := "–"
		if o.target != 0 {
			target = fmt.Sprintf("%g, %s", o.target, word(o.value.mid <= o.target, false))
		}
		fmt.Fprintf(&b, "| %s | %s | %s %s | %s |\n", o.what, o.server, o.value, o.unit, target)
	}
	r.writeLimits(&b)
	if len(r.scale) > 0 {
		fmt.Fprintf(&b, "\n## Scale\n\nOf tillgate alone: the CPU of an operation and how many of them there were a second, medians of %d rounds.\n",
			min(r.options.Rounds, scaleRounds))
	}
	for _, t := range r.scale {
		t.write(&b)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// writeLimits writes what the limit is of what was measured, and what is between.
func (r *Report) writeLimits(b *strings.Builder) {
	var works []string
	for _, row := range r.rows {
		works = append(works, row.work)
	}
	for _, o := range r.others {
		works = append(works, o.what)
	}
	if len(works) == 0 {
		return
	}
	b.WriteString("\n| work | the limit | what is between it and us |\n|---|---|---|\n")
	for _, l := range limits {
		if has(works, l.work()) {
			fmt.Fprintf(b, "| %s | %s | %s |\n", l.work(), l.limit, strings.ReplaceAll(l.between, "\n", " "))
		}
	}
}

func (e estimate) String() string {
	if !e.bounded {
		return fmt.Sprintf("%.3g", e.mid)
	}
	return fmt.Sprintf("%.3g [%.3g–%.3g]", e.mid, e.low, e.high)
}

func (r result) write(b *strings.Builder) {
	for _, p := range r.peers {
		if len(r.samples[p.server]) == 0 {
			continue
		}
		rate, cpu := r.better(p.server)
		rates := amount(r.median(own, rateOf)) + " / " + amount(r.median(p.server, rateOf))
		byRate := rate.String()
		unit := "µs"
		if r.bulk {
			rates, unit = rates+" Gbit", "s/GB"
		}
		if r.paced {
			byRate = "–"
		}
		target, reached := p.reached(rate, cpu)
		noise := ""
		if r.noisy > 0 {
			noise = fmt.Sprintf("%d noisy", r.noisy)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %.3g / %.3g %s | %s | %s | %s | %s |\n", r.work, p.server, rates,
			r.median(own, usedOf), r.median(p.server, usedOf), unit, byRate, cpu, strings.TrimSpace(target+" "+reached), noise)
	}
}

// reached tells the target, and whether the medians reach it; where that is parity
// it is enough that the bounds do.
func (p peer) reached(rate, cpu estimate) (target, reached string) {
	bound := func(e estimate, least float64) bool { return e.mid >= least || least == 1 && e.high >= least }
	switch {
	case p.either != 0:
		return fmt.Sprintf("%.2f,", p.either),
			word(max(rate.mid, cpu.mid) >= p.either, bound(rate, p.either) || bound(cpu, p.either))
	case p.rate != 0:
		return fmt.Sprintf("rate %.2f, CPU %.2f,", p.rate, p.cpu),
			word(rate.mid >= p.rate && cpu.mid >= p.cpu, bound(rate, p.rate) && bound(cpu, p.cpu))
	case p.cpu != 0:
		return fmt.Sprintf("CPU %.2f,", p.cpu), word(cpu.mid >= p.cpu, bound(cpu, p.cpu))
	}
	return "–", ""
}

func word(reached, bound bool) string {
	switch {
	case reached:
		return "reached"
	case bound:
		return "within the bound"
	}
	return "**not reached**"
}

// amount writes a rate so that one sees how large it is.
func amount(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%.0fk", v/1000)
	}
	return fmt.Sprintf("%.4g", v)
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unknown processor"
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return "load average at the end " + strings.Join(strings.Fields(string(text))[:3], " ")
}

// versions are those of the peers, as Debian names them, and of CoreDNS.
func versions(dir string) (all []string) {
	seen := make(map[string]bool)
	for _, s := range servers {
		if s.debian == "" || seen[s.debian] {
			continue
		}
		seen[s.debian] = true
		if out, err := exec.Command("dpkg-query", "-W", "-f", "${Package} ${Version}", s.debian).Output(); err == nil {
			all = append(all, string(out))
		}
	}
	if out, err := exec.Command(dir+"/coredns", "-version").Output(); err == nil {
		first, _, _ := strings.Cut(string(out), "\n")
		all = append(all, first)
	}
	return all
}
