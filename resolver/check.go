package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// maxChain is how many CNAMEs are followed, maxAddrs how many addresses of a
	// name are kept. Real names have a handful.
	maxChain = 16
	maxAddrs = 64
	// maxTTL and maxNegativeTTL bound how long an upstream may make us keep an
	// answer, in seconds.
	maxTTL         = 86400
	maxNegativeTTL = 300
)

// answer is what is kept of an upstream's reply: the chain from the name that was
// asked for to its addresses, and nothing else. It never changes once it is made.
type answer struct {
	rcode int // NOERROR or NXDOMAIN
	cname []string
	addrs []netip.Addr
	ttl   uint32 // seconds: the least of all parts
	soa   *dns.SOA
	ad    bool
}

// Errors of checkAnswer.
var (
	errChain      = errors.New("the CNAME chain is broken or too long")
	errWrongThing = errors.New("the reply has records of another type at the name")
)

// rcodeError is a reply that is no answer.
type rcodeError int

func (e rcodeError) Error() string {
	return fmt.Sprintf("the upstream says %s", rcodeName(int(e)))
}

// checkAnswer takes from a reply to (name, qtype) what was asked for. Records that
// are not on the way from the name are left behind: they may be true, but nobody
// asked, and a cache that keeps them can be poisoned.
func checkAnswer(m *dns.Msg, name string, qtype uint16) (*answer, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, rcodeError(m.Rcode)
	}
	a := &answer{rcode: m.Rcode, ttl: maxTTL, ad: m.AuthenticatedData}
	at := name
	for {
		next, ok := a.follow(m, at)
		if !ok {
			break
		}
		if next == "" || next == name || len(a.cname) > maxChain {
			return nil, errChain
		}
		at = next
		if qtype == dns.TypeCNAME {
			return a, nil
		}
	}
	if a.rcode == dns.RcodeSuccess {
		if err := a.collect(m, at, qtype); err != nil {
			return nil, err
		}
	}
	if len(a.addrs) == 0 {
		a.negative(m, at)
	}
	return a, nil
}

// follow adds the target of the CNAME at owner, if there is one.
func (a *answer) follow(m *dns.Msg, owner string) (target string, ok bool) {
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok && sameName(c.Hdr.Name, owner) {
			target := canonical(c.Target)
			a.cname = append(a.cname, target)
			a.lower(c.Hdr.Ttl)
			return target, true
		}
	}
	return "", false
}

// collect takes the addresses at owner.
func (a *answer) collect(m *dns.Msg, owner string, qtype uint16) error {
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || !sameName(h.Name, owner) {
			continue
		}
		var addr netip.Addr
		var ok bool
		switch rr := rr.(type) {
		case *dns.A:
			addr, ok = netip.AddrFromSlice(rr.A.To4())
		case *dns.AAAA:
			addr, ok = netip.AddrFromSlice(rr.AAAA.To16())
		}
		if !ok {
			return errWrongThing
		}
		a.lower(h.Ttl)
		if len(a.addrs) < maxAddrs {
			a.addrs = append(a.addrs, addr)
		}
	}
	return nil
}

// negative takes the SOA that says how long nothing stays nothing (RFC 2308 §5). It
// must be of a zone that the name is in; without one the answer is kept for as long
// as a failure.
func (a *answer) negative(m *dns.Msg, name string) {
	for _, rr := range m.Ns {
		if s, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(s.Hdr.Name, dns.Fqdn(name)) {
			a.lower(min(s.Hdr.Ttl, s.Minttl, maxNegativeTTL))
			a.soa = s
			return
		}
	}
	a.lower(failTTL)
}

// lower makes ttl the answer's if it is less. One with the top bit set is zero
// (RFC 2181 §8).
func (a *answer) lower(ttl uint32) {
	if ttl > 1<<31-1 {
		ttl = 0
	}
	a.ttl = min(a.ttl, ttl)
}

// write puts the answer's records into m, with addrs for its addresses. Owners that
// are the name that was asked for are spelt as the client spelt it.
func (a *answer) write(m *dns.Msg, addrs []netip.Addr, ttl uint32) {
	owner := m.Question[0].Name
	for _, target := range a.cname {
		target += "."
		m.Answer = append(m.Answer, &dns.CNAME{
			Hdr:    dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: ttl},
			Target: target,
		})
		owner = target
	}
	for _, addr := range addrs {
		m.Answer = append(m.Answer, addressRecord(owner, addr, ttl))
	}
	if a.soa != nil {
		s := *a.soa
		s.Hdr.Ttl = ttl
		m.Ns = append(m.Ns, &s)
	}
}

// canonical is a name of an upstream's reply as it is kept: lower-case, without the
// dot at the end.
func canonical(fqdn string) string {
	return strings.TrimSuffix(dns.CanonicalName(fqdn), ".")
}

func sameName(fqdn, canon string) bool {
	return strings.EqualFold(strings.TrimSuffix(fqdn, "."), canon)
}

func rcodeName(rcode int) string {
	if rcode == dns.RcodeBadVers {
		return "BADVERS" // the table has 16 as TSIG's BADSIG
	}
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}
