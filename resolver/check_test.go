package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
)

// message is an upstream's reply made of records in zone file form.
func message(t testing.TB, rcode int, answers, authority []string) *dns.Msg {
	t.Helper()
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Rcode: rcode}}
	for _, list := range []struct {
		from []string
		to   *[]dns.RR
	}{{answers, &m.Answer}, {authority, &m.Ns}} {
		for _, s := range list.from {
			rr, err := dns.NewRR(s)
			if err != nil {
				t.Fatal(err)
			}
			*list.to = append(*list.to, rr)
		}
	}
	return m
}

func TestCheckAnswer(t *testing.T) {
	long := []string{"a. 60 A 192.0.9.1"}
	for i := range maxChain + 1 {
		long = append(long, fmt.Sprintf("c%d. 60 CNAME c%d.", i, i+1))
	}
	for _, tt := range []struct {
		name      string
		of        string
		qtype     uint16
		rcode     int
		answers   []string
		authority []string
		want      *answer
		err       error
	}{
		{name: "an address", of: "a", qtype: dns.TypeA,
			answers: []string{"a. 60 A 192.0.9.1"},
			want:    &answer{ttl: 60, addrs: addrs("192.0.9.1")}},
		{name: "the least TTL of the chain and the set", of: "a", qtype: dns.TypeA,
			answers: []string{"a. 60 CNAME B.", "b. 5 CNAME c.", "C. 300 A 192.0.9.1", "c. 200 A 192.0.9.2"},
			want:    &answer{ttl: 5, cname: []string{"b", "c"}, addrs: addrs("192.0.9.1", "192.0.9.2")}},
		{name: "the chain in another order", of: "a", qtype: dns.TypeA,
			answers: []string{"c. 300 A 192.0.9.1", "b. 5 CNAME c.", "a. 60 CNAME b."},
			want:    &answer{ttl: 5, cname: []string{"b", "c"}, addrs: addrs("192.0.9.1")}},
		{name: "what is not on the way is left behind", of: "a", qtype: dns.TypeA,
			answers: []string{"a. 60 A 192.0.9.1", "bank. 1 A 192.0.9.66", "a. 1 AAAA 2a00::1", "a. 1 TXT x", "a. 1 CH A 192.0.9.7"},
			want:    &answer{ttl: 60, addrs: addrs("192.0.9.1")}},
		{name: "a CNAME alone", of: "a", qtype: dns.TypeCNAME,
			answers: []string{"a. 60 CNAME b.", "b. 60 A 192.0.9.1"},
			want:    &answer{ttl: 60, cname: []string{"b"}}},
		{name: "a loop", of: "a", qtype: dns.TypeA,
			answers: []string{"a. 60 CNAME b.", "b. 60 CNAME a."}, err: errChain},
		{name: "a loop further down", of: "a", qtype: dns.TypeA,
			answers: []string{"a. 60 CNAME b.", "b. 60 CNAME c.", "c. 60 CNAME b."}, err: errChain},
		{name: "a chain too long", of: "c0", qtype: dns.TypeA, answers: long, err: errChain},
		{name: "a chain to the root", of: "a", qtype: dns.TypeA, answers: []string{"a. 60 CNAME ."}, err: errChain},
		{name: "a day at most", of: "a", qtype: dns.TypeA,
			answers: []string{"a. 999999 A 192.0.9.1"}, want: &answer{ttl: maxTTL, addrs: addrs("192.0.9.1")}},
		{name: "a negative TTL is zero", of: "a", qtype: dns.TypeA,
			answers: []string{"a. 2147483648 A 192.0.9.1"}, want: &answer{ttl: 0, addrs: addrs("192.0.9.1")}},
		{name: "NXDOMAIN", of: "a.x", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			authority: []string{"x. 300 SOA n. h. 1 2 3 4 60"},
			want:      &answer{rcode: dns.RcodeNameError, ttl: 60}},
		{name: "NODATA, five minutes at most", of: "a.x", qtype: dns.TypeA,
			authority: []string{"x. 9000 SOA n. h. 1 2 3 4 9000"}, want: &answer{ttl: maxNegativeTTL}},
		{name: "a SOA of somebody else", of: "a.x", qtype: dns.TypeA,
			authority: []string{"y. 9000 SOA n. h. 1 2 3 4 9000"}, want: &answer{ttl: failTTL}},
		{name: "nothing at all", of: "a.x", qtype: dns.TypeA, want: &answer{ttl: failTTL}},
		{name: "a chain to nothing", of: "a", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			answers:   []string{"a. 20 CNAME b.x."},
			authority: []string{"x. 300 SOA n. h. 1 2 3 4 60"},
			want:      &answer{rcode: dns.RcodeNameError, ttl: 20, cname: []string{"b.x"}}},
		{name: "addresses in an NXDOMAIN are not believed", of: "a", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			answers: []string{"a. 20 A 192.0.9.1"}, want: &answer{rcode: dns.RcodeNameError, ttl: failTTL}},
		{name: "SERVFAIL", of: "a", qtype: dns.TypeA, rcode: dns.RcodeServerFailure, err: rcodeError(dns.RcodeServerFailure)},
		{name: "REFUSED", of: "a", qtype: dns.TypeA, rcode: dns.RcodeRefused, err: rcodeError(dns.RcodeRefused)},
	} {
		got, err := checkAnswer(message(t, tt.rcode, tt.answers, tt.authority), tt.of, tt.qtype)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
			continue
		}
		diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{}), cmpopts.IgnoreFields(answer{}, "soa"),
			cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty())
		if tt.err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestCheckAnswerBoundsAddresses(t *testing.T) {
	var many []string
	for i := range 2 * maxAddrs {
		many = append(many, fmt.Sprintf("a. 60 A 192.0.9.%d", i))
	}
	a, err := checkAnswer(message(t, 0, many, nil), "a", dns.TypeA)
	if err != nil || len(a.addrs) != maxAddrs {
		t.Errorf("%d addresses, %v", len(a.addrs), err)
	}
}

func addrs(list ...string) (a []netip.Addr) {
	for _, s := range list {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}
