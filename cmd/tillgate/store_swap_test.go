package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tillgate/internal/storelab"
)

// swapper makes the rules of two policies, and loads the tables in turn, as often as it is
// told. By nft alone: the rules of the routing policy would stop what slips through.
func swapper(t *testing.T, store *storelab.Store, policies ...string) (swap func(times int)) {
	t.Helper()
	var files []string
	for _, policy := range policies {
		store.Box.Write(t, "policy.yaml", policy)
		text, err := store.Box.Tillgate(t.Context(), "firewall", "print")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(store.Dir(), fmt.Sprintf("rules-%d", len(files)))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	swap = func(times int) {
		t.Helper()
		for i := range times {
			if _, err := store.Box.Run(t.Context(), "nft", "-f", files[i%len(files)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	swap(1)
	return swap
}

// TestStoreWANSwap puts one policy's rules in another's place, again and again, while a
// terminal of each class sends all it can.
func TestStoreWANSwap(t *testing.T) {
	t.Parallel()
	store := storelab.New(t, storelab.Config{})
	forward(t, store, 1)
	swap := swapper(t, store, storePolicy, tillPolicy)
	s := besiege(t, store)
	s.holds(t, "all is well")
	swap(150)
	s.holds(t, "rules were swapped")
}

// watch counts beside the table what comes to it, and what comes of that.
const watch = `table inet watch {
	counter good {}
	counter taken {}
	counter observed {}
	counter out {}
	counter within {}
	chain before {
		type filter hook prerouting priority mangle - 6;
		iifname "eth0.21" udp dport 4711 counter name good
		iifname "eth0.20" ip daddr 45.60.200.9 udp dport 4711 counter name observed
		iifname "eth0.20" ip6 daddr 2a02:26f0:45:99::9 udp dport 4711 counter name observed
	}
	chain after {
		type filter hook prerouting priority mangle - 4;
		iifname "eth0.21" udp dport 4711 counter name taken
	}
	chain forward {
		type filter hook forward priority filter;
		iifname "eth0.20" oifname "wan" udp dport 4711 counter name out
		iifname "eth0.20" oifname "eth0.99" counter name within
	}
}`

// TestStoreSwapGood puts rules in each other's place while a terminal sends what is not
// spoofed, an observed one sends to the Internet and into the store, and connections of an
// admin, and of the store, go on.
func TestStoreSwapGood(t *testing.T) {
	t.Parallel()
	store := storelab.New(t, storelab.Config{})
	forward(t, store, 1)
	sunmi, pos, pc, guest := store.Terminal(t, "sunmi"), store.Terminal(t, "pos"), store.Terminal(t, "pc"), store.Terminal(t, "guest")
	store.Box.Write(t, settingsFile, fmt.Sprintf("firewall: {interfaces: {sunmi: [eth0.21]}, admin: [%v/32, 10.20.77.0/24]}\n", pc.Addr4))
	policy := strings.Replace(storePolicy, "local/lab]}", "local/lab], mode: observe}", 1)
	swap := swapper(t, store, policy, strings.Replace(policy, "  pc: ", "  office: ", 1))
	if _, err := store.Box.Run(t.Context(), "nft", watch); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	floods := func(from *storelab.Terminal, to ...string) {
		for _, to := range to {
			c, err := from.ListenPacket(ctx, "udp", ":0")
			if err != nil {
				t.Fatal(err)
			}
			addr := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))
			all.Go(func() {
				defer c.Close()
				pace := time.NewTicker(100 * time.Microsecond)
				defer pace.Stop()
				for ctx.Err() == nil {
					c.WriteTo([]byte("x"), addr)
					<-pace.C
				}
			})
		}
	}
	floods(sunmi, "45.60.200.9:4711", "[2a02:26f0:45:99::9]:4711")
	floods(pos, "45.60.200.9:4711", "[2a02:26f0:45:99::9]:4711",
		fmt.Sprintf("%v:4711", guest.Addr4), fmt.Sprintf("[%v]:4711", guest.Addr6))
	repeatAt(t, store.Box.Host, ":22")
	repeatAt(t, sunmi.Host, ":7000")
	for _, talk := range []struct {
		from *storelab.Terminal
		to   string
	}{{pc, fmt.Sprintf("%v:22", pc.Box4)}, {guest, fmt.Sprintf("%v:7000", sunmi.Addr4)}, {guest, fmt.Sprintf("[%v]:7000", sunmi.Addr6)}} {
		c, err := talk.from.Dial(ctx, "tcp", talk.to)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer c.Close()
			for ctx.Err() == nil {
				_, err := io.WriteString(c, "hello")
				if err == nil {
					_, err = io.ReadFull(c, make([]byte, 5))
				}
				if err != nil {
					t.Errorf("the connection of %s to %s ended: %v", talk.from.Name, talk.to, err)
					return
				}
			}
		})
	}
	swap(60)
	stop()
	all.Wait()

	var n map[string]int
	waitFor(t, func() bool { // no packet is on its way any more
		before := n
		n = watched(t, store)
		return maps.Equal(n, before)
	})
	t.Logf("packets: %v", n)
	if n["good"] == 0 || n["observed"] == 0 {
		t.Error("nothing was sent")
	}
	if n["good"] != n["taken"] {
		t.Errorf("%d packets were taken for spoofed", n["good"]-n["taken"])
	}
	if n["observed"] != n["out"] {
		t.Errorf("%d packets of an observed class were stopped", n["observed"]-n["out"])
	}
	if n["within"] != 0 {
		t.Errorf("%d packets of an observed class got into the store", n["within"])
	}
}

// watched are the counters of watch.
func watched(t *testing.T, store *storelab.Store) map[string]int {
	t.Helper()
	out, err := store.Box.Run(t.Context(), "nft", "--json", "list counters table inet watch")
	if err != nil {
		t.Fatal(err)
	}
	var reply struct {
		Nftables []struct {
			Counter struct {
				Name    string
				Packets int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &reply); err != nil {
		t.Fatal(err)
	}
	n := make(map[string]int)
	for _, o := range reply.Nftables {
		if o.Counter.Name != "" {
			n[o.Counter.Name] = o.Counter.Packets
		}
	}
	return n
}
