// Command storelab leaves a store standing to play with, until it is
// interrupted: terminals, the box on the embedded defaults or on a configuration
// that is handed to it, and an Internet that knows every documented name.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"tillgate/internal/storelab"
	"tillgate/policy"
)

func main() {
	box := flag.String("box", "", "the box's `program`; empty: tillgate, built from here")
	config := flag.String("config", "", "a `folder` of tillgate.yaml, policy.yaml and packs; empty: the embedded defaults")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := stand(ctx, os.Stdout, *box, *config); err != nil {
		fmt.Fprintln(os.Stderr, "storelab:", err)
		os.Exit(1)
	}
}

// destinations returns the names of all destinations of the document, and of the
// configuration's own policy where it is one, and which of them are time servers.
func destinations(config string) (names, clocks []string, err error) {
	set, err := policy.Embedded()
	if err != nil {
		return nil, nil, fmt.Errorf("reading the embedded policy: %w", err)
	}
	rules := set.Rules()
	if config != "" {
		if own, err := policy.Load(config); err == nil { // else the box says what is wrong with it
			rules = slices.Concat(rules, own.Rules())
		}
	}
	for _, r := range rules {
		for _, name := range storelab.Names([]*policy.Rule{r}) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
			if slices.ContainsFunc(r.Ports, func(p policy.Port) bool { return p.Proto == policy.UDP }) && !slices.Contains(clocks, name) {
				clocks = append(clocks, name)
			}
		}
	}
	return names, clocks, nil
}

// stand builds a store, tells w about it, and takes it down when ctx is done.
func stand(ctx context.Context, w io.Writer, box, config string) error {
	return run(func(t *visit) {
		if box == "" {
			box = build(t)
		}
		names, clocks, err := destinations(config)
		if err != nil {
			t.Fatalf("%v", err)
		}
		store := storelab.New(t, storelab.Config{Names: names, Program: box})
		if config != "" {
			if err := os.CopyFS(store.Box.Config, os.DirFS(config)); err != nil {
				t.Fatalf("copying the configuration: %v", err)
			}
		}
		for _, name := range clocks {
			store.ServeTime(t, name, 0)
		}
		if _, err := exec.LookPath("nginx"); err == nil {
			store.Web(t, names...)
		}
		store.Box.Redirect(t)
		store.Box.Log = w
		p := store.Box.Start(t)
		for _, n := range []string{"sunmi", "pos", "pc", "guest"} {
			store.Terminal(t, n)
		}
		on, err := store.Scripts()
		if err != nil {
			t.Fatalf("writing the scripts: %v", err)
		}
		fmt.Fprintf(w, `
The store stands, until you press Ctrl-C. Its configuration is in
    %[2]s
and these, in another terminal, run things in it:
    %[1]s/sunmi-1 dig api.eu.sunmi.com     (also pos-1, pc-1, guest-1)
    %[1]s/sunmi-1 curl https://api.eu.sunmi.com/
                          (redirected on the box; an answer needs nginx on this machine)
    %[1]s/sunmi-1 %[3]s check --via 10.20.1.1
    %[1]s/box tillgate log -f
    %[1]s/internet nft 'add element inet dark v4 { 8.8.8.8, 8.8.4.4 };
        add element inet dark v6 { 2001:4860:4860::8888, 2001:4860:4860::8844 }'
                          (dns.google vanishes; "flush set inet dark v4", and v6: it is back)

`, on, store.Box.Config, box)
		select {
		case <-ctx.Done():
		case <-p.Exited():
			t.Fatalf("the box ended with status %d", p.Status())
		}
	})
}

// build builds tillgate into a folder that goes when the store does.
func build(t *visit) string {
	dir, err := os.MkdirTemp("", "storelab-build-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "tillgate")
	if out, err := exec.Command("go", "build", "-o", program, "tillgate/cmd/tillgate").CombinedOutput(); err != nil {
		t.Fatalf("building tillgate (run this in its source, or name a program by -box): %v\n%s", err, out)
	}
	return program
}

// A visit is the lab's TB where there is no test.
type visit struct {
	cleanups []func()
	err      error
}

// run calls f, then what f has asked to be cleaned up, and returns what failed.
func run(f func(t *visit)) error {
	t := new(visit)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(t)
	}()
	<-done
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		cleanup := t.cleanups[last]
		t.cleanups = t.cleanups[:last]
		cleanup()
	}
	return t.err
}

func (t *visit) Helper()                     {}
func (t *visit) Cleanup(f func())            { t.cleanups = append(t.cleanups, f) }
func (t *visit) Failed() bool                { return t.err != nil }
func (t *visit) Logf(s string, args ...any)  { fmt.Fprintf(os.Stderr, s+"\n", args...) }
func (t *visit) Skipf(s string, args ...any) { t.Fatalf(s, args...) }

func (t *visit) Errorf(s string, args ...any) { t.err = errors.Join(t.err, fmt.Errorf(s, args...)) }

func (t *visit) Fatalf(s string, args ...any) {
	t.Errorf(s, args...)
	runtime.Goexit()
}
