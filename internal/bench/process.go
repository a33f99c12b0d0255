package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The processors: the server has one to itself; on the other is all else, also what
// measures.
const (
	serverCPU = "0"
	LoadCPU   = "1"
)

// A process is a server that runs.
type process struct {
	server
	cmd   *exec.Cmd
	began time.Time
}

// start starts a server on a processor. What it says is in results/NAME.log.
func (l *lab) start(ctx context.Context, s server, cpu string) (*process, error) {
	log, err := os.Create(filepath.Join(l.Dir, "results", strings.ReplaceAll(s.name, " ", "-")+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{server: s, cmd: command(ctx, l.Dir, append([]string{"taskset", "-c", cpu}, strings.Fields(s.command)...)...)}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(l.Dir, "conf/tls/ca.pem"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for plane, port := range s.ports {
		if err := p.ready(ctx, plane, port); err != nil {
			p.stop()
			return nil, fmt.Errorf("%s does not answer on port %d: %w; see %s", s.name, port, err, log.Name())
		}
	}
	return p, nil
}

// stop ends it, at once: nothing of it is needed afterwards.
func (p *process) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait() // says only that it was killed
}

// readyTimeout is how long a server may take: tillgate's clock needs seconds until it
// is trusted to serve, and a million rules need some more to be read.
const readyTimeout = 2 * time.Minute

// ready returns when the server answers.
func (p *process) ready(ctx context.Context, plane plane, port int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		if err = ask(plane, port); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(time.Millisecond):
		}
	}
}

// ask asks a server once.
func ask(plane plane, port int) error {
	addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))).String()
	network, question := "udp", ntpRequest
	switch plane {
	case planeProxy:
		network = "tcp"
	case planeDNS:
		question = dnsQuery
	}
	c, err := net.Dial(network, addr)
	if err != nil || network == "tcp" {
		if err == nil {
			c.Close()
		}
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := c.Write([]byte(question)); err != nil {
		return err
	}
	var answer [512]byte
	_, err = c.Read(answer[:])
	return err
}

// What a server is asked until it answers: for b00.blocked.net, which each of
// them knows by itself, and for the time.
const dnsQuery = "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03b00\x07blocked\x03net\x00\x00\x01\x00\x01"

var ntpRequest = "\x23" + strings.Repeat("\x00", 46) + "\x01"

// cpu is what the process has used: its clock, to the nanosecond, with the
// threads that have ended.
func (p *process) cpu() time.Duration { return cpuOf(p.cmd.Process.Pid) }

func cpuOf(pid int) time.Duration {
	const scheduled = 2 // CPUCLOCK_SCHED of linux/posix-timers.h
	var t unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|scheduled), &t) != nil {
		return 0 // it has ended
	}
	return time.Duration(t.Nano())
}

// rss is the memory of the process that is resident, in KB.
func (p *process) rss() float64 {
	return field("/proc/"+strconv.Itoa(p.cmd.Process.Pid)+"/status", "VmRSS:")
}

// most is the most that it was.
func (p *process) most() float64 {
	return field("/proc/"+strconv.Itoa(p.cmd.Process.Pid)+"/status", "VmHWM:")
}

// descriptors is how many the process has open.
func (p *process) descriptors() float64 {
	open, _ := os.ReadDir("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/fd")
	return float64(len(open))
}

// field returns the first number of a line that begins with a word.
func field(file, word string) float64 {
	text, _ := os.ReadFile(file)
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == word {
			n, _ := strconv.ParseFloat(f[1], 64)
			return n
		}
	}
	return 0
}

// machineCPU is what all processors have done, or could not do since another
// machine had them (steal).
func machineCPU() (busy time.Duration) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	const tick = 10 * time.Millisecond // USER_HZ is 100 everywhere
	for i, f := range strings.Fields(line) {
		switch i {
		case 1, 2, 3, 6, 7, 8: // user, nice, system, irq, softirq, steal (proc_stat(5))
			n, _ := strconv.Atoi(f)
			busy += time.Duration(n) * tick
		}
	}
	return busy
}
