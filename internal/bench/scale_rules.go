package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tillgate/policy"
)

// A file of the policy may have 1 MiB and a policy 64 packs, so a million rules
// are about what it can have: in 63 packs.
const packRules = 16_000

// scaleNames is how many names are asked for, whatever the number of rules: more
// than a reader remembers the answers of.
const scaleNames = 4096

// maxFill bounds how long the upstream may take to give all of them at one go.
const maxFill = 16 * time.Second

// byRules measures a decision and an answer by how many rules there are.
func (l *lab) byRules(ctx context.Context) (t table, err error) {
	t = table{
		title: "By rules",
		head: []string{"rules", "a decision, in process", "an answer from the cache", "a denial",
			"start to first answer", "memory then", "most while it starts"},
		notes: fmt.Sprintf(`The same number of names (%d) is asked for in each line, spread over all rules by way of their
wildcards. A decision is policy.Decide alone, of the same names, by Go's testing.Benchmark; the answers and
denials are CPU of the real program for one query, of which all that is not the decision is the same. A decision
is one look-up in a map for each label, however many rules there are: what grows is how much of the map is in the
processor's caches. Loading is the YAML parser's work, and so is the memory while it starts.`, scaleNames),
	}
	for _, n := range []int{40, 1000, 10_000, 100_000, 1_000_000} {
		line, err := l.withRules(ctx, n)
		if err != nil {
			return t, fmt.Errorf("%d rules: %w", n, err)
		}
		fmt.Fprintln(l.Log, " ", strings.Join(line, ", "))
		t.lines = append(t.lines, line)
	}
	return t, nil
}

func (l *lab) withRules(ctx context.Context, n int) (line []string, err error) {
	const folder = "rules"
	if err := l.configure(folder); err != nil {
		return nil, err
	}
	dir := filepath.Join(l.Dir, folder)
	defer os.RemoveAll(dir)
	documented, denied := ruleNames(n)
	for name, text := range ruleFiles(n) {
		if err := writeFile(filepath.Join(dir, name), text); err != nil {
			return nil, err
		}
	}
	for name, list := range map[string][]string{"names.txt": documented, "denied.txt": denied} {
		if err := writeFile(filepath.Join(dir, name), strings.Join(list, " A\n")+" A\n"); err != nil {
			return nil, err
		}
	}
	decision, err := decisionTime(dir, documented, denied)
	if err != nil {
		return nil, err
	}
	p, err := l.scaled(ctx, folder)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	started := time.Since(p.began)
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	memory, most := p.rss(), p.most()
	// The upstream gets the names a few at a time, or it would refuse some of so many.
	answer := row{plane: planeDNS, load: closedLoop + "dns -f " + dir + "/names.txt", rate: "qps", ops: "recv", good: "noerr"}
	fill := answer
	fill.load += " -w 16"
	for d := time.Second; d <= maxFill; d *= 2 {
		if w, err := l.work(ctx, fill, p, d); err != nil {
			return nil, err
		} else if w.counts["noerr"] >= 2*scaleNames {
			break
		}
	}
	answers, err := l.cost(ctx, answer, p)
	if err != nil {
		return nil, err
	}
	denials, err := l.cost(ctx, row{plane: planeDNS, load: closedLoop + "dns -f " + dir + "/denied.txt", rate: "qps", ops: "recv", good: "nx"}, p)
	if err != nil {
		return nil, err
	}
	return []string{count(n), fmt.Sprint(decision, " ns"), answers.String(), denials.String(),
		started.Round(time.Millisecond).String(), fmt.Sprintf("%.3g MB", memory/1000), fmt.Sprintf("%.3g MB", most/1000)}, nil
}

// decisionTime is that of one decision in this process.
func decisionTime(dir string, names ...[]string) (ns int64, err error) {
	set, err := policy.Load(dir)
	if err != nil {
		return 0, err
	}
	client := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	result := testing.Benchmark(func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			list := names[i%len(names)]
			set.Decide(policy.Request{Plane: policy.DNS, Client: client, Name: list[i/len(names)%len(list)]})
		}
	})
	return result.NsPerOp(), nil
}

// ruleFiles makes a policy of n rules: hosts of ten at a site, of which one is a
// wildcard; services of a hundred; packs.
func ruleFiles(n int) map[string]string {
	files := make(map[string]string)
	var packs, services []string
	for first := 0; first < n; first += packRules {
		name := fmt.Sprintf("p%02d", first/packRules)
		packs, services = append(packs, name), append(services, `"`+name+`/s*"`)
		var b strings.Builder
		fmt.Fprintf(&b, "pack: %s\ntitle: made for the measuring\nsource: none\nservices:\n", name)
		for i := first; i < min(n, first+packRules); i++ {
			if i%100 == 0 {
				fmt.Fprintf(&b, "  - id: s%d\n    row: 1\n    title: made\n    for: [pos]\n    requirement: optional\n    purpose: [measuring]\n    destinations:\n", i/100)
			}
			host := ruleHost(i)
			if i%10 == wildcard {
				host = "*." + host
			}
			fmt.Fprintf(&b, "      - {host: %q, ports: [tcp/443]}\n", host)
		}
		files["packs/"+name+".yaml"] = b.String()
	}
	files[policy.FileName] = fmt.Sprintf("version: 1\npacks: [%s]\nclasses:\n  till: {networks: [127.0.0.0/8], services: [%s]}\n",
		strings.Join(packs, ", "), strings.Join(services, ", "))
	return files
}

// wildcard is which of the ten hosts of a site is one.
const wildcard = 8

func ruleHost(i int) string { return fmt.Sprintf("h%d.site%d.example", i, i/10) }

// ruleNames are names that n rules allow, and as many that they do not.
func ruleNames(n int) (documented, denied []string) {
	for j := range scaleNames {
		i := j * n / scaleNames / 10 * 10
		documented = append(documented, fmt.Sprintf("n%d.%s", j, ruleHost(i+wildcard)))
		denied = append(denied, fmt.Sprintf("n%d.%s", j, ruleHost(i)))
	}
	return documented, denied
}

func writeFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
