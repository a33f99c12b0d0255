package bench

// A plane is what a server is asked for.
type plane uint8

const (
	planeDNS plane = iota
	planeProxy
	planeNTP
)

// A server is one of the programs that are compared.
type server struct {
	name    string
	command string // @DIR@ is the folder
	debian  string // the package that has it; empty: it is built
	ports   map[plane]int
}

func one(p plane, port int) map[plane]int { return map[plane]int{p: port} }

const own = "tillgate"

var servers = []server{
	{own, "@DIR@/tillgate run --config @DIR@/etc --state @DIR@/state --socket @DIR@/tillgate.sock", "",
		map[plane]int{planeDNS: 5500, planeProxy: 5501, planeNTP: 5503}},
	{"batched echo", "@DIR@/udpecho 5400 batch 1", "", one(planeDNS, 5400)},
	{"batched echo (ntp)", "@DIR@/udpecho 7100 batch 1 ntp", "", one(planeNTP, 7100)},
	{"unbound", "unbound -d -c @DIR@/conf/unbound.conf", "unbound", one(planeDNS, 5401)},
	{"dnsmasq", "dnsmasq -C @DIR@/conf/dnsmasq.conf", "dnsmasq-base", one(planeDNS, 5402)},
	{"dnsdist", "dnsdist --supervised -C @DIR@/conf/dnsdist.lua", "dnsdist", one(planeDNS, 5403)},
	{"coredns", "@DIR@/coredns -conf @DIR@/conf/Corefile", "", one(planeDNS, 5404)},
	{"coredns doh", "@DIR@/coredns -conf @DIR@/conf/Corefile.doh", "", one(planeDNS, 5605)},
	{"squid", "squid -N -f @DIR@/conf/squid.conf", "squid", one(planeProxy, 6101)},
	{"tinyproxy", "tinyproxy -d -c @DIR@/conf/tinyproxy.conf", "tinyproxy", one(planeProxy, 6102)},
	{"go relay", "@DIR@/bench relay 127.0.0.1:6103", "", one(planeProxy, 6103)},
	{"chronyd", "chronyd -x -d -f @DIR@/conf/chrony.conf", "chrony", one(planeNTP, 7101)},
}

// upstreams stand where the Internet would, on the generator's processor: a
// resolver by DoH and by UDP, which gives the target's address for every name,
// the target itself, and a time server.
var upstreams = []server{
	{"DoH server", "dnsdist --supervised -C @DIR@/conf/dohserver.lua", "dnsdist", one(planeDNS, 5300)},
	{"target", "@DIR@/tload target 9000", "", one(planeProxy, 9000)},
	{"time server", "chronyd -x -d -f @DIR@/conf/timeserver.conf", "chrony", nil},
}

func find(name string) server {
	for _, s := range servers {
		if s.name == name {
			return s
		}
	}
	panic("bench: no server " + name) // a row names it that is in no table
}
