package ntprelay

import (
	"net/netip"

	"tillgate/decision"
	"tillgate/policy"
)

// recordKiss records that a server wants to be asked less, or not at all.
func (p *poller) recordKiss(s *peer, kiss *kissError) {
	text := kiss.Error() + ": it is asked each " + s.least.String() + " at most from now on"
	if kiss.final() {
		text = kiss.Error() + ": it is not asked any more, unless its name leads to no other"
	}
	p.deps.Records.Record(decision.Record{
		Plane:  policy.System,
		Event:  decision.EventTime,
		Name:   s.name.host,
		Dest:   netip.AddrPortFrom(s.addr, p.cfg.Port),
		Detail: text,
	})
}
