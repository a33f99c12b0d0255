package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// tries is how often a question is sent by UDP.
	tries = 2
	// udpSize is what an answer by UDP may have (RFC 6891 section 6.2.5).
	udpSize = 1232
	// maxAddrs is how many addresses of an answer are taken.
	maxAddrs = 16
)

// ask asks a server for the addresses of a name, by both families at once. It has an error
// only where neither has an address.
func (v via) ask(ctx context.Context, server netip.AddrPort, name string) ([]netip.Addr, error) {
	type answer struct {
		addrs []netip.Addr
		err   error
	}
	var answers [2]answer
	came := make(chan struct{}, len(answers))
	for i, qtype := range []uint16{dns.TypeAAAA, dns.TypeA} {
		go func() {
			defer func() { came <- struct{}{} }()
			reply, err := v.question(ctx, server, name, qtype)
			if err == nil {
				answers[i].addrs, err = addressesOf(reply)
			}
			answers[i].err = err
		}()
	}
	for range answers {
		<-came
	}
	addrs := append(answers[0].addrs, answers[1].addrs...)
	if len(addrs) > 0 {
		return addrs, nil
	}
	for _, a := range []answer{answers[1], answers[0]} { // IPv4's is what most have
		if a.err != nil {
			return nil, a.err
		}
	}
	return nil, nil
}

// question asks by UDP, and by TCP where the answer was cut.
func (v via) question(ctx context.Context, server netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(udpSize, false)
	for i := range tries {
		reply, err := v.exchange(ctx, "udp", server, q, tries-i)
		switch {
		case err == nil && !reply.Truncated:
			return reply, nil
		case err == nil:
			if reply, err = v.exchange(ctx, "tcp", server, q, 1); err == nil {
				return reply, nil
			}
			return nil, &Trouble{NoDNS, "by TCP: " + troubleOf(err).Detail}
		case troubleOf(err).Fault != TimedOut:
			return nil, &Trouble{NoDNS, troubleOf(err).Detail}
		}
	}
	return nil, &Trouble{NoDNS, "no answer"}
}

func (v via) exchange(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg, parts int) (*dns.Msg, error) {
	ctx, cancel := share(ctx, parts)
	defer cancel()
	raw, err := v.cfg.Dial(ctx, network, server.String())
	if err != nil {
		return nil, connectTrouble(err)
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(0, 1)) })()
	conn := &dns.Conn{Conn: raw, UDPSize: udpSize}
	if err := conn.WriteMsg(q); err != nil {
		return nil, connectTrouble(err)
	}
	for {
		reply, err := conn.ReadMsg()
		var failed net.Error
		switch {
		case err == nil && isReply(reply, q):
			return reply, nil
		case err == nil && network == "udp":
			continue // somebody else's; the time is bounded
		case err == nil:
			return nil, &Trouble{Broken, "the answer is to another question"}
		case errors.As(err, &failed):
			return nil, connectTrouble(err)
		}
		return nil, &Trouble{Broken, "the answer is not DNS"}
	}
}

// isReply reports whether a reply is to this question.
func isReply(reply, q *dns.Msg) bool {
	return reply.Response && reply.Id == q.Id && len(reply.Question) == 1 &&
		strings.EqualFold(reply.Question[0].Name, q.Question[0].Name) && reply.Question[0].Qtype == q.Question[0].Qtype
}

// addressesOf returns the addresses of a reply, or why there are none, as the box says it
// with an Extended DNS Error (RFC 8914).
func addressesOf(reply *dns.Msg) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, rr := range reply.Answer {
		var a netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			a, _ = netip.AddrFromSlice(rr.A.To4())
		case *dns.AAAA:
			a, _ = netip.AddrFromSlice(rr.AAAA.To16())
		}
		if a.IsValid() && len(addrs) < maxAddrs {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	says := dns.RcodeToString[reply.Rcode]
	if says == "" {
		says = fmt.Sprintf("rcode %d", reply.Rcode)
	}
	code := -1
	if o := reply.IsEdns0(); o != nil {
		for _, option := range o.Option {
			if e, ok := option.(*dns.EDNS0_EDE); ok && code < 0 {
				code = int(e.InfoCode)
				says += ", " + dns.ExtendedErrorCodeToString[e.InfoCode]
				if e.ExtraText != "" {
					says += ": " + e.ExtraText
				}
			}
		}
	}
	says = "the box's DNS says " + says
	switch {
	case code == int(dns.ExtendedErrorCodeProhibited):
		return nil, &Trouble{Stranger, says}
	case code == int(dns.ExtendedErrorCodeBlocked), reply.Rcode == dns.RcodeRefused:
		return nil, &Trouble{Denied, says}
	case code == int(dns.ExtendedErrorCodeNotReady):
		return nil, &Trouble{UnknownTime, says}
	case reply.Rcode == dns.RcodeNameError:
		return nil, &Trouble{NoName, says}
	case reply.Rcode != dns.RcodeSuccess:
		return nil, &Trouble{Unresolved, says}
	}
	return nil, nil
}
