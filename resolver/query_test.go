package resolver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"tillgate/policy"
)

// sameParse parses a query by its short way and by that for any.
func sameParse(t testing.TB, wire []byte) {
	t.Helper()
	if !isQuery(wire) {
		return
	}
	short, shortFault := parse(wire)
	any, anyFault := unpack(wire)
	if diff := cmp.Diff(any, short); diff != "" || shortFault != anyFault {
		t.Errorf("%x: fault %d and %d (-any way +short way):\n%s", wire, anyFault, shortFault, diff)
	}
}

func TestParseTheSame(t *testing.T) {
	short := 0
	for _, wire := range twinQueries(t) {
		if sameParse(t, wire); isQuery(wire) && nameEnd(wire) > 0 && bare(wire, nameEnd(wire)) {
			short++
		}
	}
	if short < 500 {
		t.Errorf("only %d are parsed by the short way", short)
	}
}

// FuzzQuery sends any bytes to the whole way of a query. What comes back must be a
// reply to them, within the size that they allow.
func FuzzQuery(f *testing.F) {
	for _, m := range []*dns.Msg{
		queryFor(known, dns.TypeA),
		queryFor("example.com", dns.TypeHTTPS, func(m *dns.Msg) { m.IsEdns0().SetDo() }),
		queryFor(".", dns.TypeNS, func(m *dns.Msg) { m.Extra = nil }),
		queryFor("tillgate.internal", dns.TypeAAAA, func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }),
		queryFor(`a\000b.example`, dns.TypeANY, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
	} {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, false)
		f.Add(wire[:len(wire)-3], true)
	}
	// An OPT with a part of an rcode, which no query has a use for.
	f.Add([]byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x02\x00\x01\x00\x00\x29\x10\x00\x30\x00\x00\x00\x00\x00"), false)
	b := newBench(f)
	b.up = func(name string, qtype uint16) (*dns.Msg, error) {
		return reply(name, qtype, 60, "192.0.9.1", "2a00::1"), nil
	}
	f.Fuzz(func(t *testing.T, wire []byte, tcp bool) {
		sameParse(t, wire)
		b.t = t
		b.records.all, b.asked = nil, nil
		proto := policy.UDP
		if tcp {
			proto = policy.TCP
		}
		m := b.exchange(till, proto, wire)
		if len(b.records.all) != 1 {
			t.Fatalf("%d records of one query", len(b.records.all))
		}
		if m == nil {
			return
		}
		if !m.Response || m.Id != uint16(wire[0])<<8|uint16(wire[1]) {
			t.Fatalf("no reply to the query: %v", m)
		}
		req := new(dns.Msg)
		if req.Unpack(wire) != nil {
			return
		}
		if len(m.Answer) > 0 && !tcp {
			limit := minUDPSize
			if o := req.IsEdns0(); o != nil {
				limit = min(max(int(o.UDPSize()), minUDPSize), serverUDPSize)
			}
			if m.Compress = true; m.Len() > limit {
				t.Fatalf("%d bytes, more than %d", m.Len(), limit)
			}
		}
		if (m.IsEdns0() != nil) != (req.IsEdns0() != nil) {
			t.Fatalf("OPT in the reply: %v, in the query: %v", m.IsEdns0(), req.IsEdns0())
		}
		if len(req.Question) == 1 && len(m.Question) != 1 {
			t.Fatalf("question %v of %v", m.Question, req.Question)
		}
	})
}
