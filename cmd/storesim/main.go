// Command storesim is a store on one's desk: the real box, with simulated
// terminals that use it, on a simulated Internet. It needs no root and nothing leaves the
// machine.
//
// The box is the program tillgate as it is, with the provider's document as it is. The document's
// addresses and ports are not to be had on a machine's loopback, and the box leads nobody
// to itself. So all of it stands in a network namespace of its own (namespaces(7)), in which every
// address is the loopback's; the namespace of users that goes with it gives the right to that to
// anybody. This program runs twice: outside, where it lets a browser and a proxy's client
// in (relay.go), and inside, where the store is (inside.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	if dir := os.Getenv(insideVariable); dir != "" {
		exit(inside(dir))
	}
	var o options
	flag.StringVar(&o.program, "box", "", "the box's `program`; empty: tillgate, built from here")
	flag.BoolVar(&o.free, "free", false, "take any ports that are free, and not the usual ones")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "storesim: %q is no flag; storesim -help tells them\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(outside(ctx, os.Stdout, o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "storesim:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type options struct {
	program string
	free    bool
}

const (
	// insideVariable is the store's folder, for the part that is inside.
	insideVariable = "STORESIM_INSIDE"
	// ready is the line by which that part says that the store stands.
	ready = "ready\n"
	// endWithin is how long it may take to end before it is killed: longer than the box may.
	endWithin = 15 * time.Second
)

// outside makes the store and returns when ctx is done, or the store has failed. All that
// it started is gone then, and so is its folder.
func outside(ctx context.Context, w io.Writer, o options) (err error) {
	dir, err := os.MkdirTemp("", "storesim-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := provideBox(ctx, w, dir, o.program); err != nil {
		return err
	}
	relays, err := listenOutside(dir, o.free)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range relays {
		group.Go(func() error { return r.serve(ctx) })
	}
	group.Go(func() error {
		return runInside(ctx, dir, func() { tell(w, dir, relays) })
	})
	return group.Wait()
}

// provideBox puts the program where the store finds it.
func provideBox(ctx context.Context, w io.Writer, dir, program string) error {
	target := filepath.Join(dir, "tillgate")
	if program != "" {
		abs, err := filepath.Abs(program)
		if err != nil {
			return err
		}
		return os.Symlink(abs, target)
	}
	fmt.Fprintln(w, "building tillgate ...")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", target, "tillgate/cmd/tillgate").CombinedOutput()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("building tillgate: %w; run this in its source, or name a program by -box\n%s", err, out)
	}
	return nil // or the caller sees that ctx is done
}

// runInside runs this program again, in namespaces of its own, until ctx is done. It calls up
// once the store stands.
func runInside(ctx context.Context, dir string, up func()) error {
	if ctx.Err() != nil {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), insideVariable+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:     true, // a Ctrl-C is for us
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	life, err := cmd.StdinPipe() // it ends when this is closed, also when we are killed
	if err != nil {
		return err
	}
	cmd.Cancel, cmd.WaitDelay = life.Close, endWithin
	said, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("making a network of its own: %w; "+
			"this system keeps that from its users (on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; in a container: run it on the host), or run this as root", err)
	}
	line := make([]byte, len(ready))
	if _, err := io.ReadFull(said, line); err == nil && string(line) == ready {
		up()
	}
	err = cmd.Wait()
	if ctx.Err() != nil && cmd.ProcessState.Success() {
		return nil
	}
	return fmt.Errorf("the store has ended: %w; why, it said above", err)
}

// listenOutside opens what of the store can be reached from the machine.
func listenOutside(dir string, free bool) (relays []*relay, err error) {
	for _, d := range doors {
		port := d.port
		if free {
			port = 0
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			for _, r := range relays {
				r.from.Close()
			}
			return nil, fmt.Errorf("the store's %s: %w; end who has the port (sudo ss -ltnp 'sport = :%d' names it), or add -free", d.name, err, port)
		}
		relays = append(relays, &relay{from: l, network: "unix", to: d.socket(dir)})
	}
	return relays, nil
}

// tell says what there is and what to try.
func tell(w io.Writer, dir string, relays []*relay) {
	fmt.Fprintf(w, `
A SIMULATED store: the box is real, its terminals and its Internet are not. Ctrl-C ends it.

  console    http://%s
  policy     %s
`, relays[0].from.Addr(), filepath.Join(dir, "config", "policy.yaml"))
	for _, c := range cast {
		fmt.Fprintf(w, "  %-10s %s\n", c.addr, c.what)
	}
	const caFile = "ca.pem" // storelab's name for it
	fmt.Fprintf(w, `
Try, in another terminal (you are of class "you" there):

  S=%[2]s
  %[1]s status --socket $S
  %[1]s log -f --denied --socket $S
  %[1]s explain 10.20.0.12 %[3]s --socket $S
  %[1]s check --class pos --socket $S
  %[1]s observe pos --for 1m --reason "trying it out" --socket $S
  curl --cacert %[4]s -x http://%[5]s https://api.eu.sunmi.com/

`, filepath.Join(dir, "tillgate"), filepath.Join(dir, socketFile), shard, filepath.Join(dir, caFile), relays[1].from.Addr())
}
