package bench

import (
	"context"
	"fmt"
	"strings"
)

// crowdRate is how many queries a second all clients ask together, by the default limit.
const crowdRate = 20_000

// byClients measures an answer by how many clients there are.
func (l *lab) byClients(ctx context.Context) (t table, err error) {
	t = table{
		title: "By clients",
		head: []string{"clients", "an answer from the cache", "a denial", "memory after them", "journal after them",
			fmt.Sprintf("answered of %s/s, by the default limit", count(crowdRate))},
		notes: `The clients are addresses of 127.0.0.0/8, which ask in turn for 45 names (internal/bench/load/udpcrowd.c);
the limit of queries a second is on, so that each has a bucket, but set so high that nobody is refused, except in
the last column. What is kept of clients is bounded, and the curve bends where a bound is met: a reader remembers
1024 answers, each for its client; 4096 clients have a bucket of their own, and the others share one; 4096 kinds of
attempt have a record of their own within a window, and the others are counted by client, and then in total. So
who asks from more addresses than a store can have is answered less, and memory and journal grow no further.`,
	}
	if err := l.configure("crowd", "dns: {rate: 0}", "dns: {rate: 1000000, burst: 1000000}"); err != nil {
		return t, err
	}
	if err := l.configure("limited", "dns: {rate: 0}", ""); err != nil {
		return t, err
	}
	for _, n := range []int{10, 100, 1000, 10_000, 100_000} {
		line, err := l.withClients(ctx, n)
		if err != nil {
			return t, fmt.Errorf("%d clients: %w", n, err)
		}
		fmt.Fprintln(l.Log, " ", strings.Join(line, ", "))
		t.lines = append(t.lines, line)
	}
	return t, nil
}

func (l *lab) withClients(ctx context.Context, n int) (line []string, err error) {
	crowd := fmt.Sprintf("@DIR@/udpcrowd -p @PORT@ -n %d -t @SECONDS@ -f @DIR@/conf/", n)
	p, err := l.scaled(ctx, "crowd")
	if err != nil {
		return nil, err
	}
	defer func() { p.stop() }()
	answers, err := l.cost(ctx, row{plane: planeDNS, load: crowd + "names.txt", rate: "qps", ops: "recv", good: "noerr"}, p)
	if err != nil {
		return nil, err
	}
	denials, err := l.cost(ctx, row{plane: planeDNS, load: crowd + "blocked.txt", rate: "qps", ops: "recv", good: "nx"}, p)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	memory, journal := p.rss(), l.journal()

	p.stop()
	if p, err = l.scaled(ctx, "limited"); err != nil {
		return nil, err
	}
	limited := row{plane: planeDNS, load: crowd + fmt.Sprintf("names.txt -r %d", crowdRate)}
	w, err := l.work(ctx, limited, p, 3*l.Time)
	if err != nil {
		return nil, err
	}
	return []string{count(n), answers.String(), denials.String(), fmt.Sprintf("%.3g MB", memory/1000),
		fmt.Sprintf("%.3g MB", journal/1e6), fmt.Sprintf("%.0f %%", 100*w.counts["recv"]/w.counts["sent"])}, nil
}
