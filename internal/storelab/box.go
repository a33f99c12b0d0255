package storelab

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Whom the box runs as: nobody, with the one right to bind low ports, as its
// systemd unit has it.
const (
	serviceUser       = 65534
	capNetBindService = 10 // capabilities(7)
	capNetAdmin       = 12
)

// readyWithin is how long the box may take until it is ready.
const readyWithin = 30 * time.Second

// Box is the store's edge box. Its folders outlive its process, so that a test
// can start it again on what it left.
type Box struct {
	*Host
	Config string   // folder of tillgate.yaml, policy.yaml and packs/; empty at first
	State  string   // folder of the journal and the rest
	RunDir string   // folder of the socket
	Env    []string // of the box and of its command line; a test may add to it

	program string
}

// newBox makes the folders and a copy of the program that the box's user can
// execute: go test keeps its binaries where only their owner comes.
func newBox(h *Host, dir, program string, ca *CA) (b *Box, err error) {
	b = &Box{
		Host:    h,
		Config:  filepath.Join(dir, "config"),
		State:   filepath.Join(dir, "state"),
		RunDir:  filepath.Join(dir, "run"),
		program: filepath.Join(dir, "tillgate"),
	}
	b.Env = []string{
		"PATH=" + dir + ":" + os.Getenv("PATH"),
		"CONFIGURATION_DIRECTORY=" + b.Config,
		"STATE_DIRECTORY=" + b.State,
		"RUNTIME_DIRECTORY=" + b.RunDir,
		"SSL_CERT_FILE=" + ca.File,
	}
	if err := os.Mkdir(b.Config, 0o755); err != nil {
		return nil, err
	}
	for _, own := range []string{b.State, b.RunDir} {
		if err := os.Mkdir(own, 0o750); err != nil {
			return nil, err
		}
		if err := os.Chown(own, serviceUser, serviceUser); err != nil {
			return nil, err
		}
	}
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	from, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := os.OpenFile(b.program, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return nil, err
	}
	return b, to.Close()
}

// Addr returns the box's own addresses in a network of the store.
func (b *Box) Addr(t TB, network string) (a4, a6 netip.Addr) {
	t.Helper()
	n, err := networkOf(network)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return at(n.net4, router).Addr(), at(n.net6, router).Addr()
}

// Write puts a file into the configuration, whole at once, as careful editors do.
func (b *Box) Write(t TB, name, text string) {
	t.Helper()
	file := filepath.Join(b.Config, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file+".new", []byte(text), 0o644)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		t.Fatalf("writing the box's configuration: %v", err)
	}
}

// Start starts `tillgate run` with the arguments, and returns when it has said
// that it is ready (sd_notify).
func (b *Box) Start(t TB, args ...string) *Process {
	t.Helper()
	notify, err := b.listenNotify()
	if err != nil {
		t.Fatalf("making the box's notify socket: %v", err)
	}
	t.Cleanup(func() { notify.Close() })
	ready := make(chan struct{})
	go hear(notify, ready)

	cmd := b.tillgate(context.Background(), append([]string{"run"}, args...)...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+notify.LocalAddr().String())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: serviceUser, Gid: serviceUser},
		AmbientCaps: []uintptr{capNetBindService},
	}
	p := b.start(t, cmd)
	select {
	case <-ready:
	case <-p.Exited():
		t.Fatalf("the box ended with status %d before it was ready", p.Status())
	case <-time.After(readyWithin):
		t.Fatalf("the box was not ready within %v", readyWithin)
	}
	return p
}

func (b *Box) listenNotify() (*net.UnixConn, error) {
	path := filepath.Join(filepath.Dir(b.RunDir), "notify")
	os.Remove(path) // of the run before
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	return c, err
}

// hear takes what the box tells its service manager, until the socket is
// closed, and closes ready when it says that it is.
func hear(notify *net.UnixConn, ready chan<- struct{}) {
	buf := make([]byte, 4096)
	for said := false; ; {
		n, err := notify.Read(buf)
		if err != nil {
			return
		}
		if !said && slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			said = true
			close(ready)
		}
	}
}

// Keep starts `tillgate firewall keep` as its unit does: as the box's user, with the right
// to change the network. It does not wait.
func (b *Box) Keep(t TB, args ...string) *Process {
	t.Helper()
	cmd := b.tillgate(context.Background(), append([]string{"firewall", "keep"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: serviceUser, Gid: serviceUser},
		AmbientCaps: []uintptr{capNetAdmin},
	}
	return b.start(t, cmd)
}

// Tillgate runs a command line on the box, as root, and returns its standard
// output. See [Host.Run] for the error.
func (b *Box) Tillgate(ctx context.Context, args ...string) (string, error) {
	return b.run(b.tillgate(ctx, args...))
}

// Tell is [Box.Tillgate] with something to read on its standard input.
func (b *Box) Tell(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := b.tillgate(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return b.run(cmd)
}

// StartTillgate starts a command line on the box, as root, and does not wait for it.
func (b *Box) StartTillgate(t TB, args ...string) *Process {
	t.Helper()
	return b.start(t, b.tillgate(context.Background(), args...))
}

// tillgate is the program under its own name: a test binary that runs itself
// as the box can tell by it what it is meant to be.
func (b *Box) tillgate(ctx context.Context, args ...string) *exec.Cmd {
	cmd := b.command(ctx, append([]string{b.program}, args...)...)
	cmd.Args[0] = "tillgate"
	cmd.Env = slices.Clone(b.Env)
	return cmd
}
