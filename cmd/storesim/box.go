package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// startWithin is how long the box may take to be ready, on a machine that is busy.
	startWithin = 30 * time.Second
	// stopWithin is twice the time in which the box ends by itself.
	stopWithin = 10 * time.Second
)

// socketFile is the box's, in the store's folder.
const socketFile = "tillgate.sock"

// A box is the running program.
type box struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has
	log    string        // file of what it says
}

// startBox starts the program, at the ports of --loopback, and returns when it is ready.
func startBox(ctx context.Context, dir, caFile string) (_ *box, err error) {
	b := &box{log: filepath.Join(dir, "box.log"), exited: make(chan struct{})}
	notify := filepath.Join(dir, "ready.sock")
	bell, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("waiting for the box: %w", err)
	}
	defer bell.Close()
	log, err := os.Create(b.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	b.cmd = exec.Command(filepath.Join(dir, "tillgate"), "run", "--loopback", "--config", filepath.Join(dir, "config"),
		"--state", filepath.Join(dir, "state"), "--socket", filepath.Join(dir, socketFile))
	b.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+caFile, "SSL_CERT_DIR="+filepath.Join(dir, "none"), "NOTIFY_SOCKET="+notify)
	b.cmd.Stderr = log
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the box: %w", err)
	}
	go func() {
		b.cmd.Wait()
		close(b.exited)
		bell.SetReadDeadline(time.Unix(1, 0))
	}()
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop())
		}
	}()
	defer context.AfterFunc(ctx, func() { bell.SetReadDeadline(time.Unix(1, 0)) })()
	bell.SetReadDeadline(time.Now().Add(startWithin))
	said := make([]byte, 256)
	for {
		n, err := bell.Read(said) // sd_notify(3)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, b.failed("did not start")
		case strings.HasPrefix(string(said[:n]), "READY=1"):
			return b, nil
		}
	}
}

// watch returns when the box has ended, which it should not, or with ctx.
func (b *box) watch(ctx context.Context) error {
	select {
	case <-b.exited:
		return b.failed("has ended")
	case <-ctx.Done():
		return nil
	}
}

func (b *box) failed(what string) error {
	said, _ := os.ReadFile(b.log)
	return fmt.Errorf("the box %s; it said:\n%s", what, said)
}

// stop ends the box and returns when it is gone.
func (b *box) stop() error {
	b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
		return nil
	case <-time.After(stopWithin):
	}
	b.cmd.Process.Kill()
	<-b.exited
	return fmt.Errorf("the box did not end within %v, and was killed", stopWithin)
}
