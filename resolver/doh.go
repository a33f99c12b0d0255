package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"tillgate/internal/h2"
)

const (
	dohMediaType = "application/dns-message"
	// dohMaxReply is the longest DNS message, in octets.
	dohMaxReply = dns.MaxMsgSize
	// dohPadBlock is what a query's length is a multiple of (RFC 8467 §4.1). The
	// longest name makes 384 octets of it; dns.google takes 512.
	dohPadBlock = 128
	// dohUDPSize means nothing over HTTP, but a DoH front end may hand the query on
	// by UDP within its own site, where more than the usual 1232 octets pass.
	dohUDPSize = 4096
)

// errDoHReply is an HTTP answer that is no DNS answer to the question.
var errDoHReply = errors.New("no proper DNS answer")

// dohStatusError is an HTTP status other than 200. Other 2xx carry no message, and a
// redirect is never followed: it could lead away from the pinned addresses.
type dohStatusError int

func (e dohStatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", int(e), http.StatusText(int(e))))
}

// dohQuery is one question, ready to be sent any number of times.
type dohQuery struct {
	name     string // canonical, without its trailing dot
	question dns.Question
	wire     []byte
}

// newDoHQuery makes the query for a name without its trailing dot. The ID is 0 (RFC
// 8484 §4.1); AD asks for the server's word on DNSSEC without its records (RFC 6840
// §5.7).
//
// It has no EDNS Client Subnet option, so dns.google tells the servers that it asks
// the first 24 bits of the store's address (56 of IPv6). An option of 0.0.0.0/0 would
// forbid that (RFC 7871 §7.1.2), but would hide next to nothing: only documented names
// are asked for, and the terminal connects to their owner from that same address a
// moment later. In return the store would get the answers of wherever the resolver
// stands, which with names that differ by country can be wrong ones, and others than
// the terminals get that ask dns.google by themselves.
func newDoHQuery(name string, qtype uint16) (*dohQuery, error) {
	q := &dohQuery{name: name, question: dns.Question{Name: dns.Fqdn(name), Qtype: qtype, Qclass: dns.ClassINET}}
	padding := new(dns.EDNS0_PADDING)
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{padding}}
	opt.SetUDPSize(dohUDPSize)
	m := &dns.Msg{
		MsgHdr:   dns.MsgHdr{RecursionDesired: true, AuthenticatedData: true},
		Question: []dns.Question{q.question},
		Extra:    []dns.RR{opt},
	}
	if over := m.Len() % dohPadBlock; over != 0 {
		padding.Padding = make([]byte, dohPadBlock-over)
	}
	var err error
	if q.wire, err = m.Pack(); err != nil {
		return nil, fmt.Errorf("packing a query for %q: %w", name, err)
	}
	return q, nil
}

// dohHeader is that of every request, with as little in it as the server needs (RFC 8484
// §10): no User-Agent, no cookies, and no Accept-Encoding.
func dohHeader(u *url.URL) []h2.Field {
	return []h2.Field{
		{Name: ":authority", Value: u.Host},
		{Name: ":method", Value: http.MethodPost},
		{Name: ":path", Value: u.RequestURI()},
		{Name: ":scheme", Value: "https"},
		{Name: "accept", Value: dohMediaType},
		{Name: "content-type", Value: dohMediaType},
	}
}

// read takes the message out of a response, or says in a [dohStatusError] or
// an errDoHReply why there is none.
func (q *dohQuery) read(resp *h2.Response) (*dns.Msg, error) {
	if resp.Status != http.StatusOK {
		return nil, dohStatusError(resp.Status)
	}
	if resp.Cut {
		return nil, fmt.Errorf("%w: more than %d octets", errDoHReply, dohMaxReply)
	}
	given := resp.Get("content-type")
	if given != dohMediaType { // else there is nothing to parse
		if t, _, err := mime.ParseMediaType(given); err != nil || t != dohMediaType {
			return nil, fmt.Errorf("%w: the content type is %.64q", errDoHReply, given)
		}
	}
	if e := resp.Get("content-encoding"); e != "" {
		return nil, fmt.Errorf("%w: the content encoding is %.64q", errDoHReply, e)
	}
	m, err := q.parse(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDoHReply, err)
	}
	dohAge(m, resp.Get("age"))
	return m, nil
}

// parse unpacks a message and makes sure that it is a reply to the question. An rcode
// other than NOERROR is still a reply. What the records say is not looked at.
func (q *dohQuery) parse(wire []byte) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return nil, fmt.Errorf("unpacking it: %w", err)
	}
	switch {
	case m.Id != 0:
		return nil, fmt.Errorf("its ID is %d, not 0", m.Id)
	case !m.Response:
		return nil, errors.New("it is a query")
	case m.Opcode != dns.OpcodeQuery:
		return nil, fmt.Errorf("its opcode is %d", m.Opcode)
	case m.Truncated:
		return nil, errors.New("it is truncated")
	case len(m.Question) != 1:
		return nil, fmt.Errorf("it has %d questions", len(m.Question))
	}
	if got := m.Question[0]; !strings.EqualFold(got.Name, q.question.Name) ||
		got.Qtype != q.question.Qtype || got.Qclass != q.question.Qclass {
		return nil, fmt.Errorf("it is about %.255q, type %d, class %d", got.Name, got.Qtype, got.Qclass)
	}
	// Unpack takes a message that ends before its counts do for a shorter one.
	for i, n := range [...]int{len(m.Answer), len(m.Ns), len(m.Extra)} {
		if int(binary.BigEndian.Uint16(wire[6+2*i:])) != n {
			return nil, errors.New("it ends too early")
		}
	}
	opts := 0
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			switch h := rr.Header(); {
			case h.Rrtype == dns.TypeOPT:
				opts++
			case h.Rdlength == 0:
				// Unpack lets these pass, for the sake of dynamic updates; an
				// A without its address is no record.
				return nil, fmt.Errorf("it has a record of type %d without data", h.Rrtype)
			}
		}
	}
	if opts > 1 { // RFC 6891 §6.1.1
		return nil, fmt.Errorf("it has %d OPT records", opts)
	}
	return m, nil
}

// dohAge takes the time that a response lay in an HTTP cache off its TTLs (RFC 8484
// §5.1). A malformed Age counts as none (RFC 9111 §5.1), a huge one ends every TTL.
func dohAge(m *dns.Msg, age string) {
	age, _, _ = strings.Cut(age, ",")
	n, err := strconv.ParseUint(strings.TrimSpace(age), 10, 32)
	if err != nil && !errors.Is(err, strconv.ErrRange) || n == 0 {
		return
	}
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			h := rr.Header()
			if h.Rrtype == dns.TypeOPT {
				continue // its TTL is flags
			}
			if soa, ok := rr.(*dns.SOA); ok {
				h.Ttl = min(h.Ttl, soa.Minttl) // what a negative answer lives for (RFC 2308 §5)
			}
			h.Ttl -= min(h.Ttl, uint32(n))
		}
	}
}
