package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/internal/check"
	"tillgate/internal/storelab"
)

// checkPolicy has a class for each of three networks, and the document alone.
const checkPolicy = `version: 1
classes:
  sunmi: {networks: [10.20.1.0/24, "fd10:20:1::/64"], services: [payxpert/emv, payxpert/apm, payxpert/logs, "payxpert/sunmi-*"]}
  pos:   {networks: [10.20.0.0/24, "fd10:20:0::/64"], services: [payxpert/emv, payxpert/apm, payxpert/logs]}
  pc:    {networks: [10.20.9.0/24, "fd10:20:9::/64"], services: [payxpert/central]}
`

// checkStore is a store in which everything documented answers.
func checkStore(t *testing.T) (*storelab.Store, *storelab.Web) {
	t.Helper()
	names := documentedNames(t)
	var all []string
	for _, row := range slices.Sorted(maps.Keys(names)) {
		all = append(all, names[row]...)
	}
	store := storelab.New(t, storelab.Config{Names: all})
	store.Box.Write(t, "policy.yaml", checkPolicy)
	store.Time(t, names[7]...)
	var web []string
	for _, d := range destinations(t) {
		if !slices.Contains(web, d.host) {
			web = append(web, d.host)
		}
	}
	return store, store.Web(t, web...)
}

// A tested is a test's outcome, in the words of its JSON.
type tested struct {
	checkReport
	err error // not zero: the exit status was not
}

// faults are the faults of what failed, by destination.
func (c tested) faults() map[string]check.Fault {
	faults := make(map[string]check.Fault)
	for _, r := range c.Results {
		if r.Skip == "" && !r.OK {
			faults[r.Target.String()] = r.Fault
		}
	}
	return faults
}

// good is how many destinations passed.
func (c tested) good() (n int) {
	for _, r := range c.Results {
		if r.OK {
			n++
		}
	}
	return n
}

// runCheckOn runs `tillgate check --json` on a host.
func runCheckOn(t *testing.T, run func(args ...string) (string, error), args ...string) (c tested) {
	t.Helper()
	out, err := run(append([]string{"check", "--json"}, args...)...)
	if jsonErr := json.Unmarshal([]byte(out), &c.checkReport); jsonErr != nil {
		t.Fatalf("check %v: %v, %v", args, err, jsonErr)
	}
	c.err = err
	return c
}

// onBox runs a command line on the box.
func onBox(t *testing.T, store *storelab.Store) func(args ...string) (string, error) {
	return func(args ...string) (string, error) { return store.Box.Tillgate(t.Context(), args...) }
}

// onTerminal runs a command line of the same program on a terminal, which has no box.
func onTerminal(t *testing.T, store *storelab.Store, term *storelab.Terminal, env ...string) func(args ...string) (string, error) {
	command := append([]string{"env", "-i", "SSL_CERT_FILE=" + store.CA.File, "RUNTIME_DIRECTORY=" + store.Dir() + "/nothing",
		"CONFIGURATION_DIRECTORY=" + store.Box.Config}, env...)
	command = append(command, store.Dir()+"/tillgate")
	return func(args ...string) (string, error) {
		return term.Run(t.Context(), slices.Concat(command, args)...)
	}
}

// TestStoreCheck tries every documented destination of a store in which all is well: from
// the box, with a class and without, and as terminals of each class see it, by both families.
func TestStoreCheck(t *testing.T) {
	t.Parallel()
	store, web := checkStore(t)
	store.Box.Start(t)
	waitFor(t, func() bool { return timeOf(t, store).Level == "fine" })
	all := 0 // destinations
	for _, d := range destinations(t) {
		if !strings.Contains(d.host, "any.") {
			all++
		}
	}
	all += len(documentedNames(t)[7])

	var c tested
	defer func() {
		if t.Failed() {
			t.Logf("from the box: %v, %d of %d, %+v, %v", c.err, c.good(), all, c.Verdict, c.faults())
		}
	}()
	waitFor(t, func() bool { // a first look-up may take longer than the box waits
		c = runCheckOn(t, onBox(t, store))
		return c.err == nil && c.Verdict.OK && c.good() == all && c.Verdict.Troubles == nil
	})
	var rowsOf = func(c tested) (rows []int) {
		for _, r := range c.Verdict.Rows {
			rows = append(rows, r.Row)
		}
		return rows
	}
	if diff := cmp.Diff([]int{1, 2, 3, 4, 5, 6, 7, 8, 9}, rowsOf(c)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for _, r := range c.Results {
		if r.OK && r.Port == 443 && r.Issuer != "storelab CA" {
			t.Errorf("%s is signed by %q", r.Target, r.Issuer)
		}
	}
	// The box's own address in a terminals' network makes it a terminal there.
	for _, class := range []string{"sunmi", "pos", "pc"} {
		a4, a6 := store.Box.Addr(t, class)
		for _, via := range []netip.Addr{a4, a6} {
			c := runCheckOn(t, onBox(t, store), "--class", class, "--via", via.String())
			if c.err != nil || !c.Verdict.OK {
				t.Errorf("via %s: %v, %+v, %v", via, c.err, c.Verdict, c.faults())
			}
		}
	}
	// And from a terminal, with a program that has nothing but the policy: what its class
	// may not have is refused, and said to be.
	term := store.Terminal(t, "sunmi")
	for _, via := range []netip.Addr{term.Box4, term.Box6} {
		c := runCheckOn(t, onTerminal(t, store, term), "--class", "sunmi", "--via", via.String())
		if c.err != nil || !c.Verdict.OK {
			t.Errorf("terminal via %s: %v, %+v, %v", via, c.err, c.Verdict, c.faults())
		}
		c = runCheckOn(t, onTerminal(t, store, term), "--class", "pc", "--via", via.String())
		if diff := cmp.Diff(map[string]check.Fault{"central.payxpert.com:443": check.Denied}, c.faults()); c.err == nil || diff != "" {
			t.Errorf("of another class: %v (-want +got)\n%s", c.err, diff)
		}
	}
	// Without a class it asks the box which is its own, and what that may reach: it needs no files,
	// and nothing is denied. The boxes' networks of a class by IPv4 and IPv6 are two.
	nothing := "CONFIGURATION_DIRECTORY=" + store.Dir() + "/nothing"
	pos := store.Terminal(t, "pos")
	for _, via := range []netip.Addr{pos.Box4, pos.Box6} {
		c := runCheckOn(t, onTerminal(t, store, pos, nothing), "--via", via.String())
		if c.err != nil || !c.Verdict.OK || c.Class != "pos" || c.Known != "pos" || c.good() == 0 || c.Client.Is4() != via.Is4() {
			t.Errorf("as whom the box knows it, via %s: %v, %+v, %v", via, c.err, c.checkReport, c.faults())
		}
	}
	if log, err := store.Box.Tillgate(t.Context(), "log", "--denied", "--client", pos.Addr4.String()); err != nil || log != "" {
		t.Errorf("its test was denied what it may not: %v, %s", err, log)
	}
	if _, err := onTerminal(t, store, pos, nothing)("check", "--class", "sunmi", "--via", pos.Box4.String()); err == nil ||
		!strings.Contains(err.Error(), `unknown class "sunmi"`) || !strings.Contains(err.Error(), "knows this machine, pos") || !strings.Contains(err.Error(), "--config") {
		t.Errorf("a class that no file here has: %v", err)
	}
	// A machine in no class is told so, at the price of one attempt.
	guest := store.Terminal(t, "guest")
	c = runCheckOn(t, onTerminal(t, store, guest, nothing), "--via", guest.Box4.String())
	if want := fmt.Sprintf("Nothing is tried: this machine (%s) is in no class of the box at %s.", guest.Addr4, guest.Box4); c.err == nil || c.Verdict.Headline != want ||
		!strings.Contains(c.Verdict.Do, "classes: in policy.yaml") {
		t.Errorf("in no class: %v, %+v, want %s", c.err, c.Verdict, want)
	}
	// Downloads are measured by the same ways; that through a tunnel is the fastest seen.
	if err := os.WriteFile(filepath.Join(web.Root, "big"), make([]byte, 40<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, via := range [][]string{nil, {"--via", term.Box4.String(), "--class", "sunmi"}} {
		c := runCheckOn(t, onBox(t, store), append([]string{"--speed", "https://api.eu.sunmi.com/big"}, via...)...)
		if s := c.Verdict.Speed; c.err != nil || s.Error != "" || s.Bytes != 40<<20 || s.Bps == 0 || via != nil && s.Seen == 0 {
			t.Errorf("via %v: %v, %+v", via, c.err, s)
		}
	}
}

// TestStoreCheckFailures makes each kind of failure for real, and has it named.
func TestStoreCheckFailures(t *testing.T) {
	t.Parallel()
	store, _ := checkStore(t)
	term := store.Terminal(t, "sunmi")
	direct := []string{"--class", "sunmi"}
	via := []string{"--class", "sunmi", "--via", term.Box4.String()}
	// both tests from the box and from a terminal, and wants these faults of these
	// destinations, and words in the headline.
	both := func(t *testing.T, want map[string]check.Fault, words string) {
		t.Helper()
		var byTerminal tested
		done := make(chan struct{})
		go func() { byTerminal = runCheckOn(t, onTerminal(t, store, term), via...); close(done) }()
		fromBox := runCheckOn(t, onBox(t, store), direct...)
		<-done
		for name, c := range map[string]tested{"from the box": fromBox, "by a terminal": byTerminal} {
			if diff := cmp.Diff(want, c.faults()); diff != "" || (c.err == nil) != (len(want) == 0) {
				t.Errorf("%s: %v (-want +got)\n%s", name, c.err, diff)
			}
			if !strings.Contains(c.Verdict.Headline, words) {
				t.Errorf("%s: want %q in %q", name, words, c.Verdict.Headline)
			}
			if len(want) > 0 && c.Verdict.Do == "" {
				t.Errorf("%s: nothing to do about %q", name, c.Verdict.Headline)
			}
		}
	}
	// all has the faults of all that the class may have by TCP, and by UDP.
	all := func(tcp, udp check.Fault) map[string]check.Fault {
		want := make(map[string]check.Fault)
		for _, d := range destinations(t) {
			if tcp != "" && slices.Contains(rows["sunmi"], d.row) {
				want[fmt.Sprintf("%s:%d", d.host, d.port)] = tcp
			}
		}
		for _, name := range documentedNames(t)[7] {
			if udp != "" {
				want[name+":123"] = udp
			}
		}
		return want
	}

	store.Internet.BlackHole(t, store.Upstream.Addrs...)
	store.Box.Start(t)
	t.Run("upstream down", func(t *testing.T) {
		c := runCheckOn(t, onBox(t, store), direct...)
		if diff := cmp.Diff(all(check.Unresolved, check.Unresolved), c.faults()); diff != "" || c.err == nil ||
			!strings.Contains(c.Verdict.Headline, "Nothing is reached: names are not resolved") {
			t.Errorf("from the box: %v, %s (-want +got)\n%s", c.err, c.Verdict.Headline, diff)
		}
		// A terminal is given the box's address for the time servers, which has no time yet.
		c = runCheckOn(t, onTerminal(t, store, term), via...)
		if diff := cmp.Diff(all(check.Unresolved, check.Unsynced), c.faults()); diff != "" || c.err == nil ||
			!strings.Contains(c.Verdict.Headline, "names are not resolved") {
			t.Errorf("by a terminal: %v, %s (-want +got)\n%s", c.err, c.Verdict.Headline, diff)
		}
	})
	store.Internet.Heal(t)
	waitFor(t, func() bool { return timeOf(t, store).Level == "fine" })
	waitFor(t, func() bool { return runCheckOn(t, onBox(t, store), direct...).err == nil })
	t.Run("healed", func(t *testing.T) { both(t, map[string]check.Fault{}, "All ") })

	t.Run("upstream down later", func(t *testing.T) { // names are known by now
		store.Internet.BlackHole(t, store.Upstream.Addrs...)
		defer store.Internet.Heal(t)
		c := runCheckOn(t, onBox(t, store), "--class", "pos")
		text := strings.Join(c.Verdict.Troubles, "; ")
		if !strings.Contains(text, "upstream: bad: ") {
			t.Errorf("%v, %+v", c.err, c.Verdict)
		}
	})

	const host = "api.eu.sunmi.com"
	a4, a6 := store.Internet.Addr(t, host)
	one := func(fault check.Fault) map[string]check.Fault { return map[string]check.Fault{host + ":443": fault} }
	t.Run("one origin silent", func(t *testing.T) {
		store.Internet.BlackHole(t, a4, a6)
		defer store.Internet.Heal(t)
		both(t, one(check.TimedOut), "1 of ")
		// Its row is conditional: without a class it is no failure of the whole.
		if c := runCheckOn(t, onBox(t, store)); c.err != nil || !c.Verdict.OK || !strings.Contains(c.Verdict.Headline, host) {
			t.Errorf("without a class: %v, %+v", c.err, c.Verdict)
		}
	})
	t.Run("one origin refuses", func(t *testing.T) {
		meddle(t, store, fmt.Sprintf("ip daddr %s tcp dport 443 reject with tcp reset; ip6 daddr %s tcp dport 443 reject with tcp reset", a4, a6))
		both(t, one(check.Refused), "connections are refused ("+host)
	})
	t.Run("no time", func(t *testing.T) {
		meddle(t, store, "udp dport 123 drop")
		c := runCheckOn(t, onBox(t, store), direct...)
		if diff := cmp.Diff(all("", check.NoTime), c.faults()); diff != "" || !strings.Contains(c.Verdict.Headline, "udp/123, whatever the host") {
			t.Errorf("%v, %s (-want +got)\n%s", c.err, c.Verdict.Headline, diff)
		}
	})
	t.Run("port blocked", func(t *testing.T) {
		meddle(t, store, "ip daddr 45.60.0.0/16 tcp dport 443 drop; ip6 daddr 2a02:26f0::/32 tcp dport 443 drop")
		want := all(check.TimedOut, "")
		maps.DeleteFunc(want, func(d string, _ check.Fault) bool { return d == "dns.google:443" || strings.HasSuffix(d, ":80") })
		both(t, want, "connections get no answer")
	})
	t.Run("TLS intercepted", func(t *testing.T) {
		intercept(t, store, []netip.Addr{a4, a6}, func(*tls.ClientHelloInfo) string { return host })
		both(t, one(check.Intercepted), "TLS is intercepted by Meddler Root (Meddler & Sons)")
		out, _ := store.Box.Tillgate(t.Context(), "check", "--class", "sunmi")
		for _, want := range []string{
			`(?m)^ok    5  apk\.cdn\.eu\.sunmi\.com:443 +[0-9a-f:.\[\]]+:443, \d+ ms, signed by storelab CA$`,
			`(?m)^FAIL  5  api\.eu\.sunmi\.com:443 +TLS is intercepted: its certificate is signed by Meddler Root \(Meddler & Sons\), which is not trusted$`,
			`(?m)^1 of 19 destinations that class sunmi needs is not reached: TLS is intercepted by Meddler Root \(Meddler & Sons\) \(api\.eu\.sunmi\.com:443\)\.
  what to do  a firewall or virus scanner opens TLS: have who runs it leave api\.eu\.sunmi\.com alone \(no inspection of TLS\)$`,
			`(?m)^  FAIL  5  SUNMI - TMS/MDM, payxpert/sunmi-tms: 5 of 6
           TLS is intercepted by Meddler Root \(Meddler & Sons\) \(api\.eu\.sunmi\.com:443\)$`,
			`(?m)^  ok    6  SUNMI - Security, payxpert/sunmi-security: 1 of 1$`,
		} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("no %s in\n%s", want, out)
			}
		}
	})
	t.Run("captive portal", func(t *testing.T) {
		p4, p6 := store.Internet.Addr(t, "connectivitycheck.gstatic.com")
		portal(t, store, []netip.Addr{p4, p6})
		both(t, map[string]check.Fault{"connectivitycheck.gstatic.com:80": check.Portal}, "HTTP is led to somebody else's page")
	})
}

// TestStoreCheckClock tests with a system's clock that is a year slow.
func TestStoreCheckClock(t *testing.T) {
	t.Parallel()
	store, _ := checkStore(t)
	const slow = labClock + "=-8760h"
	term := store.Terminal(t, "sunmi")

	// No box: nobody sets it right, and dns.google tells no time here.
	store.Box.Env = append(store.Box.Env, slow)
	var c tested
	waitFor(t, func() bool { // a name may not be resolved in time
		c = runCheckOn(t, onBox(t, store), "--config", store.Box.Config, "--class", "sunmi")
		return !slices.Contains(slices.Collect(maps.Values(c.faults())), check.Unresolved)
	})
	faults := c.faults()
	if c.err == nil || faults["dns.google:443"] != check.UnknownTime || faults["pool.ntp.org:123"] != check.WrongTime ||
		!strings.Contains(c.Verdict.Headline, "11 of 11 time servers the time is 365 days ahead") {
		t.Errorf("without a box: %v, %s, %v", c.err, c.Verdict.Headline, faults)
	}
	// The box does, by the time servers.
	store.Box.Start(t)
	waitFor(t, func() bool { return timeOf(t, store).Level == "fine" })
	waitFor(t, func() bool {
		c := runCheckOn(t, onBox(t, store))
		return c.err == nil && c.Verdict.OK && len(c.faults()) == 0
	})
	// A terminal's own does not help it.
	c = runCheckOn(t, onTerminal(t, store, term, slow), "--class", "sunmi", "--via", term.Box4.String())
	faults = c.faults()
	if c.err == nil || faults["dns.google:443"] != check.WrongDate || faults["pool.ntp.org:123"] != check.WrongTime ||
		!strings.HasPrefix(c.Verdict.Headline, "The clock of this test is wrong") {
		t.Errorf("by a terminal: %v, %s, %v", c.err, c.Verdict.Headline, faults)
	}
}

// meddle has the Internet apply rules until the test ends.
func meddle(t *testing.T, store *storelab.Store, rules string) {
	t.Helper()
	chain := "type filter hook prerouting priority raw"
	switch {
	case strings.Contains(rules, "reject"): // which prerouting has not on every kernel
		chain = "type filter hook input priority filter"
	case strings.Contains(rules, "redirect"):
		chain = "type nat hook prerouting priority dstnat"
	}
	table := "table inet meddle { chain in { " + chain + "; " + rules + "; }; }"
	if _, err := store.Internet.Run(t.Context(), "nft", table); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Internet.Run(context.Background(), "nft", "delete table inet meddle") })
}

// divert has what goes to a port of addresses come to a handler of connections.
func divert(t *testing.T, store *storelab.Store, to []netip.Addr, port int, serve func(net.Conn)) {
	t.Helper()
	l, err := store.Internet.Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			serving.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				serve(c)
			})
		}
	})
	here := l.Addr().(*net.TCPAddr).Port
	var rules []string
	for _, a := range to {
		family := "ip"
		if a.Is6() {
			family = "ip6"
		}
		rules = append(rules, fmt.Sprintf("%s daddr %s tcp dport %d redirect to :%d", family, a, port, here))
	}
	meddle(t, store, strings.Join(rules, "; "))
}

// intercept puts a box that opens TLS before addresses: what it shows is of the name that
// it is asked for, and signed by its own authority.
func intercept(t *testing.T, store *storelab.Store, to []netip.Addr, name func(*tls.ClientHelloInfo) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name(hello)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		root := &x509.Certificate{Subject: pkix.Name{CommonName: "Meddler Root", Organization: []string{"Meddler & Sons"}}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}}
	divert(t, store, to, 443, func(c net.Conn) { tls.Server(c, config).Handshake() })
}

// portal answers HTTP with the way to a page of its own.
func portal(t *testing.T, store *storelab.Store, to []netip.Addr) {
	t.Helper()
	divert(t, store, to, 80, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
	})
}
