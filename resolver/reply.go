package resolver

import (
	"strings"

	"github.com/miekg/dns"

	"tillgate/policy"
)

const (
	// denyTTL is how long a client may keep a denial, in seconds: short, so that
	// a name that is allowed now works now.
	denyTTL = 10
	// staleTTL is what a stale answer says (RFC 8767 §4).
	staleTTL = 30
	// localTTL is for the box's own addresses, by whatever name, and for localhost.
	localTTL = 30
	// untimedTTL is for what was learned before the time was known.
	untimedTTL = 30
	// failTTL is how long a failure is kept (RFC 9520 §3.2: 1 s to 5 min).
	failTTL = 5
	// untimedFailTTL is the same before the time was known: a box that starts before its
	// network waits for that.
	untimedFailTTL = 1
)

// reply returns an empty answer to q: its ID, question and flags, and an OPT if it
// had one. A client that sent EDNS and gets none back may take us for a server of
// before 1999 and stop asking properly.
func (q *query) reply(rcode int) *dns.Msg {
	m := new(dns.Msg)
	m.Id = q.req.Id
	m.Response = true
	m.Opcode = q.req.Opcode
	m.RecursionDesired = q.req.RecursionDesired
	m.RecursionAvailable = true
	m.CheckingDisabled = q.req.CheckingDisabled // RFC 4035 §3.2.2
	m.Question = q.req.Question
	m.Compress = true
	m.Rcode = rcode
	if o := q.req.IsEdns0(); o != nil {
		m.SetEdns0(serverUDPSize, o.Do()) // DO is copied: RFC 3225 §3
	} else if rcode > 0xF {
		m.Rcode = dns.RcodeFormatError // an extended code has no room without OPT
	}
	return m
}

// maxExplanation is the longest text of an Extended DNS Error, in bytes: a reply of 512
// has room for it beside the longest name.
const maxExplanation = 100

// explain adds an Extended DNS Error (RFC 8914) where the client can take one.
func explain(m *dns.Msg, code uint16, text string) {
	if len(text) > maxExplanation {
		text = strings.ToValidUTF8(text[:maxExplanation], "") // not half a letter
	}
	if o := m.IsEdns0(); o != nil {
		o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
	}
}

// denial is the answer to a name that this client may not have. NXDOMAIN for
// every type, never REFUSED or SERVFAIL: Android drops a server for those, and
// musl gives up on a name. But NXDOMAIN says that nothing is below (RFC 8020), so
// a name above an allowed one is empty instead.
func (q *query) denial(d policy.Decision) *dns.Msg {
	rcode := dns.RcodeNameError
	if d.Above {
		rcode = dns.RcodeSuccess
	}
	m := q.reply(rcode)
	m.Ns = []dns.RR{q.soa(denyTTL)}
	explain(m, dns.ExtendedErrorCodeBlocked, d.Reason.String()+": "+d.Reason.Text())
	return m
}

// empty is NODATA: the name is there, this type of record is not.
func (q *query) empty() *dns.Msg {
	m := q.reply(dns.RcodeSuccess)
	m.Ns = []dns.RR{q.soa(denyTTL)}
	return m
}

// soa lets a client keep a negative answer (RFC 2308 §3). Its owner is the name that
// was asked for, so that it says nothing of any other name.
func (q *query) soa(ttl uint32) dns.RR {
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: q.req.Question[0].Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:      boxName + ".",
		Mbox:    "hostmaster." + boxName + ".",
		Serial:  1,
		Refresh: 3600,
		Retry:   600,
		Expire:  86400,
		Minttl:  ttl,
	}
}

// failure is SERVFAIL with its reason: only where nobody could answer.
func (q *query) failure(code uint16, text string) *dns.Msg {
	m := q.reply(dns.RcodeServerFailure)
	explain(m, code, text)
	return m
}

// respond packs m within the client's limit and sends it. What does not fit is
// cut and marked, so that the client asks again by TCP; a stub that can't, still
// has the records that did fit.
func (r *Resolver) respond(q *query, m *dns.Msg) {
	m.Truncate(q.limit())
	m.Compress = true // also where there is room: so owners point at the question's name, as asked
	wire, err := m.Pack()
	if o := m.IsEdns0(); err == nil && o != nil && len(wire) > q.limit() {
		o.Option = nil // better no reason than a reply that is lost
		wire, err = m.Pack()
	}
	if err != nil {
		r.deps.Log.Error("packing a DNS reply failed", "name", q.name, "err", err)
		r.stats.failed.Add(1)
		wire, err = q.reply(dns.RcodeServerFailure).Pack()
		if err != nil {
			wire = nil
		}
	}
	if wire != nil {
		copy(wire[headerSize:], q.asked)
	}
	q.send(wire)
}
