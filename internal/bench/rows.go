package bench

import (
	"slices"
	"strings"
)

// A row is one kind of work, and who is compared at it. In its load @PORT@ is
// the server's, @DIR@ the folder, @SECONDS@ how long.
type row struct {
	name  string
	work  string // for people
	plane plane
	load  string
	rate  string // what the generator calls the rate,
	ops   string // and how many operations there were
	good  string // and how many of them went well; empty: those that it counts as operations
	unit  string // of an operation: its CPU is told in µs, a gigabyte's in s
	bulk  bool
	paced bool // the rate is given: only the CPU counts
	peers []peer
}

// A peer is what tillgate is compared with. The targets are the least ratio by
// which tillgate is to be better: by rate, by CPU, or by the better of both.
type peer struct {
	server            string
	rate, cpu, either float64
}

const (
	memoryRow = "idle"
	startRow  = "start"
	hourRow   = "hour"

	emulatedRow = "emulated"
)

const (
	closedLoop = "@DIR@/udpload -p @PORT@ -c 16 -w 100 -t @SECONDS@ -m "
	tunnels    = "@DIR@/tload @MODE@ -p @PORT@ -T 9000 -H target.bench.net -t @SECONDS@ -c "
)

var rows = []row{
	{
		name: "dns-cached", work: "DNS, documented names from cache, UDP", plane: planeDNS,
		load: closedLoop + "dns -f @DIR@/conf/names.txt", rate: "qps", ops: "recv", good: "noerr", unit: "answer",
		peers: []peer{{"batched echo", 0, 0, 0.90}, {"unbound", 0, 0, 1.3}, {"dnsdist", 0, 0, 1.3}, {"dnsmasq", 0, 0, 1.7}, {"coredns", 0, 0, 4}},
	},
	{
		name: "dns-denied", work: "DNS, denied names (NXDOMAIN, SOA, EDE, record)", plane: planeDNS,
		load: closedLoop + "dns -f @DIR@/conf/blocked.txt", rate: "qps", ops: "recv", good: "nx", unit: "answer",
		peers: []peer{{"batched echo", 0, 0, 0.85}, {"unbound", 0, 0, 1.1}},
	},
	{
		name: "dns-5k", work: "DNS at 5,000 a second", plane: planeDNS, paced: true,
		load: closedLoop + "dns -r 5000 -f @DIR@/conf/names.txt", rate: "qps", ops: "recv", good: "noerr", unit: "answer",
		peers: []peer{{server: "unbound", cpu: 1}},
	},
	{
		name: "doh", work: "DoH misses", plane: planeDNS,
		load: "@DIR@/udpload -p @PORT@ -c 16 -w 32 -t @SECONDS@ -m uniq", rate: "qps", ops: "recv", good: "noerr", unit: "miss",
		peers: []peer{{server: "coredns doh", rate: 1.3, cpu: 1 / 0.75}},
	},
	{
		name: "connect", work: "CONNECT tunnels (connect, decide, hello check, one exchange, close)", plane: planeProxy,
		load: mode("churn", "32"), rate: "tps", ops: "done", unit: "tunnel",
		peers: []peer{{"tinyproxy", 0, 0, 1.0}, {"squid", 0, 0, 1.3}},
	},
	{
		name: "bulk-1", work: "bytes through 1 tunnel", plane: planeProxy, bulk: true,
		load: mode("bulk", "1"), rate: "gbit", ops: "bytes", unit: "GB",
		peers: []peer{{"squid", 0, 0, 1.5}, {"go relay", 0, 0, 1.1}},
	},
	{
		name: "bulk-8", work: "bytes through 8 tunnels", plane: planeProxy, bulk: true,
		load: mode("bulk", "8"), rate: "gbit", ops: "bytes", unit: "GB",
		peers: []peer{{"squid", 0, 0, 2}, {"go relay", 0, 0, 1.1}},
	},
	{
		name: "ntp", work: "NTP answers", plane: planeNTP,
		load: closedLoop + "ntp", rate: "qps", ops: "recv", unit: "answer",
		peers: []peer{{server: "batched echo (ntp)"}, {"chronyd", 0, 0, 1.1}},
	},
	{
		name: "ntp-2k", work: "NTP at 2,000 a second", plane: planeNTP, paced: true,
		load: closedLoop + "ntp -r 2000", rate: "qps", ops: "recv", unit: "answer",
		peers: []peer{{server: "chronyd", cpu: 1}},
	},
}

// rowOf returns the row of a name.
func rowOf(name string) row {
	for _, r := range rows {
		if r.name == name {
			return r
		}
	}
	panic("bench: no row " + name) // a curve names it that is in no table
}

func mode(mode, concurrency string) string {
	return strings.Replace(tunnels, "@MODE@", mode, 1) + concurrency
}

func has(names []string, name string) bool { return slices.Contains(names, name) }

func list(names map[string]bool) string {
	var l []string
	for n := range names {
		l = append(l, n)
	}
	slices.Sort(l)
	return strings.Join(l, ", ")
}
