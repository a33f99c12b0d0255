package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
	"tillgate/policy"
)

// These tests run the real program as the box of a store in network namespaces, with
// unbound as dns.google: see internal/storelab.

// storePolicy has a class for each network of the lab's store but guest.
const storePolicy = `version: 1
classes:
  sunmi: {networks: [10.20.1.0/24, "fd10:20:1::/64"], services: [payxpert/emv, payxpert/apm, payxpert/logs, "payxpert/sunmi-*"]}
  pos:   {networks: [10.20.0.0/24], interfaces: [eth0.20], services: [payxpert/emv, payxpert/apm, payxpert/logs, local/lab]}
  pc:    {networks: [10.20.9.0/24, "fd10:20:9::/64"], services: [payxpert/central]}
services:
  - id: local/lab
    reason: hostile and odd answers
    destinations:
      - {host: "*.lab.example", ports: [tcp/443]}
      - {host: printer.lab.example, ports: [tcp/443], private: true}
`

// rows are the rows of the document that each class of storePolicy may use.
var rows = map[string][]int{"sunmi": {1, 2, 3, 5, 6, 7, 8, 9}, "pos": {1, 2, 3}, "pc": {4}}

// documentedNames are the document's names by row; of a wildcard, one that it matches.
func documentedNames(t *testing.T) map[int][]string {
	t.Helper()
	set, err := policy.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[int][]string)
	for _, s := range set.Services() {
		names[s.Row] = append(names[s.Row], storelab.Names(s.Destinations)...)
	}
	if len(names) != 9 {
		t.Fatalf("%d rows in the embedded pack", len(names))
	}
	return names
}

// newStore builds a store in which every documented name exists, with storePolicy.
func newStore(t *testing.T) *storelab.Store {
	t.Helper()
	var names []string
	for _, row := range documentedNames(t) {
		names = append(names, row...)
	}
	store := storelab.New(t, storelab.Config{Names: names})
	store.Box.Write(t, "policy.yaml", storePolicy)
	return store
}

// ask sends a query from a terminal and returns the reply.
func ask(term *storelab.Terminal, network string, server netip.Addr, m *dns.Msg) (reply *dns.Msg, err error) {
	err = term.Do(func() error {
		c := &dns.Client{Net: network, Timeout: 5 * time.Second}
		reply, _, err = c.Exchange(m, netip.AddrPortFrom(server, 53).String())
		return err
	})
	return reply, err
}

// resolve asks until the answer is not SERVFAIL, as clients do: on a busy machine the
// upstream may not answer in the box's time. The last reply counts.
func resolve(t *testing.T, term *storelab.Terminal, network string, server netip.Addr, m *dns.Msg) (reply *dns.Msg) {
	t.Helper()
	waitFor(t, func() (done bool) {
		var err error
		if reply, err = ask(term, network, server, m); err != nil {
			t.Fatalf("%s: %v", m.Question[0].Name, err)
		}
		return reply.Rcode != dns.RcodeServerFailure
	})
	return reply
}

// question is a query as a stub resolver sends it.
func question(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	return m
}

// addresses are those of a reply; the rest of it in a word.
func addresses(m *dns.Msg) (addrs []netip.Addr, gist string) {
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			a, _ := netip.AddrFromSlice(rr.A.To4())
			addrs = append(addrs, a)
		case *dns.AAAA:
			a, _ := netip.AddrFromSlice(rr.AAAA)
			addrs = append(addrs, a)
		}
	}
	gist = dns.RcodeToString[m.Rcode]
	if o := m.IsEdns0(); o != nil {
		for _, e := range o.Option {
			if e, ok := e.(*dns.EDNS0_EDE); ok {
				gist += fmt.Sprintf(" ede %d", e.InfoCode)
			}
		}
	}
	return addrs, gist
}

// record is what the tests look at in a line of `tillgate log --json`.
type record struct {
	Plane, Event, Verdict, Reason, Client, Class, Name, Qtype, Rcode, Service, Dest, By, Detail, Proto string
	Port, Row, Count, Up, Down                                                                         int
	Stale                                                                                              bool
	Answers                                                                                            []string
}

// journal returns the box's records that the arguments of `tillgate log` choose.
func journal(t *testing.T, store *storelab.Store, args ...string) []record {
	t.Helper()
	out, err := store.Box.Tillgate(t.Context(), append([]string{"log", "--json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var all []record
	for line := range strings.Lines(out) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// TestStoreDocumentedNames asks for every documented name from each class, over both
// families and protocols. A class gets what its rows have, with the addresses that the
// Internet has for it, and no other; but time servers' are the box's own.
func TestStoreDocumentedNames(t *testing.T) {
	store := newStore(t)
	store.Box.Start(t)
	names := documentedNames(t)
	for class, may := range rows {
		term := store.Terminal(t, class)
		allowed := 0
		for row, list := range names {
			for _, name := range list {
				a4, a6 := store.Internet.Addr(t, name)
				if row == 7 { // the time servers: the box is all of them
					a4, a6 = term.Box4, term.Box6
				}
				for i, way := range []struct {
					network string
					server  netip.Addr
					qtype   uint16
					want    netip.Addr
				}{
					{"udp", term.Box4, dns.TypeA, a4},
					{"udp", term.Box6, dns.TypeAAAA, a6},
					{"tcp", term.Box4, dns.TypeAAAA, a6},
					{"tcp", term.Box6, dns.TypeA, a4},
				} {
					addrs, gist := addresses(resolve(t, term, way.network, way.server, question(name, way.qtype)))
					rcode, _, _ := strings.Cut(gist, " ")
					if slices.Contains(may, row) {
						allowed++
						if len(addrs) == 0 || !slices.Contains(addrs, way.want) {
							t.Errorf("%s may have %s (row %d), way %d: %v, %s; want %v", class, name, row, i, addrs, gist, way.want)
						}
					} else if len(addrs) > 0 || rcode != "NXDOMAIN" && rcode != "NOERROR" || !strings.HasSuffix(gist, "ede 15") {
						t.Errorf("%s may not have %s (row %d), way %d: %v, %s", class, name, row, i, addrs, gist)
					}
				}
			}
		}
		if allowed == 0 {
			t.Errorf("%s: nothing was tried", class)
		}
		records := journal(t, store, "--class", class)
		if len(records) == 0 {
			t.Errorf("%s: no records", class)
		}
		for _, r := range records {
			if r.Verdict == "allow" && !slices.Contains(may, r.Row) || r.Verdict == "deny" && r.Reason != "other-class" {
				t.Errorf("%s: record %+v", class, r)
			}
		}
	}
}

// TestStoreEmbeddedDefaults: without a file every private address is a terminal.
func TestStoreEmbeddedDefaults(t *testing.T) {
	store := newStore(t)
	if err := os.Remove(store.Box.Config + "/policy.yaml"); err != nil {
		t.Fatal(err)
	}
	store.Box.Start(t)
	till := store.Terminal(t, "guest")
	for row, list := range documentedNames(t) {
		for _, name := range list {
			addrs, gist := addresses(resolve(t, till, "udp", till.Box4, question(name, dns.TypeA)))
			if (len(addrs) > 0) != (row != 4) {
				t.Errorf("%s (row %d): %v, %s", name, row, addrs, gist)
			}
		}
	}
}

// TestStoreContract is the DNS contract as the usual clients see it.
func TestStoreContract(t *testing.T) {
	store := newStore(t)
	var records strings.Builder
	fmt.Fprintln(&records, "ok.lab.example. 300 A 45.60.7.1")
	fmt.Fprintln(&records, "rebind.lab.example. 300 A 10.20.1.1\nrebind.lab.example. 300 AAAA fd10:20:1::1")
	fmt.Fprintln(&records, "half.lab.example. 300 A 45.60.7.2\nhalf.lab.example. 300 A 127.0.0.1")
	fmt.Fprintln(&records, "printer.lab.example. 300 A 10.20.5.7")
	fmt.Fprintln(&records, "cname.lab.example. 300 CNAME edge.cdn.example.\nedge.cdn.example. 60 A 45.60.7.3")
	fmt.Fprintln(&records, "https.lab.example. 300 A 45.60.7.4\nhttps.lab.example. 300 HTTPS 1 . ech=AEX+DQBB")
	for i := range 60 {
		fmt.Fprintf(&records, "many.lab.example. 300 A 45.60.8.%d\n", i)
	}
	store.Upstream.Serve(t, records.String())
	store.Box.Start(t)
	pos := store.Terminal(t, "pos")
	guest := store.Terminal(t, "guest")
	box := pos.Box4.String()

	for _, name := range []string{"ok", "rebind", "half", "printer", "cname", "many", "gone"} {
		resolve(t, pos, "udp", pos.Box4, question(name+".lab.example", dns.TypeA))
		resolve(t, pos, "udp", pos.Box4, question(name+".lab.example", dns.TypeAAAA))
	}

	dig := func(term *storelab.Terminal, args ...string) string {
		t.Helper()
		out, err := term.Run(t.Context(), append([]string{"dig", "+nocmd", "+noqr", "+tries=1", "+time=3"}, args...)...)
		if err != nil && !strings.Contains(err.Error(), "status 9") { // dig's for no answer
			t.Fatal(err)
		}
		return out
	}
	for _, tt := range []struct {
		what string
		term *storelab.Terminal
		args []string
		has  []string
		not  []string
	}{
		{"a name of a wildcard", pos, []string{"ok.lab.example", "@" + box}, []string{"status: NOERROR", "45.60.7.1", "flags: qr rd ra;"}, nil},
		{"a name that is not documented", pos, []string{"example.com", "@" + box},
			[]string{"status: NXDOMAIN", "EDE: 15 (Blocked)", "not-documented", "example.com.\t\t10\tIN\tSOA", "EDNS: version: 0"}, nil},
		{"without EDNS", pos, []string{"+noedns", "example.com", "@" + box}, []string{"status: NXDOMAIN", "SOA"}, []string{"EDNS"}},
		{"above an allowed name", pos, []string{"payxpert.com", "@" + box}, []string{"status: NOERROR", "ANSWER: 0", "SOA"}, nil},
		{"the root", pos, []string{".", "NS", "@" + box}, []string{"status: NOERROR", "ANSWER: 0"}, nil},
		{"another row's name", pos, []string{"api.eu.sunmi.com", "@" + box}, []string{"status: NXDOMAIN", "other-class"}, nil},
		{"rebinding", pos, []string{"rebind.lab.example", "@" + box}, []string{"status: NOERROR", "ANSWER: 0", "private-address"}, []string{"10.20.1.1"}},
		{"rebinding by IPv6", pos, []string{"rebind.lab.example", "AAAA", "@" + box}, []string{"ANSWER: 0", "private-address"}, []string{"fd10:20:1::1"}},
		{"half a rebinding", pos, []string{"half.lab.example", "@" + box}, []string{"45.60.7.2"}, []string{"127.0.0.1"}},
		{"a rule with private: true", pos, []string{"printer.lab.example", "@" + box}, []string{"10.20.5.7"}, nil},
		{"a CNAME to a name of no rule", pos, []string{"cname.lab.example", "@" + box}, []string{"CNAME\tedge.cdn.example.", "45.60.7.3"}, nil},
		{"the target itself", pos, []string{"edge.cdn.example", "@" + box}, []string{"status: NXDOMAIN"}, nil},
		{"HTTPS records", pos, []string{"https.lab.example", "TYPE65", "@" + box}, []string{"status: NOERROR", "ANSWER: 0", "SOA"}, nil},
		{"a name that does not exist", pos, []string{"gone.lab.example", "@" + box}, []string{"status: NXDOMAIN", "SOA"}, []string{"EDE"}},
		{"too much for UDP", pos, []string{"+ignore", "+bufsize=512", "many.lab.example", "@" + box}, []string{"flags: qr tc rd ra"}, nil},
		{"so dig asks by TCP", pos, []string{"+bufsize=512", "many.lab.example", "@" + box}, []string{"ANSWER: 60", "(TCP)"}, nil},
		{"EDNS 1", pos, []string{"+edns=1", "+noednsneg", "ok.lab.example", "@" + box}, []string{"status: BADVERS"}, nil},
		{"an unknown EDNS option and a cookie", pos, []string{"+ednsopt=65001:beef", "+cookie", "+subnet=10.0.0.0/8", "ok.lab.example", "@" + box},
			[]string{"status: NOERROR"}, []string{"65001", "CLIENT-SUBNET", "COOKIE"}},
		{"DO", pos, []string{"+dnssec", "ok.lab.example", "@" + box}, []string{"flags: do", "status: NOERROR"}, []string{"RRSIG", " ad"}},
		{"chaos", pos, []string{"version.bind", "CH", "TXT", "@" + box}, []string{"status: NOTIMP"}, nil},
		{"notify", pos, []string{"+opcode=notify", "ok.lab.example", "@" + box}, []string{"status: NOTIMP"}, nil},
		{"the box", pos, []string{"tillgate.internal", "@" + box}, []string{"\tA\t" + box}, nil},
		{"the box by IPv6", pos, []string{"tillgate.internal", "AAAA", "@" + pos.Box6.String()}, []string{"AAAA\t" + pos.Box6.String()}, nil},
		{"the box's IPv6 by IPv4", pos, []string{"tillgate.internal", "AAAA", "@" + box}, []string{"AAAA\t" + pos.Box6.String()}, nil},
		{"designated resolvers", pos, []string{"_dns.resolver.arpa", "SVCB", "@" + box}, []string{"status: NOERROR", "ANSWER: 0"}, nil},
		{"an address of the box in another network", pos, []string{"ok.lab.example", "@10.20.9.1"}, []string{"45.60.7.1", "SERVER: 10.20.9.1#53"}, nil},
		{"a network of no class", guest, []string{"ok.lab.example", "@" + guest.Box4.String()}, []string{"status: REFUSED", "EDE: 18 (Prohibited)"}, nil},
	} {
		out := dig(tt.term, tt.args...)
		for _, s := range tt.has {
			if !strings.Contains(out, s) {
				t.Errorf("%s: no %q in\n%s", tt.what, s, out)
			}
		}
		for _, s := range tt.not {
			if strings.Contains(out, s) {
				t.Errorf("%s: %q in\n%s", tt.what, s, out)
			}
		}
	}

	// The C library, as most programs ask.
	if out, err := pos.Run(t.Context(), "getent", "ahosts", "ok.lab.example"); err != nil || !strings.Contains(out, "45.60.7.1") {
		t.Errorf("getent: %v\n%s", err, out)
	}

	// Nobody on the Internet hears anything.
	c, err := store.Internet.Dial(t.Context(), "udp", netip.AddrPortFrom(store.Box.Addr4, 53).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wire, _ := question("ok.lab.example", dns.TypeA).Pack()
	if _, err := c.Write(wire); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	var timeout net.Error
	if n, err := c.Read(make([]byte, 512)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("the Internet got %d bytes, %v", n, err)
	}
	var found []record
	waitFor(t, func() bool {
		found = journal(t, store, "--client", store.Internet.Addr4.String())
		return len(found) > 0
	})
	if len(found) != 1 || found[0].Reason != "unknown-client" {
		t.Errorf("recorded of it: %+v", found)
	}
}

// TestStoreUpstream kills, black-holes and brings back the upstream.
func TestStoreUpstream(t *testing.T) {
	store := newStore(t)
	store.Upstream.Serve(t, "soon.lab.example. 1 A 45.60.7.1\nother.lab.example. 300 A 45.60.7.2\nlater.lab.example. 300 A 45.60.7.3")
	store.Box.Write(t, "tillgate.yaml", "cache: {warm: 0s}\ndns: {rate: 0}\n") // the test asks in tight loops
	box := store.Box.Start(t)
	pos := store.Terminal(t, "pos")
	q := func(name string) (string, string) {
		t.Helper()
		m, err := ask(pos, "udp", pos.Box4, question(name, dns.TypeA))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		addrs, gist := addresses(m)
		return fmt.Sprint(addrs), gist
	}
	expect := func(when, name, addrs, gist string) {
		t.Helper()
		if a, g := q(name); a != addrs || g != gist {
			t.Errorf("%s: %s: %s %s, want %s %s", when, name, a, g, addrs, gist)
		}
	}
	for _, name := range []string{"soon.lab.example", "other.lab.example"} {
		resolve(t, pos, "udp", pos.Box4, question(name, dns.TypeA))
	}
	expect("all is well", "other.lab.example", "[45.60.7.2]", "NOERROR")

	store.Upstream.Kill()
	expect("upstream killed", "other.lab.example", "[45.60.7.2]", "NOERROR")
	expect("upstream killed", "example.com", "[]", "NXDOMAIN ede 15")
	if _, g := q("later.lab.example"); g != "SERVFAIL ede 22" && g != "SERVFAIL ede 23" { // it was refused, or not in time
		t.Errorf("upstream killed: a name that is not known: %s", g)
	}
	waitFor(t, func() bool { // its second has passed
		a, g := q("soon.lab.example")
		return a == "[45.60.7.1]" && g == "NOERROR ede 3"
	})
	if out, err := store.Box.Tillgate(t.Context(), "status"); err == nil || !strings.Contains(out, "upstream") {
		t.Errorf("status with the upstream gone: %v\n%s", err, out)
	}
	if r := journal(t, store, "--name", "soon.lab.example"); !slices.ContainsFunc(r, func(r record) bool { return r.Stale }) {
		t.Errorf("a stale answer is recorded as %+v", r)
	}

	// After a restart without an upstream, what was known serves as stale.
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
	store.Box.Start(t)
	expect("restarted without an upstream", "other.lab.example", "[45.60.7.2]", "NOERROR ede 3")

	store.Upstream.Start(t)
	waitFor(t, func() bool { a, _ := q("later.lab.example"); return a == "[45.60.7.3]" })

	// Black-holed: packets vanish, connections stand. While one query waits for the
	// upstream, cached and denied names are answered.
	store.Upstream.Serve(t, "other.lab.example. 300 A 45.60.7.2\nnew.lab.example. 300 A 45.60.7.4\nnewer.lab.example. 300 A 45.60.7.5")
	waitFor(t, func() bool { // it is fetched in the background
		_, gist := q("other.lab.example")
		return gist == "NOERROR"
	})
	store.Internet.BlackHole(t, store.Upstream.Addrs...)
	waiting := make(chan string, 1)
	go func() {
		m, err := ask(pos, "udp", pos.Box4, question("new.lab.example", dns.TypeA))
		if err != nil {
			waiting <- err.Error()
			return
		}
		_, gist := addresses(m)
		waiting <- gist
	}()
	answered := 0
	for done := false; !done && !t.Failed(); {
		select {
		case gist := <-waiting:
			if gist != "SERVFAIL ede 22" && gist != "SERVFAIL ede 23" {
				t.Errorf("the query that waited: %s", gist)
			}
			done = true
		default:
			expect("black hole", "other.lab.example", "[45.60.7.2]", "NOERROR")
			expect("black hole", "example.com", "[]", "NXDOMAIN ede 15")
			answered++
		}
	}
	if answered == 0 {
		t.Error("nothing was answered while one query waited for the upstream")
	}
	store.Internet.Heal(t)
	healed := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // the contract's bound
	defer cancel()
	for {
		if a, _ := q("newer.lab.example"); a == "[45.60.7.5]" {
			t.Logf("answers again %v after the black hole ended", time.Since(healed).Round(time.Millisecond))
			break
		}
		if ctx.Err() != nil {
			t.Fatal("no answer 10 s after the black hole ended")
		}
	}
}

// waitFor calls f, which waits for something itself, until it is true.
func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); {
		if time.Now().After(end) {
			t.Fatal("it did not happen within 30 s")
		}
	}
}

// TestStorePolicyEdits edits the policy while terminals ask: well, badly, and away.
func TestStorePolicyEdits(t *testing.T) {
	store := newStore(t)
	store.Upstream.Serve(t, "added.example. 300 A 45.60.7.9\nok.lab.example. 300 A 45.60.7.1")
	store.Box.Write(t, "tillgate.yaml", "dns: {rate: 0}\n") // the test asks in tight loops
	box := store.Box.Start(t)
	pos := store.Terminal(t, "pos")

	// All the while, another terminal must get every answer.
	resolve(t, pos, "udp", pos.Box4, question("ok.lab.example", dns.TypeA))
	load, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	asked := 0
	running.Go(func() {
		for load.Err() == nil {
			m, err := ask(pos, "udp", pos.Box4, question("ok.lab.example", dns.TypeA))
			if err != nil {
				t.Errorf("under load: %v", err)
				return
			}
			if addrs, gist := addresses(m); len(addrs) != 1 {
				t.Errorf("under load: %s", gist)
				return
			}
			asked++
		}
	})
	defer running.Wait()
	defer stop()

	may := func() bool {
		m, err := ask(pos, "udp", pos.Box4, question("added.example", dns.TypeA))
		if err != nil {
			t.Fatal(err)
		}
		addrs, _ := addresses(m)
		return len(addrs) == 1
	}
	if may() {
		t.Fatal("added.example is allowed before it is added")
	}
	good := storePolicy + "      - {host: added.example, ports: [tcp/443]}\n"
	store.Box.Write(t, "policy.yaml", good)
	waitFor(t, may)

	changes := func() []record { return journal(t, store, "--plane", "policy") }
	recorded := func(detail string) func() bool {
		return func() bool {
			return slices.ContainsFunc(changes(), func(r record) bool { return strings.Contains(r.Detail, detail) })
		}
	}
	store.Box.Write(t, "policy.yaml", strings.Replace(good, "services: [payxpert/central]", "services: [payxpert/centrall]", 1))
	waitFor(t, recorded("payxpert/centrall"))
	if !may() {
		t.Error("a bad edit took the last good policy away")
	}
	out, _ := store.Box.Tillgate(t.Context(), "status")
	if !strings.Contains(out, "policy.yaml:5") {
		t.Errorf("status does not say where the edit is bad:\n%s", out)
	}
	if out, err := store.Box.Tillgate(t.Context(), "policy", "check"); err == nil || !strings.Contains(out+err.Error(), "did you mean") {
		t.Errorf("policy check: %v\n%s", err, out)
	}

	// Bad files survive a restart on the last good copy, a vanished one too.
	stop()
	running.Wait()
	box.Stop(t)
	box = store.Box.Start(t)
	if !may() {
		t.Error("after a restart with a bad edit, the last good policy does not serve")
	}
	if err := os.Remove(store.Box.Config + "/policy.yaml"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, recorded("the file has vanished"))
	if !may() {
		t.Error("a file that vanished took the last good policy away")
	}

	store.Box.Write(t, "policy.yaml", storePolicy)
	waitFor(t, func() bool { return !may() })
	if asked == 0 {
		t.Error("there was no load")
	}
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}

// TestStoreForgedSources: a device that sends queries from addresses which answer no ARP
// makes replies pile up in the kernel. It must cost nobody else an answer.
func TestStoreForgedSources(t *testing.T) {
	store := newStore(t)
	store.Box.Write(t, "tillgate.yaml", "dns: {rate: 0}\n")
	store.Box.Start(t)
	pos, forger := store.Terminal(t, "pos"), store.Terminal(t, "guest")
	if _, err := ask(forger, "udp", forger.Box4, question("x", dns.TypeA)); err != nil { // it knows the box's address now
		t.Fatal(err)
	}
	var forged []net.Conn
	err := forger.Do(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/arp_ignore", []byte("8"), 0); err != nil {
			return err
		}
		for i := range 100 {
			from := fmt.Sprintf("10.20.99.%d", 100+i)
			if out, err := exec.Command("ip", "addr", "add", from+"/24", "dev", "eth0").CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: forger.Box4.AsSlice(), Port: 53})
			if err != nil {
				return err
			}
			forged = append(forged, c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wire, err := question("x.example", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		for _, c := range forged {
			for range 10 {
				c.Write(wire)
			}
		}
		for range 10 {
			m, err := ask(pos, "udp", pos.Box4, question("example.com", dns.TypeA))
			if err != nil {
				t.Fatalf("another terminal got no answer: %v", err)
			}
			if _, gist := addresses(m); gist != "NXDOMAIN ede 15" {
				t.Fatalf("another terminal got %s", gist)
			}
		}
	}
	for _, c := range forged {
		c.Close()
	}
}
