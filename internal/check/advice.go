package check

import (
	"slices"
	"strings"
)

// A remedy is what a fault is called, of several destinations together, and what to do
// about it: where the box itself goes there, and where a terminal does by way of the box.
// HOST and PORT stand for the destinations.
type remedy struct{ what, direct, via string }

const (
	letOut = "have the store's firewall, or who provides the line, let the box out to PORT of HOST; " +
		"if other hosts answer on that port, the service itself is down: ask the provider"
	onBox     = "on the box: tillgate check, tillgate status"
	inspected = "a firewall or virus scanner opens TLS: have who runs it leave HOST alone (no inspection of TLS)"
	between   = "a captive portal or somebody's proxy is in between: log in there, or have who runs this network let the box out"
	asMeant   = "somebody gives out wrong addresses for HOST; if it is meant to be in the store, its rule needs private: true"
	meddled   = "something in between meddles with TLS, or the service is in trouble: ask who runs this network, then the provider"
	fewClocks = "where as many others answer as the box needs (time.quorum), leave it; if they do not, "
	ownTime   = "on the box: tillgate status; it serves the time at port 123 (listen.ntp) to classes that have it"
	theClock  = "set the clock of the machine on which this test runs, and test again; if it is right, HOST's certificate was not renewed"
)

var remedies = map[Fault]remedy{
	Denied: {"the policy does not let them through",
		"the rule that says so is named; tillgate explain CLIENT HOST tells more",
		"is this machine in the class that is meant? On the box: tillgate explain ADDRESS HOST, with this machine's address"},
	Stranger: {"this machine is in no class of the box", "",
		"add its address or network under classes: in policy.yaml on the box, or test from a machine that is in a class"},
	Untold: {"the box does not say what this machine may reach", "",
		"name the class by --class, and by --config the folder of the files that have it"},
	NoDNS: {"DNS at the box does not answer", "",
		"is that the box's address, is it on, and is it in this network? If other names were answered, its limit for a client (dns.rate in tillgate.yaml) may be too low. On the box: tillgate status, which says where it listens"},
	Unresolved: {"names are not resolved, as the box can't ask its upstream",
		"tillgate status says more of the upstream; see to that first", onBox},
	NoName: {"names do not exist, or have no address",
		"the box's upstream says so, so the provider has taken HOST away, or mistaken it: ask the provider", "the box's upstream says so: ask the provider"},
	PrivateAddr: {"names lead to addresses that are not of the Internet",
		asMeant, asMeant},
	NoProxy: {"nobody is a proxy at the box",
		"", "is that the box's address? On the box: tillgate status, and listen.proxy in tillgate.yaml"},
	Busy:        {"the box has too many connections", "", "wait, or raise proxy.tunnels in tillgate.yaml; on the box: tillgate status"},
	Unreachable: {"there is no way there", "the box has no Internet: look at its cable, address and router", onBox},
	Refused:     {"connections are refused", letOut, letOut},
	TimedOut:    {"connections get no answer", letOut, letOut},
	Broken: {"connections are cut off, or stay silent",
		"a firewall that looks into TLS may do it: have who runs it leave HOST alone; else the service is in trouble: ask the provider", onBox},
	NotTLS:      {"what answers does not speak TLS", between, between},
	Intercepted: {"TLS is intercepted", inspected, inspected},
	WrongName: {"what answers has a certificate for another name",
		between + "; or HOST's addresses are wrong", between + "; or HOST's addresses are wrong"},
	WrongDate: {"certificates are not valid at this time", theClock, theClock},
	BadTLS:    {"the TLS handshake fails", meddled, meddled},
	Portal:    {"HTTP is led to somebody else's page", between, between},
	BadHTTP:   {"what answers does not speak HTTP", between, between},
	NoTime:    {"time servers do not answer", fewClocks + "have the store's firewall, or who provides the line, let the box out to PORT", ownTime},
	TimeRefused: {"time servers refuse to answer",
		"they do not serve the time, or not to this line; or a firewall on the way rejects udp/123; " + fewClocks + "have the store's firewall, or who provides the line, let the box out to PORT", ownTime},
	Unsynced:  {"time servers do not know the time", "wait; the box needs few of them", "the box has yet to find out the time; on the box: tillgate status"},
	WrongTime: {"time servers have another time", "tillgate status says which of them the box believes", "compare this machine's clock; on the box: tillgate status"},
	UnknownTime: {"the box does not know the time, and so can't resolve names",
		"let the box out to udp/123 of the documented time servers, or set its system clock once; tillgate status says what is missing",
		"let the box out to udp/123 of the documented time servers, or set its system clock once; on the box: tillgate status"},
	Interrupted: {"the test was ended before", "test again", "test again"},
}

// Text is what the fault is called, of several destinations together.
func (f Fault) Text() string { return remedies[f].what }

func (d direct) advice(f Fault, about []Target) string { return fill(remedies[f].direct, about) }
func (v via) advice(f Fault, about []Target) string    { return fill(remedies[f].via, about) }

// maxNamed is how many destinations an advice names.
const maxNamed = 3

func fill(text string, about []Target) string {
	var hosts, ports []string
	for _, t := range about {
		if !slices.Contains(hosts, t.Host) {
			hosts = append(hosts, t.Host)
		}
		if !slices.Contains(ports, t.ports()) {
			ports = append(ports, t.ports())
		}
	}
	return strings.NewReplacer("HOST", some(hosts, maxNamed), "PORT", some(ports, maxNamed)).Replace(text)
}
