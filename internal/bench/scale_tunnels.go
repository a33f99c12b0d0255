package bench

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// byTunnels measures work beside open tunnels, by how many there are.
func (l *lab) byTunnels(ctx context.Context) (t table, err error) {
	t = table{
		title: "By open tunnels",
		head:  []string{"tunnels", "an answer from the cache", "one more tunnel", "CPU of a GB through one more", "memory"},
		notes: `The tunnels have said something and then say nothing. They wait in the kernel's epoll, so that other work
does not look at them; what they take is memory, and the work that the garbage collector has with it. Each has two
descriptors: a machine that allows a program fewer than 20,200 has fewer tunnels in the last line.`,
	}
	var open unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &open); err != nil {
		return t, err
	}
	most := int(min(open.Cur, 20_200)-200) / 2 // beside those of the work itself
	for _, n := range []int{1, 10, 100, 1000, 10_000} {
		line, err := l.withTunnels(ctx, min(n, most))
		if err != nil {
			return t, fmt.Errorf("%d tunnels: %w", n, err)
		}
		fmt.Fprintln(l.Log, " ", strings.Join(line, ", "))
		t.lines = append(t.lines, line)
	}
	return t, nil
}

func (l *lab) withTunnels(ctx context.Context, n int) (line []string, err error) {
	p, err := l.scaled(ctx, "etc")
	if err != nil {
		return nil, err
	}
	defer p.stop()
	closeAll, err := l.openTunnels(ctx, p, n)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	line = []string{count(n)}
	memory := fmt.Sprintf("%.3g MB", p.rss()/1000)
	for _, name := range []string{"dns-cached", "connect", "bulk-1"} {
		r := rowOf(name)
		c, err := l.cost(ctx, r, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if r.bulk {
			line = append(line, fmt.Sprintf("%.3g s, %.3g Gbit/s", c.cpu.mid, c.rate.mid))
		} else {
			line = append(line, c.String())
		}
	}
	return append(line, memory), nil
}
