package firewall

import (
	"fmt"
	"net/netip"

	"tillgate/decision"
	"tillgate/policy"
)

// protoOf is a protocol as records know it.
func protoOf(number uint8) policy.Proto {
	switch number {
	case protoTCP:
		return policy.TCP
	case protoUDP:
		return policy.UDP
	case protoICMP, protoICMPv6:
		return policy.ICMP
	}
	return policy.NoProto
}

// record is that of an attempt, but for the count.
func (l label) record(a attempt) decision.Record {
	r := decision.Record{Plane: policy.Firewall, Verdict: l.verdict, Reason: l.reason, Class: l.class,
		Client: a.src, Port: a.port, Proto: protoOf(a.number)}
	switch {
	case a.dst.IsValid():
		r.Dest = netip.AddrPortFrom(a.dst, a.port)
		if r.Proto == policy.NoProto {
			r.Detail = fmt.Sprintf("IP protocol %d", a.number)
		}
	case a.src.IsValid() || l.reason == policy.Spoofed:
		r.Detail = "various destinations, counted together"
	default:
		r.Detail = "various clients and destinations, counted together"
	}
	return r
}
