package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// A round in which others use more of a processor than this is repeated.
	maxNoise = 0.05
	// maxTries bounds that: on a machine that is never quiet the last one counts,
	// and the result says in how many rounds it was so.
	maxTries = 3
)

// A result is a row, measured.
type result struct {
	row
	servers []string // those that were there, tillgate first
	samples map[string][]sample
	noisy   int // of all samples, those with too much noise
}

// measure runs the rounds of one row. Each goes through all servers, every other
// one in the opposite order.
func (l *lab) measure(ctx context.Context, r row) (result, error) {
	res := result{row: r, samples: make(map[string][]sample)}
	all, err := l.startAll(ctx, r.peers)
	defer func() {
		for _, p := range all {
			p.stop()
		}
	}()
	if err != nil {
		return res, err
	}
	for _, p := range all {
		res.servers = append(res.servers, p.name)
		if err := l.warm(ctx, r, p); err != nil {
			return res, err
		}
	}
	for round := range l.Rounds {
		order := slices.Clone(all)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, p := range order {
			s, err := l.quiet(ctx, r, p)
			if err != nil {
				return res, err
			}
			if s.noise > maxNoise {
				res.noisy++
			}
			res.samples[p.name] = append(res.samples[p.name], s)
		}
	}
	for _, n := range res.servers {
		fmt.Fprintf(l.Log, "  %-20s %10.4g/s %8.3g CPU\n", n, res.median(n, rateOf), res.median(n, usedOf))
	}
	return res, nil
}

// warm loads a server until its caches are full, its connections are made and it
// does the work: after that a failure is one.
func (l *lab) warm(ctx context.Context, r row, p *process) (err error) {
	for range maxTries {
		if _, err = l.load(ctx, r, p, time.Second); err == nil {
			break
		}
	}
	return err
}

// quiet loads a server until it has done the work and nobody else has used much of
// the machine meanwhile.
func (l *lab) quiet(ctx context.Context, r row, p *process) (s sample, err error) {
	for range maxTries {
		if s, err = l.load(ctx, r, p, l.Time); err == nil && s.noise <= maxNoise {
			break
		}
	}
	return s, err
}

func rateOf(s sample) float64 { return s.rate }
func usedOf(s sample) float64 { return s.cpu }

// median is that of one server's rounds.
func (r result) median(server string, of func(sample) float64) float64 {
	var v []float64
	for _, s := range r.samples[server] {
		v = append(v, of(s))
	}
	return medianOf(v).mid
}

// better is by how much tillgate was better than a peer, round by round: its rate
// by the peer's, or the peer's CPU by its own.
func (r result) better(peer string) (rate, cpu estimate) {
	var rates, cpus []float64
	for i, o := range r.samples[own] {
		p := r.samples[peer][i]
		rates = append(rates, o.rate/p.rate)
		cpus = append(cpus, p.cpu/o.cpu)
	}
	return medianOf(rates), medianOf(cpus)
}

// pause waits, unless nobody is to wait any more.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
