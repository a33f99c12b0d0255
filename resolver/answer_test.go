package resolver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/decision"
	"tillgate/internal/clock"
	"tillgate/policy"
)

const testPolicy = `version: 1
packs: [payxpert]
classes:
  till:
    networks: [10.0.0.0/24, "fd00:1::/64", 127.0.0.0/8]
    services: [payxpert/emv, "payxpert/sunmi-*", local/printer, local/cdn]
  office: {networks: [10.0.9.0/24], services: [payxpert/central]}
  lab: {networks: [10.0.8.0/24], services: [payxpert/emv], mode: observe}
services:
  - id: local/printer
    reason: receipt printer
    destinations: [{host: fw.printer.example, ports: [tcp/443], private: true}]
  - id: local/cdn
    reason: images
    destinations: [{host: cdn.shop.example, ports: [tcp/443]}, {host: many.shop.example, ports: [tcp/443]}]
deny: [{host: ads.payxpert.com}]
`

const (
	till   = "10.0.0.5"
	office = "10.0.9.5"
	lab    = "10.0.8.5"
	known  = "api-pos-default-v4.payxpert.com"
)

// bench is a resolver whose upstream and clock are the test's.
type bench struct {
	*Resolver
	t       testing.TB
	now     time.Time
	records records
	up      func(name string, qtype uint16) (*dns.Msg, error)
	asked   []key
}

// records keeps what is recorded. It takes no repeats.
type records struct {
	mu  sync.Mutex
	all []decision.Record
}

func (r *records) Repeat(decision.Key) bool { return false }

func (r *records) Record(rec decision.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
}

func (r *records) Repeats(rec decision.Record, n uint64, _, _ time.Duration) {
	rec.Count = n
	r.Record(rec)
}

func (r *records) last() decision.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[len(r.all)-1]
}

var start = time.Date(2027, 1, 5, 7, 0, 0, 0, time.UTC)

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	set, err := policy.Compile([]policy.File{{Name: "policy.yaml", Data: []byte(testPolicy)}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		URL:       "https://dns.google/dns-query",
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Timeout:   1800 * time.Millisecond,
		Entries:   100,
		Stale:     6 * time.Hour,
		Warm:      24 * time.Hour,
	}
	for _, f := range change {
		f(&cfg)
	}
	b := &bench{t: t, now: start}
	b.Resolver, err = New(cfg, Deps{
		Policy:  func() *policy.Set { return set },
		Clock:   clock.System(func() time.Time { return b.now }, time.Time{}),
		Records: &b.records,
		Now:     func() time.Time { return b.now },
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.fetches.close() }) // of the Resolver that it has then
	b.strangers = newLimiter(0, 0, start)   // but for the test of it
	b.ask = func(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
		b.asked = append(b.asked, key{name, qtype})
		return b.up(name, qtype)
	}
	b.up = func(name string, qtype uint16) (*dns.Msg, error) {
		return reply(name, qtype, 300, "192.0.9.1", "2a00:1450::1"), nil
	}
	return b
}

// reply is an upstream's answer: those of addrs that are of qtype.
func reply(name string, qtype uint16, ttl uint32, addrs ...string) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name+".", qtype)
	m.Response = true
	for _, a := range addrs {
		addr := netip.MustParseAddr(a)
		if addr.Is4() == (qtype == dns.TypeA) {
			m.Answer = append(m.Answer, addressRecord(name+".", addr, ttl))
		}
	}
	return m
}

// query is a message as a client sends it.
func queryFor(name string, qtype uint16, change ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.SetEdns0(1232, false)
	for _, f := range change {
		f(m)
	}
	return m
}

// exchange sends wire bytes as a client would and returns the reply, nil for none.
func (b *bench) exchange(client string, proto policy.Proto, wire []byte) *dns.Msg {
	b.t.Helper()
	return b.exchangeAt(client, "10.0.0.1", 0, proto, wire)
}

// exchangeAt is exchange at one of the box's addresses and interfaces.
func (b *bench) exchangeAt(client, local string, ifindex int, proto policy.Proto, wire []byte) *dns.Msg {
	b.t.Helper()
	var m *dns.Msg
	sent := make(chan []byte, 2)
	q := &query{
		client:  netip.MustParseAddr(client),
		local:   netip.MustParseAddr(local),
		ifindex: ifindex,
		proto:   proto,
		set:     b.deps.Policy(),
		at:      b.now,
		send:    func(wire []byte) { sent <- wire },
	}
	b.serve(q, wire)
	b.fetches.running.Wait()
	if len(sent) != 1 {
		b.t.Fatalf("%d replies", len(sent))
	}
	if wire := <-sent; wire != nil {
		m = new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			b.t.Fatalf("unpacking the reply: %v", err)
		}
	}
	return m
}

func (b *bench) query(client string, m *dns.Msg) *dns.Msg {
	b.t.Helper()
	return b.exchange(client, policy.UDP, packed(b.t, m))
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// gist is a reply in a line: rcode, flags, answers, authority, EDE.
func gist(m *dns.Msg) string {
	if m == nil {
		return "silence"
	}
	s := rcodeName(m.Rcode)
	if m.AuthenticatedData {
		s += " ad"
	}
	if m.Truncated {
		s += " tc"
	}
	for _, rr := range m.Answer {
		f := strings.Fields(rr.String())
		s += " " + strings.Join(append(f[:2:2], f[3:]...), "/")
	}
	for _, rr := range m.Ns {
		s += " " + dns.Type(rr.Header().Rrtype).String() + "@" + rr.Header().Name
	}
	if o := m.IsEdns0(); o != nil {
		s += " opt"
		for _, e := range o.Option {
			if e, ok := e.(*dns.EDNS0_EDE); ok {
				s += fmt.Sprint(" ede", e.InfoCode)
			}
		}
	}
	return s
}

func TestVerdicts(t *testing.T) {
	soa := func(name string) string { return " SOA@" + name }
	for _, tt := range []struct {
		client, name string
		qtype        uint16
		want         string
		verdict      policy.Verdict
		reason       policy.Reason
	}{
		{till, known, dns.TypeA, "NOERROR " + known + "./300/A/192.0.9.1 opt", policy.Allow, policy.Documented},
		{till, known, dns.TypeAAAA, "NOERROR " + known + "./300/AAAA/2a00:1450::1 opt", policy.Allow, policy.Documented},
		{"fd00:1::7", known, dns.TypeA, "NOERROR " + known + "./300/A/192.0.9.1 opt", policy.Allow, policy.Documented},

		// A denied name is NXDOMAIN for every type, with a SOA of its own name.
		{till, "example.com", dns.TypeA, "NXDOMAIN" + soa("example.com.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "example.com", dns.TypeAAAA, "NXDOMAIN" + soa("example.com.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "example.com", dns.TypeHTTPS, "NXDOMAIN" + soa("example.com.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "printer", dns.TypeA, "NXDOMAIN" + soa("printer.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "wpad", dns.TypeA, "NXDOMAIN" + soa("wpad.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "ads.payxpert.com", dns.TypeA, "NXDOMAIN" + soa("ads.payxpert.com.") + " opt ede15", policy.Deny, policy.DeniedByPolicy},
		{till, "central.payxpert.com", dns.TypeA, "NXDOMAIN" + soa("central.payxpert.com.") + " opt ede15", policy.Deny, policy.OtherClass},
		{office, "a.b.central.payxpert.com", dns.TypeA, "NOERROR a.b.central.payxpert.com./300/A/192.0.9.1 opt", policy.Allow, policy.Documented},
		{till, "bad name.example", dns.TypeA, "NXDOMAIN" + soa(`bad\ name.example.`) + " opt ede15", policy.Deny, policy.BadName},
		{till, "1.2.3.4", dns.TypeA, "NXDOMAIN" + soa("1.2.3.4.") + " opt ede15", policy.Deny, policy.IPLiteral},
		{till, "4.3.2.1.in-addr.arpa", dns.TypePTR, "NXDOMAIN" + soa("4.3.2.1.in-addr.arpa.") + " opt ede15", policy.Deny, policy.NotDocumented},

		// Above an allowed name: NODATA (RFC 8020).
		{till, ".", dns.TypeNS, "NOERROR" + soa(".") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "com", dns.TypeA, "NOERROR" + soa("com.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "payxpert.com", dns.TypeA, "NOERROR" + soa("payxpert.com.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{office, "payxpress-soft-mpos.firebaseio.com", dns.TypeA, "NXDOMAIN" + soa("payxpress-soft-mpos.firebaseio.com.") + " opt ede15", policy.Deny, policy.OtherClass},
		{office, "firebaseio.com", dns.TypeA, "NXDOMAIN" + soa("firebaseio.com.") + " opt ede15", policy.Deny, policy.NotDocumented},

		// Other types of an allowed name: NODATA, and no denial.
		{till, known, dns.TypeHTTPS, "NOERROR" + soa(known+".") + " opt", policy.Allow, policy.QtypeSuppressed},
		{till, known, dns.TypeSVCB, "NOERROR" + soa(known+".") + " opt", policy.Allow, policy.QtypeSuppressed},
		{till, known, dns.TypeTXT, "NOERROR" + soa(known+".") + " opt", policy.Allow, policy.QtypeSuppressed},
		{till, known, dns.TypeDNSKEY, "NOERROR" + soa(known+".") + " opt", policy.Allow, policy.QtypeSuppressed},
		{till, known, dns.TypeCNAME, "NOERROR" + soa(known+".") + " opt", policy.Allow, policy.Documented},
		{till, known, dns.TypeANY, "NOERROR" + soa(known+".") + " opt", policy.Allow, policy.QtypeSuppressed},

		// Special-use names.
		{till, "localhost", dns.TypeA, "NOERROR localhost./30/A/127.0.0.1 opt", policy.Allow, policy.LocalService},
		{till, "a.localhost", dns.TypeAAAA, "NOERROR a.localhost./30/AAAA/::1 opt", policy.Allow, policy.LocalService},
		{till, "localhost", dns.TypeMX, "NOERROR" + soa("localhost.") + " opt", policy.Allow, policy.LocalService},
		{till, "tillgate.internal", dns.TypeA, "NOERROR tillgate.internal./30/A/10.0.0.1 opt", policy.Allow, policy.LocalService},
		{till, "tillgate.internal", dns.TypeAAAA, "NOERROR" + soa("tillgate.internal.") + " opt", policy.Allow, policy.LocalService},
		{till, "x.tillgate.internal", dns.TypeA, "NXDOMAIN" + soa("x.tillgate.internal.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "_dns.resolver.arpa", dns.TypeSVCB, "NOERROR" + soa("_dns.resolver.arpa.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "home.arpa", dns.TypeA, "NOERROR" + soa("home.arpa.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "nas.home.arpa", dns.TypeA, "NXDOMAIN" + soa("nas.home.arpa.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "nas.local", dns.TypeA, "NXDOMAIN" + soa("nas.local.") + " opt ede15", policy.Deny, policy.NotDocumented},
		{till, "abc.onion", dns.TypeA, "NXDOMAIN" + soa("abc.onion.") + " opt ede15", policy.Deny, policy.NotDocumented},

		// Clients of no class.
		{"10.9.9.9", known, dns.TypeA, "REFUSED opt ede18", policy.Deny, policy.UnknownClient},
		{"fe80::1", known, dns.TypeA, "REFUSED opt ede18", policy.Deny, policy.UnknownClient},
		{"100.64.0.1", known, dns.TypeA, "REFUSED opt ede18", policy.Deny, policy.UnknownClient},
		{"8.8.8.8", known, dns.TypeA, "silence", policy.Deny, policy.UnknownClient},
		{"2a00:1450::5", known, dns.TypeA, "silence", policy.Deny, policy.UnknownClient},

		// An observed class gets what it asks for; the guards stay.
		{lab, "example.com", dns.TypeA, "NOERROR example.com./300/A/192.0.9.1 opt", policy.WouldDeny, policy.NotDocumented},
		{lab, "bad name.example", dns.TypeA, "NXDOMAIN" + soa(`bad\ name.example.`) + " opt ede15", policy.Deny, policy.BadName},
	} {
		b := newBench(t)
		m := b.query(tt.client, queryFor(strings.ReplaceAll(tt.name, " ", `\032`), tt.qtype))
		if got := gist(m); got != tt.want {
			t.Errorf("%s %s %s:\n got %s\nwant %s", tt.client, tt.name, dns.Type(tt.qtype), got, tt.want)
		}
		if n := len(b.records.all); n != 1 {
			t.Errorf("%s %s: %d records, want exactly one", tt.client, tt.name, n)
			continue
		}
		rec := b.records.last()
		if rec.Verdict != tt.verdict || rec.Reason != tt.reason {
			t.Errorf("%s %s: recorded %v %v, want %v %v", tt.client, tt.name, rec.Verdict, rec.Reason, tt.verdict, tt.reason)
		}
		if rec.Name != "" && tt.reason != policy.BadName && rec.Name != strings.TrimSuffix(tt.name, ".") {
			t.Errorf("%s %s: recorded as %q", tt.client, tt.name, rec.Name)
		}
		if asked := len(b.asked) > 0; asked != (m != nil && (len(m.Answer) > 0 || tt.qtype == dns.TypeCNAME) && tt.reason != policy.LocalService) {
			t.Errorf("%s %s: asked upstream: %v", tt.client, tt.name, asked)
		}
	}
}

func TestReplyEchoes(t *testing.T) {
	b := newBench(t)
	m := queryFor("API-Pos-default-V4.payxpert.COM", dns.TypeA, func(m *dns.Msg) {
		m.Id = 0xbeef
		m.RecursionDesired = true
		m.CheckingDisabled = true
		m.IsEdns0().SetDo()
		m.IsEdns0().Option = []dns.EDNS0{
			&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"},
			&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{10, 0, 0, 0}},
		}
	})
	got := b.query(till, m)
	if got.Id != 0xbeef || !got.Response || !got.RecursionDesired || !got.RecursionAvailable || !got.CheckingDisabled || got.Authoritative {
		t.Errorf("header %+v", got.MsgHdr)
	}
	if diff := cmp.Diff(m.Question, got.Question); diff != "" {
		t.Errorf("question (-asked +answered):\n%s", diff)
	}
	if owner := got.Answer[0].Header().Name; owner != "API-Pos-default-V4.payxpert.COM." {
		t.Errorf("owner %q, not spelt as asked", owner)
	}
	o := got.IsEdns0()
	if !o.Do() || o.UDPSize() != serverUDPSize || o.Version() != 0 || len(o.Option) != 0 {
		t.Errorf("OPT %v: want DO copied and no option of the client's", o)
	}
	if b.asked[0] != (key{known, dns.TypeA}) {
		t.Errorf("asked upstream for %v", b.asked[0])
	}

	m = queryFor(known, dns.TypeA)
	m.Extra = nil
	if got := gist(b.query(till, m)); got != "NOERROR "+known+"./300/A/192.0.9.1" {
		t.Errorf("without EDNS: %s", got)
	}
}

func TestForm(t *testing.T) {
	pack := func(change func(*dns.Msg)) []byte {
		m := queryFor(known, dns.TypeA, change)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	whole := pack(func(*dns.Msg) {})
	for _, tt := range []struct {
		name, want string
		wire       []byte
	}{
		{"nothing", "silence", nil},
		{"shorter than a header", "silence", whole[:11]},
		{"header alone", "FORMERR", []byte{0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"a cut question", "FORMERR", whole[:20]},
		{"a reply", "silence", pack(func(m *dns.Msg) { m.Response = true })},
		{"a cut reply", "silence", pack(func(m *dns.Msg) { m.Response = true })[:20]},
		{"two questions", "FORMERR opt", pack(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })},
		{"no question", "FORMERR opt", pack(func(m *dns.Msg) { m.Question = nil })},
		{"an answer in the query", "FORMERR opt", pack(func(m *dns.Msg) { m.Answer = reply(known, dns.TypeA, 1, "192.0.9.1").Answer })},
		{"truncated", "FORMERR opt", pack(func(m *dns.Msg) { m.Truncated = true })},
		{"notify", "NOTIMP opt", pack(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify })},
		{"update", "NOTIMP opt", pack(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate })},
		{"chaos", "NOTIMP opt", pack(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })},
		{"EDNS 1", "BADVERS opt", pack(func(m *dns.Msg) { m.IsEdns0().SetVersion(1) })},
		{"two OPTs", "FORMERR opt", pack(func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[0]) })},
		{"an OPT of a name", "FORMERR opt", pack(func(m *dns.Msg) { m.Extra[0].Header().Name = "x." })},
	} {
		b := newBench(t)
		m := b.exchange(till, policy.UDP, tt.wire)
		if got := gist(m); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if m != nil && m.Id != uint16(tt.wire[0])<<8|uint16(tt.wire[1]) {
			t.Errorf("%s: ID %x", tt.name, m.Id)
		}
		if len(b.records.all) != 1 || b.records.last().Reason != policy.Malformed {
			t.Errorf("%s: records %+v", tt.name, b.records.all)
		}
	}
}

// TestBrokenOptions: a query that can't be unpacked still gets its question and an OPT back.
func TestBrokenOptions(t *testing.T) {
	b := newBench(t)
	wire, err := queryFor(known, dns.TypeA, func(m *dns.Msg) {
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{10, 0, 0, 0}}}
	}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	wire[len(wire)-5] = 33 // the prefix's length
	m := b.exchange(till, policy.UDP, wire)
	if got := gist(m); got != "FORMERR opt" || len(m.Question) != 1 || m.Question[0].Name != known+"." {
		t.Errorf("%s, question %v", got, m.Question)
	}
	wire, _ = queryFor(known, dns.TypeA, func(m *dns.Msg) { m.Extra = nil }).Pack()
	wire[11] = 1 // ARCOUNT
	if got := gist(b.exchange(till, policy.UDP, wire)); got != "FORMERR" {
		t.Errorf("an additional record that is not there: %s", got)
	}
}

// TestExplanationsFit: what an upstream's error says never makes a reply too long.
func TestExplanationsFit(t *testing.T) {
	b := newBench(t)
	b.up = func(string, uint16) (*dns.Msg, error) { return nil, errors.New(strings.Repeat("€", 200)) }
	m := b.query(till, queryFor(known, dns.TypeA, func(m *dns.Msg) { m.IsEdns0().SetUDPSize(512) }))
	wire, _ := m.Pack()
	if got := gist(m); got != "SERVFAIL opt ede23" || len(wire) > 512 {
		t.Errorf("%s, %d bytes", got, len(wire))
	}
}

// TestQueriesKeepLittle: whatever a client puts into a query, what waits for the upstream
// is its question and that it has an OPT.
func TestQueriesKeepLittle(t *testing.T) {
	wire, err := queryFor(known, dns.TypeA, func(m *dns.Msg) {
		for range 300 {
			m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeA, Class: dns.ClassINET}})
		}
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, 100)}}
	}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	m, f := parse(wire)
	if f != sound || len(m.Question) != 1 || len(m.Extra) != 1 || len(m.IsEdns0().Option) != 0 {
		t.Errorf("fault %d, kept %v", f, m)
	}
}

func TestRebinding(t *testing.T) {
	for _, tt := range []struct {
		client, name string
		addrs        []string
		want         string
		reason       policy.Reason
	}{
		{till, "cdn.shop.example", []string{"10.0.0.9"}, "NOERROR SOA@cdn.shop.example. opt ede15", policy.PrivateAddress},
		{till, "cdn.shop.example", []string{"127.0.0.1", "192.0.9.1", "10.0.0.9"}, "NOERROR cdn.shop.example./300/A/192.0.9.1 opt", policy.LocalService},
		{till, "fw.printer.example", []string{"10.0.0.9"}, "NOERROR fw.printer.example./300/A/10.0.0.9 opt", policy.LocalService},
		{lab, "fw.printer.example", []string{"10.0.0.9"}, "NOERROR SOA@fw.printer.example. opt ede15", policy.PrivateAddress},
		{lab, "example.com", []string{"169.254.169.254"}, "NOERROR SOA@example.com. opt ede15", policy.PrivateAddress},
	} {
		b := newBench(t)
		b.up = func(name string, qtype uint16) (*dns.Msg, error) {
			m := reply(name, qtype, 300, tt.addrs...)
			m.AuthenticatedData = true
			return m, nil
		}
		for range 2 { // from the upstream, and from the cache
			if got := gist(b.query(tt.client, queryFor(tt.name, dns.TypeA))); got != tt.want {
				t.Errorf("%s %s %v:\n got %s\nwant %s", tt.client, tt.name, tt.addrs, got, tt.want)
			}
			if rec := b.records.last(); rec.Reason != tt.reason {
				t.Errorf("%s %s: recorded %v", tt.client, tt.name, rec.Reason)
			}
		}
	}
}

func TestAuthenticData(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*dns.Msg)
		addrs  []string
		want   bool
	}{
		{"not asked for", func(m *dns.Msg) {}, []string{"192.0.9.1"}, false},
		{"by AD", func(m *dns.Msg) { m.AuthenticatedData = true }, []string{"192.0.9.1"}, true},
		{"by DO", func(m *dns.Msg) { m.IsEdns0().SetDo() }, []string{"192.0.9.1"}, true},
		{"an address left out", func(m *dns.Msg) { m.AuthenticatedData = true }, []string{"192.0.9.1", "10.0.0.1"}, false},
	} {
		b := newBench(t)
		b.up = func(name string, qtype uint16) (*dns.Msg, error) {
			m := reply(name, qtype, 300, tt.addrs...)
			m.AuthenticatedData = true
			return m, nil
		}
		if got := b.query(till, queryFor("cdn.shop.example", dns.TypeA, tt.change)); got.AuthenticatedData != tt.want {
			t.Errorf("%s: AD %v", tt.name, got.AuthenticatedData)
		}
	}
}

func TestTruncation(t *testing.T) {
	b := newBench(t)
	b.up = func(name string, qtype uint16) (*dns.Msg, error) {
		m := reply(name, qtype, 300)
		for i := range 100 {
			m.Answer = append(m.Answer, addressRecord(name+".", netip.AddrFrom4([4]byte{192, 0, 9, byte(i)}), 300))
		}
		return m, nil
	}
	size := func(n uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.IsEdns0().SetUDPSize(n) } }
	for _, tt := range []struct {
		name   string
		change func(*dns.Msg)
		limit  int
	}{
		{"no EDNS", func(m *dns.Msg) { m.Extra = nil }, 512},
		{"EDNS of 100", size(100), 512},
		{"EDNS of 900", size(900), 900},
		{"EDNS of 4096", size(4096), 1232},
	} {
		got := b.query(till, queryFor("many.shop.example", dns.TypeA, tt.change))
		got.Compress = true
		whole := len(got.Answer) == maxAddrs
		if n := got.Len(); n > tt.limit || got.Truncated == whole {
			t.Errorf("%s: %d bytes, TC %v, %d addresses", tt.name, n, got.Truncated, len(got.Answer))
		}
	}
	wire, _ := queryFor("many.shop.example", dns.TypeA, func(m *dns.Msg) { m.Extra = nil }).Pack()
	if got := b.exchange(till, policy.TCP, wire); got.Truncated || len(got.Answer) != maxAddrs {
		t.Errorf("by TCP: TC %v, %d addresses", got.Truncated, len(got.Answer))
	}
}

func TestUpstreamFaults(t *testing.T) {
	b := newBench(t)
	up := func(err error) { b.up = func(string, uint16) (*dns.Msg, error) { return nil, err } }
	ask := func() string { b.t.Helper(); return gist(b.query(till, queryFor(known, dns.TypeA))) }
	check := func(what, got, want string, asked int) {
		t.Helper()
		if got != want || len(b.asked) != asked {
			t.Errorf("%s: %s, want %s; asked %d times, want %d", what, got, want, len(b.asked), asked)
		}
	}

	up(errUpstreamTimeout)
	check("nothing cached", ask(), "SERVFAIL opt ede22", 1)
	check("the failure is kept", ask(), "SERVFAIL opt ede22", 1)
	b.now = b.now.Add(failTTL * time.Second)
	up(errors.New("connection refused"))
	check("tried again", ask(), "SERVFAIL opt ede23", 2)

	b.now = b.now.Add(failTTL * time.Second)
	good := "NOERROR " + known + "./60/A/192.0.9.1 opt"
	b.up = func(name string, qtype uint16) (*dns.Msg, error) { return reply(name, qtype, 60, "192.0.9.1"), nil }
	check("the upstream is back", ask(), good, 3)
	b.now = b.now.Add(59 * time.Second)
	check("fresh to its last second", ask(), "NOERROR "+known+"./1/A/192.0.9.1 opt", 3)

	b.now = b.now.Add(time.Second)
	up(errUpstreamTimeout)
	kept := "NOERROR " + known + "./30/A/192.0.9.1 opt ede3"
	check("past its end", ask(), kept, 4)
	if rec := b.records.last(); !rec.Stale || rec.Detail == "" {
		t.Errorf("a stale answer is recorded as %+v", rec)
	}
	check("kept while it fails", ask(), kept, 4)
	b.now = b.now.Add(failTTL * time.Second)
	check("given at once, tried in the background", ask(), kept, 5)
	b.now = b.now.Add(6 * time.Hour)
	check("older than the bound", ask(), "SERVFAIL opt ede22", 6)
}

func TestServfailUpstreamIsAFailure(t *testing.T) {
	b := newBench(t)
	b.up = func(name string, qtype uint16) (*dns.Msg, error) {
		m := reply(name, qtype, 0)
		m.Rcode = dns.RcodeServerFailure
		return m, nil
	}
	if got := gist(b.query(till, queryFor(known, dns.TypeA))); got != "SERVFAIL opt ede23" {
		t.Error(got)
	}
}

func TestZeroTTL(t *testing.T) {
	b := newBench(t)
	b.up = func(name string, qtype uint16) (*dns.Msg, error) { return reply(name, qtype, 0, "192.0.9.1"), nil }
	for i := range 2 {
		if got := gist(b.query(till, queryFor(known, dns.TypeA))); got != "NOERROR "+known+"./0/A/192.0.9.1 opt" {
			t.Error(got)
		}
		if len(b.asked) != i+1 {
			t.Errorf("asked %d times: an answer of no time was kept", len(b.asked))
		}
	}
}

func TestRate(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Rate, c.Burst = 10, 3 })
	ask := func(client string) string { return gist(b.query(client, queryFor("example.com", dns.TypeA))) }
	for range 3 {
		if got := ask(till); !strings.HasPrefix(got, "NXDOMAIN") {
			t.Fatalf("within the burst: %s", got)
		}
	}
	if got := ask(till); got != "silence" || b.records.last().Reason != policy.RateLimited {
		t.Errorf("over the rate: %s, %v", got, b.records.last().Reason)
	}
	if got := ask("10.0.0.6"); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Errorf("another client: %s", got)
	}
	b.now = b.now.Add(100 * time.Millisecond)
	if got := ask(till); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Errorf("a tenth of a second later: %s", got)
	}

	// Strangers, however many, are told a few times, and take nothing from the clients.
	b.strangers = newLimiter(strangerRate, strangerBurst, start)
	told := 0
	for i := range 2 * maxBuckets {
		if ask(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}).String()) != "silence" {
			told++
		}
		ask(netip.AddrFrom4([4]byte{45, 16, byte(i >> 8), byte(i)}).String())
	}
	if told != strangerBurst {
		t.Errorf("%d strangers were told", told)
	}
	if n := len(b.rate.buckets); n > 3 {
		t.Errorf("strangers have %d buckets", n)
	}
	if got := ask("10.0.0.7"); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Errorf("a client after the strangers: %s", got)
	}
}
