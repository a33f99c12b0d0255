package bench

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tillgate/internal/storelab"
)

//go:embed load/*.c conf/*
var files embed.FS

// coreDNSTimeout is how long CoreDNS may take to be fetched and built.
const coreDNSTimeout = 15 * time.Minute

// Prepare fills a folder with all that a run needs: the generators, compiled;
// tillgate and the bench's own command, built from the working folder, which must
// be the module's root; CoreDNS, which is no package of Debian's, by the Go module
// proxy; the configurations; a certificate. What is there of CoreDNS already is
// kept. Without a C compiler or tillgate there is nothing to measure; without
// CoreDNS its rows are left out.
func Prepare(ctx context.Context, o Options) error {
	dir, log := o.Dir, o.Log
	// A pid file of the last time may name a process that is another's now.
	if err := os.RemoveAll(filepath.Join(dir, "results")); err != nil {
		return err
	}
	for _, sub := range []string{"conf/tls", "results", "etc", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	// squid writes its log as another user.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, "results"), 0o777)); err != nil {
		return err
	}
	if err := writeFiles(dir); err != nil {
		return err
	}
	ca, err := storelab.NewCA(filepath.Join(dir, "conf/tls"))
	if err != nil {
		return err
	}
	cert, key, err := ca.Certificate("localhost")
	if err != nil {
		return err
	}
	for from, to := range map[string]string{cert: "cert.pem", key: "key.pem"} {
		if err := os.Rename(from, filepath.Join(dir, "conf/tls", to)); err != nil {
			return err
		}
	}
	builds := [][]string{
		{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", "@DIR@/tillgate", "./cmd/tillgate"},
		{"go", "build", "-o", "@DIR@/bench", "./internal/bench/cmd/bench"},
		{"gcc", "-O2", "-w", "-pthread", "-o", "@DIR@/udpecho", "@DIR@/load/udpecho.c"},
		{"gcc", "-O2", "-w", "-o", "@DIR@/udpload", "@DIR@/load/udpload.c"},
		{"gcc", "-O2", "-w", "-o", "@DIR@/udpcrowd", "@DIR@/load/udpcrowd.c"},
		{"gcc", "-O2", "-w", "-o", "@DIR@/tload", "@DIR@/load/tload.c"},
	}
	for _, b := range builds {
		c := command(ctx, dir, b...)
		c.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is installed
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, out)
		}
	}
	if o.wants(emulatedRow) {
		if err := prepareEmulated(ctx, dir); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "coredns")); err == nil {
		return nil
	}
	fmt.Fprintln(log, "building CoreDNS; this takes minutes")
	limited, cancel := context.WithTimeout(ctx, coreDNSTimeout)
	defer cancel()
	c := command(limited, dir, "go", "install", "github.com/coredns/coredns@latest")
	c.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		fmt.Fprintf(log, "CoreDNS is left out: %v\n%s", err, out)
	}
	return ctx.Err()
}

// command makes a command of words in which @DIR@ stands for the folder.
func command(ctx context.Context, dir string, words ...string) *exec.Cmd {
	for i, w := range words {
		words[i] = strings.ReplaceAll(w, "@DIR@", dir)
	}
	return exec.CommandContext(ctx, words[0], words[1:]...)
}

// writeFiles writes what is embedded, and what tillgate reads where it reads it.
func writeFiles(dir string) error {
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(filepath.Join(dir, name), 0o755))
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		switch d.Name() {
		case "tillgate.yaml", "policy.yaml":
			to = filepath.Join(dir, "etc", d.Name())
		}
		return os.WriteFile(to, []byte(strings.ReplaceAll(string(text), "@DIR@", dir)), 0o644)
	})
}
