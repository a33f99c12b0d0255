package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// An other is a figure that is no ratio.
type other struct {
	what, server string
	value        estimate
	unit         string
	target       float64 // at most; 0: none, a peer's
}

// What is measured of tunnels.
const (
	idleMemory      = "memory of an idle tunnel"
	idleDescriptors = "descriptors of an idle tunnel"
)

// idleTunnels is how many tunnels are opened to see what one of them takes, and
// starts how often a server is started.
const (
	idleTunnels = 1000
	starts      = 7
)

// idleFor is how long they have said nothing when that is looked at, the same for all
// programs. tillgate finds after 10 s that a tunnel rests, and gives memory back 2 s later.
const idleFor = 15 * time.Second

// others measures memory and starts, where they are asked for.
func (l *lab) others(ctx context.Context) (all []other, err error) {
	var failed []error
	for _, part := range []struct {
		name    string
		measure func(context.Context) ([]other, error)
	}{{memoryRow, l.idle}, {startRow, l.starts}} {
		if !l.wants(part.name) {
			continue
		}
		fmt.Fprintln(l.Log, part.name)
		some, err := part.measure(ctx)
		if err != nil {
			failed = append(failed, fmt.Errorf("row %s: %w", part.name, err))
		}
		all = append(all, some...)
	}
	return all, errors.Join(failed...)
}

// idle measures what tunnels take that have said something and then nothing for idleFor.
func (l *lab) idle(ctx context.Context) (all []other, err error) {
	for _, name := range []string{own, "squid", "tinyproxy", "go relay"} {
		s := find(name)
		if !l.installed(s) {
			continue
		}
		s.ports = one(planeProxy, s.ports[planeProxy]) // not the time, which takes seconds to be known
		var memory, open []float64
		for range starts {
			kb, fds, err := l.idleOnce(ctx, s)
			if err != nil {
				return all, err
			}
			memory, open = append(memory, kb), append(open, fds)
		}
		m := other{idleMemory, name, medianOf(memory), "KB", 0}
		d := other{idleDescriptors, name, medianOf(open), "", 0}
		if name == own {
			m.target, d.target = 8, 2
		}
		all = append(all, m, d)
	}
	return all, nil
}

func (l *lab) idleOnce(ctx context.Context, s server) (kb, fds float64, err error) {
	if err := l.fresh(); err != nil {
		return 0, 0, err
	}
	p, err := l.start(ctx, s, serverCPU)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	if err := pause(ctx, time.Second); err != nil {
		return 0, 0, err
	}
	memory, open := p.rss(), p.descriptors()

	closeAll, err := l.openTunnels(ctx, p, idleTunnels)
	if err != nil {
		return 0, 0, err
	}
	defer closeAll()
	err = pause(ctx, idleFor)
	// A few descriptors come with the first tunnels, whatever their number.
	fds = math.Round((p.descriptors()-open)/idleTunnels*10) / 10
	return (p.rss() - memory) / idleTunnels, fds, err
}

// openTunnels opens tunnels that say something and then nothing, until all are
// closed by what it returns, or after ten minutes.
func (l *lab) openTunnels(ctx context.Context, p *process, n int) (closeAll func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	g := command(ctx, l.Dir, "taskset", "-c", LoadCPU, "@DIR@/tload", "idle", "-p", strconv.Itoa(p.ports[planeProxy]),
		"-T", "9000", "-H", "target.bench.net", "-c", strconv.Itoa(n), "-t", "600")
	out, err := g.StdoutPipe()
	if err == nil {
		err = g.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	closeAll = func() {
		cancel()
		g.Wait() // says only that it was ended
	}
	var counts struct{ Open int }
	if err = json.NewDecoder(out).Decode(&counts); err == nil && counts.Open < n {
		err = fmt.Errorf("%s opened %d of %d tunnels", p.name, counts.Open, n)
	}
	if err != nil {
		closeAll()
		return nil, err
	}
	return closeAll, nil
}

// starts measures how long tillgate takes from its start to its first answer, what
// it takes of memory then, and how large the program is.
func (l *lab) starts(ctx context.Context) (all []other, err error) {
	s := find(own)
	s.ports = one(planeDNS, s.ports[planeDNS]) // as above
	var took, memory []float64
	for range starts {
		if err := l.fresh(); err != nil {
			return nil, err
		}
		p, err := l.start(ctx, s, serverCPU)
		if err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(p.began).Microseconds())/1000)
		err = pause(ctx, 2*time.Second)
		memory = append(memory, p.rss()/1000)
		p.stop()
		if err != nil {
			return nil, err
		}
	}
	binary, err := os.Stat(filepath.Join(l.Dir, own))
	if err != nil {
		return nil, err
	}
	return []other{
		{"start to first answer", own, medianOf(took), "ms", 30},
		{"idle RSS", own, medianOf(memory), "MB", 20},
		{"stripped binary", own, medianOf([]float64{float64(binary.Size()) / 1e6}), "MB", 16},
	}, nil
}
