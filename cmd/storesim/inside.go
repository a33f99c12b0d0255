package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"tillgate/internal/storelab"
	"tillgate/policy"
)

// policyText is that of the example's store. Everything else is the box's default.
const policyText = `# A SIMULATED store: the terminals and the Internet are storesim's. An edit is in force at once.
version: 1
packs: [payxpert]
classes:
  sunmi: {networks: [10.20.1.0/24], services: [payxpert/emv, payxpert/apm, payxpert/logs, "payxpert/sunmi-*"]}
  pos:   {networks: [10.20.0.0/24], services: [payxpert/emv, payxpert/apm, payxpert/logs], time: true}
  pc:    {networks: [10.20.9.0/24], services: [payxpert/central, local/simulated], mode: observe}
  you:   {networks: [127.0.0.0/8], services: ["payxpert/*"]}
services:
  - id: local/simulated
    reason: SIMULATED, as all of this store; nothing here is real
    destinations:
      - {host: ` + simulated + `, ports: [tcp/443]}
deny:
  - host: "*.ads.example"
`

// simulated is a name that the store's own service has.
const simulated = "simulated.payxpert.com"

// inside is the store, in its own network, until standard input ends.
func inside(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := ownNetwork(ctx); err != nil {
		return err
	}
	document, err := policy.Embedded()
	if err != nil {
		return fmt.Errorf("reading the document: %w", err)
	}
	ca, err := storelab.NewCA(dir)
	if err != nil {
		return fmt.Errorf("making the Internet's CA: %w", err)
	}
	in, err := openInternet(document, ca)
	if err != nil {
		return fmt.Errorf("making the Internet: %w", err)
	}
	defer in.close()

	config := filepath.Join(dir, "config")
	if err := os.Mkdir(config, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(config, "policy.yaml"), []byte(policyText), 0o600); err != nil {
		return err
	}
	if err := play(ctx, dir, ca); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// play starts the box and has the terminals use it.
func play(ctx context.Context, dir string, ca *storelab.CA) error {
	b, err := startBox(ctx, dir, ca.File)
	if err != nil {
		return err
	}
	group, playing := errgroup.WithContext(ctx)
	group.Go(func() error { return b.watch(playing) })
	for _, d := range doors {
		l, err := net.Listen("unix", d.socket(dir))
		if err != nil {
			group.Go(func() error { return fmt.Errorf("the store's %s: %w", d.name, err) })
			break
		}
		r := relay{from: l, network: "tcp", to: net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port))}
		group.Go(func() error { return r.serve(playing) })
	}
	for _, t := range newTerminals(ca) {
		group.Go(func() error { t.live(playing); return nil })
	}
	fmt.Print(ready)
	err = group.Wait()
	if stopErr := b.stop(); err == nil {
		err = stopErr
	}
	return err
}

// boxAddr is the one that the box has in its Internet.
const boxAddr = "45.60.0.2"

// ownNetwork makes every address the loopback's, so that the store's Internet can have those
// of the document. Addresses that are local by a route alone are none of an interface's: the box
// takes them for other machines (ip-route(8), type local).
func ownNetwork(ctx context.Context) error {
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", boxAddr + "/32", "dev", "lo"},
		{"route", "add", "local", "0.0.0.0/0", "dev", "lo", "src", boxAddr},
	} {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("making the store's network: ip %v: %w; it needs iproute2, and a system that lets its users make networks\n%s", args, err, out)
		}
	}
	return nil
}
