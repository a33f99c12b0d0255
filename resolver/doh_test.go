package resolver

import (
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestDoHQuery(t *testing.T) {
	longest := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 61)
	for _, tt := range []struct {
		name  string
		qtype uint16
		size  int
	}{
		{"x", dns.TypeA, 128},
		{"api-pos-default-v4.payxpert.com", dns.TypeAAAA, 128},
		{strings.Repeat("a.", 47) + "b", dns.TypeA, 128},  // 128 before the padding
		{strings.Repeat("a.", 47) + "bc", dns.TypeA, 256}, // 129
		{longest, dns.TypeCNAME, 384},
	} {
		q, err := newDoHQuery(tt.name, tt.qtype)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		m := new(dns.Msg)
		if err := m.Unpack(q.wire); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if len(q.wire) != tt.size {
			t.Errorf("%s: %d octets, want %d", tt.name, len(q.wire), tt.size)
		}
		want := dns.MsgHdr{Id: 0, RecursionDesired: true, AuthenticatedData: true}
		if diff := cmp.Diff(want, m.MsgHdr); diff != "" {
			t.Errorf("%s: header\n%s", tt.name, diff)
		}
		if diff := cmp.Diff([]dns.Question{{Name: tt.name + ".", Qtype: tt.qtype, Qclass: dns.ClassINET}}, m.Question); diff != "" {
			t.Errorf("%s: question\n%s", tt.name, diff)
		}
		opt := m.IsEdns0()
		if opt == nil || opt.Do() || opt.Version() != 0 || opt.UDPSize() != dohUDPSize || len(m.Extra) != 1 {
			t.Errorf("%s: OPT %v", tt.name, opt)
		} else if len(opt.Option) != 1 || opt.Option[0].Option() != dns.EDNS0PADDING {
			t.Errorf("%s: options %v, want padding only", tt.name, opt.Option)
		}
	}
}

func TestDoHQueryBadName(t *testing.T) {
	for _, name := range []string{strings.Repeat("x", 64), "a..b"} {
		if _, err := newDoHQuery(name, dns.TypeA); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// dohGood is a proper reply, which tests spoil.
func dohGood() *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion("api.example.test.", dns.TypeA)
	m.Id, m.Response, m.RecursionAvailable = 0, true, true
	m.Answer = []dns.RR{
		&dns.CNAME{Hdr: dns.RR_Header{Name: "api.example.test.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: "edge.example.test."},
		&dns.A{Hdr: dns.RR_Header{Name: "edge.example.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)},
	}
	m.SetEdns0(512, false)
	return m
}

func TestDoHParse(t *testing.T) {
	pack := func(m *dns.Msg) []byte {
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	with := func(f func(*dns.Msg)) []byte {
		m := dohGood()
		f(m)
		return pack(m)
	}
	set := func(at int, b ...byte) []byte {
		wire := pack(dohGood())
		copy(wire[at:], b)
		return wire
	}
	for _, tt := range []struct {
		name string
		wire []byte
		want string // in the error; empty: a good reply
	}{
		{"good", pack(dohGood()), ""},
		{"another case", with(func(m *dns.Msg) { m.Question[0].Name = "API.example.TEST." }), ""},
		{"no OPT", with(func(m *dns.Msg) { m.Extra = nil }), ""},
		{"SERVFAIL", with(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }), ""},
		{"NXDOMAIN", with(func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNameError, nil }), ""},
		{"BADVERS, in the OPT", with(func(m *dns.Msg) { m.Rcode = dns.RcodeBadVers }), ""},

		{"nothing", nil, "unpacking"},
		{"half a header", make([]byte, 11), "unpacking"},
		{"a header", []byte{0, 0, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "0 questions"},
		{"HTML", []byte("<!DOCTYPE html><html><body>Welcome to our Wi-Fi"), ""},
		{"an ID", with(func(m *dns.Msg) { m.Id = 7 }), "its ID is 7"},
		{"a query", with(func(m *dns.Msg) { m.Response = false }), "it is a query"},
		{"an opcode", with(func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }), "opcode is 2"},
		{"truncated", with(func(m *dns.Msg) { m.Truncated = true }), "truncated"},
		{"no question", with(func(m *dns.Msg) { m.Question = nil }), "0 questions"},
		{"two questions", with(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), "2 questions"},
		{"another name", with(func(m *dns.Msg) { m.Question[0].Name = "evil.example.test." }), `about "evil.example.test."`},
		{"the root", with(func(m *dns.Msg) { m.Question[0].Name = "." }), `about "."`},
		{"another type", with(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }), "type 28"},
		{"another class", with(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), "class 3"},
		{"two OPTs", with(func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[0]) }), "2 OPT records"},
		{"an OPT as answer", with(func(m *dns.Msg) { m.Answer = append(m.Answer, m.Extra[0]) }), "2 OPT records"},
		{"more answers announced", set(6, 0, 9), "ends too early"},
		{"more questions announced", []byte("\x00\x00\x80\x00\x00\x02\x00\x00\x00\x00\x00\x00\x03api\x07example\x04test\x00\x00\x01\x00\x01"), "unpacking"},
		{"an A of no octets", []byte("\x00\x00\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\x03api\x07example\x04test\x00\x00\x01\x00\x01" +
			"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00"), "type 1 without data"},
		{"an A of three octets", []byte("\x00\x00\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\x03api\x07example\x04test\x00\x00\x01\x00\x01" +
			"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x03\xc0\x00\x02"), "unpacking"},
		{"a name that points at itself", []byte("\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), "unpacking"},
		{"cut short", pack(dohGood())[:40], "unpacking"},
	} {
		q, err := newDoHQuery("api.example.test", dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		m, err := q.parse(tt.wire)
		switch {
		case tt.name == "HTML": // what it is taken for does not matter
			if err == nil {
				t.Errorf("%s: accepted as %v", tt.name, m)
			}
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error %v, want %q in it", tt.name, err, tt.want)
		case tt.name == "BADVERS, in the OPT" && m.Rcode != dns.RcodeBadVers:
			t.Errorf("%s: rcode %d", tt.name, m.Rcode)
		}
	}
}

func TestDoHAge(t *testing.T) {
	for _, tt := range []struct {
		age  string
		want []uint32 // TTLs of the CNAME, the A, the SOA; and the OPT's flags
	}{
		{"", []uint32{300, 60, 900, 0x8000}},
		{"0", []uint32{300, 60, 900, 0x8000}},
		{"20", []uint32{280, 40, 100, 0x8000}}, // the SOA counts for 120 s at most
		{" 20 ", []uint32{280, 40, 100, 0x8000}},
		{"20, 9", []uint32{280, 40, 100, 0x8000}}, // RFC 9111 §5.1: the first
		{"100", []uint32{200, 0, 20, 0x8000}},
		{"4294967295", []uint32{0, 0, 0, 0x8000}},
		{"99999999999999999999999", []uint32{0, 0, 0, 0x8000}},
		{"-5", []uint32{300, 60, 900, 0x8000}},
		{"1e3", []uint32{300, 60, 900, 0x8000}},
		{"soon", []uint32{300, 60, 900, 0x8000}},
	} {
		m := dohGood()
		m.IsEdns0().SetDo()
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 900}, Minttl: 120}}
		dohAge(m, tt.age)
		var got []uint32
		for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
			got = append(got, rr.Header().Ttl)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("age %q: %s", tt.age, diff)
		}
	}
}

// FuzzDoHReply gives any bytes to the checks: what they accept is a reply to the
// question by its bytes too.
func FuzzDoHReply(f *testing.F) {
	good, err := dohGood().Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, "")
	f.Add(good[:len(good)-11], "17")
	f.Add(good[:12], "-1")
	f.Add([]byte("\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), "9, 9")
	f.Add([]byte("<!DOCTYPE html>"), "99999999999999999999")
	q, err := newDoHQuery("api.example.test", dns.TypeA)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, wire []byte, age string) {
		m, err := q.parse(wire)
		if err != nil {
			return
		}
		if len(wire) < 12 || wire[0]|wire[1] != 0 || wire[2]&0xfa != 0x80 {
			t.Fatalf("accepted the header % x", wire[:min(len(wire), 12)])
		}
		if qd := binary.BigEndian.Uint16(wire[4:]); qd != 1 {
			t.Fatalf("accepted %d questions", qd)
		}
		const question = "\x03api\x07example\x04test\x00\x00\x01\x00\x01"
		if !strings.HasPrefix(strings.ToLower(string(wire[12:])), question) {
			t.Fatalf("accepted the question % x", wire[12:])
		}
		if got := int(binary.BigEndian.Uint16(wire[6:])); got != len(m.Answer) {
			t.Fatalf("%d answers of %d", len(m.Answer), got)
		}
		before := m.Copy()
		dohAge(m, age)
		for i, rr := range m.Answer {
			if ttl := rr.Header().Ttl; ttl > before.Answer[i].Header().Ttl {
				t.Fatalf("age %q made a TTL of %d", age, ttl)
			}
		}
	})
}
