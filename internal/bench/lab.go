package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A lab is where rows are measured, with what stands upstream.
type lab struct {
	Options
	up []*process
}

// setUp makes of an empty network one in which the target has an address that
// looks like one of the Internet: a proxy may refuse to go elsewhere. No interface
// has it, so that it is not the machine's own either.
var setUp = []string{
	"ip link set lo up",
	"ip route add local 45.0.0.0/24 dev lo",
	"sysctl -qw net.ipv4.ip_local_port_range=10000\t65000 net.ipv4.tcp_tw_reuse=1",
	"mount --bind @DIR@/hosts /etc/hosts",
}

func newLab(ctx context.Context, o Options) (*lab, error) {
	// Servers inherit it, since it is set here: an idle tunnel has two.
	var open unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &open); err != nil {
		return nil, err
	}
	open.Cur = open.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &open); err != nil {
		return nil, fmt.Errorf("raising the limit of open files: %w", err)
	}
	hosts := "127.0.0.1 localhost\n45.0.0.1 target.bench.net\n"
	if err := os.WriteFile(filepath.Join(o.Dir, "hosts"), []byte(hosts), 0o644); err != nil {
		return nil, err
	}
	for _, line := range setUp {
		words := strings.Split(line, " ")
		if out, err := command(ctx, o.Dir, words...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	l := &lab{Options: o}
	for _, s := range upstreams {
		p, err := l.start(ctx, s, LoadCPU)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("%w; apt-get install %s", err, s.debian)
		}
		l.up = append(l.up, p)
	}
	return l, nil
}

func (l *lab) close() {
	for _, p := range l.up {
		p.stop()
	}
}

// installed reports whether a server is there.
func (l *lab) installed(s server) bool {
	program, _, _ := strings.Cut(strings.ReplaceAll(s.command, "@DIR@", l.Dir), " ")
	_, err := exec.LookPath(program)
	return err == nil
}

// missing names the servers that are not there.
func (l *lab) missing() (names []string) {
	for _, s := range servers {
		if !l.installed(s) {
			names = append(names, s.name)
		}
	}
	return names
}

// startAll starts tillgate and those of the peers that are installed, tillgate first.
func (l *lab) startAll(ctx context.Context, peers []peer) (all []*process, err error) {
	names := []string{own}
	for _, p := range peers {
		names = append(names, p.server)
	}
	for _, n := range names {
		s := find(n)
		if !l.installed(s) {
			fmt.Fprintf(l.Log, "  %s is not installed: left out\n", n)
			continue
		}
		if err := l.fresh(); n == own && err != nil {
			return all, err
		}
		p, err := l.start(ctx, s, serverCPU)
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// fresh gives tillgate an empty state.
func (l *lab) fresh() error {
	state := filepath.Join(l.Dir, "state")
	if err := os.RemoveAll(state); err != nil {
		return err
	}
	return os.Mkdir(state, 0o750)
}

// journal is the size of the journal, in bytes.
func (l *lab) journal() (size float64) {
	entries, _ := os.ReadDir(filepath.Join(l.Dir, "state/journal"))
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			size += float64(info.Size())
		}
	}
	return size
}

// A sample is one round of one server.
type sample struct {
	rate  float64 // operations a second, or Gbit/s
	cpu   float64 // of the server for an operation: µs, or s for a GB
	noise float64 // of a processor, used by who has no part in it
}

// A work is what came of loading a server once.
type work struct {
	counts map[string]float64 // the generator's
	cpu    time.Duration      // of the server
	noise  float64
}

// load loads a server once, and fails where it did not do the work.
func (l *lab) load(ctx context.Context, r row, p *process, d time.Duration) (sample, error) {
	w, err := l.work(ctx, r, p, d)
	if err != nil {
		return sample{}, err
	}
	ops := w.counts[r.ops]
	good := ops - w.counts["err"] - w.counts["bad"]
	if r.good != "" && !strings.HasPrefix(p.name, "batched echo") { // an echo has no answers of its own
		good = w.counts[r.good]
	}
	if ops == 0 || good < 0.99*ops {
		return sample{}, fmt.Errorf("%s did not do the work: %v; see the logs in %s/results", p.name, w.counts, l.Dir)
	}
	s := sample{rate: w.counts[r.rate], cpu: float64(w.cpu.Microseconds()) / ops, noise: w.noise}
	if r.bulk {
		s.cpu = w.cpu.Seconds() / (ops / 1e9)
	}
	return s, nil
}

// work loads a server once.
func (l *lab) work(ctx context.Context, r row, p *process, d time.Duration) (w work, err error) {
	words := strings.Fields(strings.NewReplacer(
		"@PORT@", strconv.Itoa(p.ports[r.plane]),
		"@SECONDS@", strconv.FormatFloat(d.Seconds(), 'f', 2, 64),
	).Replace(r.load))
	generator := command(ctx, l.Dir, append([]string{"taskset", "-c", LoadCPU}, words...)...)
	generator.Stderr = l.Log

	part := func() (sum time.Duration) {
		for _, u := range append([]*process{p}, l.up...) {
			sum += u.cpu()
		}
		return sum + cpuOf(os.Getpid())
	}
	began, machine, parts, before := time.Now(), machineCPU(), part(), p.cpu()
	out, err := generator.Output()
	took := time.Since(began)
	if err != nil {
		return w, fmt.Errorf("loading %s: %w", p.name, err)
	}
	state := generator.ProcessState
	w.cpu = p.cpu() - before
	others := machineCPU() - machine - (part() - parts) - state.UserTime() - state.SystemTime()
	w.noise = others.Seconds() / took.Seconds()
	if err := json.Unmarshal(out, &w.counts); err != nil {
		return w, fmt.Errorf("the generator's answer for %s: %w in %q", p.name, err, out)
	}
	return w, nil
}
