package storelab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopWithin is how long a process may take to stop before it is killed.
const stopWithin = 10 * time.Second

// maxOutput bounds what is kept of a process's output: its end.
const maxOutput = 4 << 20

// A spawner is the one thread that starts every process of a store. The kernel
// ends them (PDEATHSIG) when that thread ends: with the store, or with the
// test, however it ends.
type spawner struct {
	todo chan func()
}

func newSpawner() *spawner {
	s := &spawner{todo: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.todo {
			f()
		}
	}()
	return s
}

func (s *spawner) close() { close(s.todo) }

// start starts cmd on the host.
func (s *spawner) start(h *Host, cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	s.todo <- func() {
		err := h.enter()
		if err == nil {
			err = cmd.Start()
		}
		result <- err
	}
	return <-result
}

// command is a program with its arguments, to be started on the host.
func (h *Host) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second // a child of its own may hold the output open
	return cmd
}

// dressed is the command line under which a program sees the host's resolv.conf.
func (h *Host) dressed(argv ...string) []string {
	if h.resolvConf == "" {
		return argv
	}
	return append([]string{"unshare", "--mount", "sh", "-c",
		`mount --bind "$0" /etc/resolv.conf && exec "$@"`, h.resolvConf}, argv...)
}

// Run runs a program on the host to its end, which ctx may bring about, and
// returns its standard output. The error of a program that fails ends with its
// standard error, and is an [*exec.ExitError].
func (h *Host) Run(ctx context.Context, argv ...string) (string, error) {
	return h.run(h.command(ctx, h.dressed(argv...)...))
}

func (h *Host) run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := h.spawner.start(h, cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s on %s: %w\n%s", strings.Join(cmd.Args, " "), h.Name, err, &stderr)
	}
	return stdout.String(), err
}

// A Process runs on a host until it ends, is stopped, or the test ends. What
// it printed is shown when the test has failed.
type Process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{} // closed when it is gone
	status int           // valid then; -1: ended by a signal

	mu     sync.Mutex
	output []byte
	grown  chan struct{} // closed, and made anew, with each output
}

// Start starts a program on the host, and does not wait for it.
func (h *Host) Start(t TB, argv ...string) *Process {
	t.Helper()
	return h.start(t, h.command(context.Background(), h.dressed(argv...)...))
}

func (h *Host) start(t TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{
		name:   h.Name + ": " + strings.Join(cmd.Args, " "),
		cmd:    cmd,
		exited: make(chan struct{}),
		grown:  make(chan struct{}),
	}
	var out io.Writer = p
	if h.Log != nil {
		out = io.MultiWriter(p, h.Log)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := h.spawner.start(h, cmd); err != nil {
		t.Fatalf("starting %s: %v", p.name, err)
	}
	go func() {
		cmd.Wait() // the status says it all
		p.status = cmd.ProcessState.ExitCode()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.Kill()
		out := p.Output()
		if strings.Contains(out, "WARNING: DATA RACE") {
			t.Errorf("%s: the race detector found a race", p.name)
		}
		if t.Failed() {
			t.Logf("%s (status %d) printed:\n%s", p.name, p.status, out)
		}
	})
	return p
}

// Write takes the process's output.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output = append(p.output, b...)
	if n := len(p.output); n > maxOutput {
		p.output = append([]byte(nil), p.output[n-maxOutput/2:]...)
	}
	close(p.grown)
	p.grown = make(chan struct{})
	return len(b), nil
}

// Output returns what the process has printed, to both outputs, up to now.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.output)
}

// WaitFor waits until the process has printed text.
func (p *Process) WaitFor(t TB, text string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		p.mu.Lock()
		found, grown := bytes.Contains(p.output, []byte(text)), p.grown
		p.mu.Unlock()
		if found {
			return
		}
		select {
		case <-grown:
		case <-p.exited:
			if !strings.Contains(p.Output(), text) {
				t.Fatalf("%s ended with status %d and never printed %q", p.name, p.status, text)
			}
		case <-timeout:
			t.Fatalf("%s did not print %q within 30 s", p.name, text)
		}
	}
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Status returns the exit status of a process that is gone, -1 where a signal ended it.
func (p *Process) Status() int {
	<-p.exited
	return p.status
}

// Signal sends a signal; a process that is gone takes none.
func (p *Process) Signal(t TB, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("signalling %s: %v", p.name, err)
	}
}

// Stop ends the process by SIGTERM and returns its exit status. It is an error
// of the test if that takes longer than 10 s.
func (p *Process) Stop(t TB) int {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopWithin):
		t.Errorf("%s did not stop within %v of SIGTERM", p.name, stopWithin)
		p.Kill()
	}
	return p.Status()
}

// Kill ends the process at once, as a power cut would.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.exited
}
