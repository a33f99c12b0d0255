package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tillgate/policy"
)

// guard returns why the attempt may not lead to an address.
func (a *attempt) guard(addr netip.Addr, own []netip.Prefix) error {
	err := checkDestination(addr, own, a.private())
	if err == nil && a.decision.Verdict == policy.WouldDeny && near(addr, own) {
		err = errNear
	}
	if err != nil {
		return fmt.Errorf("%v: %w", addr, err)
	}
	return nil
}

var (
	errOwn       = errors.New("the box's own address")
	errNoUnicast = errors.New("no unicast address")
	errNear      = errors.New("in a network of the box, and so of the store")
)

// checkDestination returns why an address is not dialled. Even a rule for private
// addresses leads neither to the box itself nor to many hosts at once; 0.0.0.0 is the
// box for Linux.
func checkDestination(addr netip.Addr, own []netip.Prefix, private bool) error {
	host := addr.Unmap().WithZone("")
	switch {
	case host.IsLoopback(), host.IsUnspecified(), slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr() == host }):
		return errOwn
	case !private:
		return policy.CheckAddr(addr)
	case !host.IsGlobalUnicast() && !host.IsLinkLocalUnicast():
		return errNoUnicast
	}
	return nil
}

// near reports whether an address is in one of the networks. What a class may do that is only
// observed ends at the store, also where that has addresses of the Internet.
func near(addr netip.Addr, networks []netip.Prefix) bool {
	host := addr.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(host) })
}
