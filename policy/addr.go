package policy

import (
	"errors"
	"net/netip"
)

// A special is a row of IANA's special-purpose address registries, or a space
// that is no public unicast for another reason. It is the error of an address
// in it.
type special struct {
	prefix netip.Prefix
	what   string
	rfc    string // that says so
}

func (s *special) Error() string {
	return s.what + " (" + s.prefix.String() + ", RFC " + s.rfc + ")"
}

// The tables hold the narrower row before the wider one. Rows of the registries
// that hold public services by unicast (AS112, 192.31.196.0/24 and others) are
// left out, but no exception is made for those within 192.0.0.0/24 and
// 2001::/23: no name that a store needs leads there.
var (
	specials4 = []special{
		{netip.MustParsePrefix("0.0.0.0/8"), "this network", "791"},
		{netip.MustParsePrefix("10.0.0.0/8"), "private use", "1918"},
		{netip.MustParsePrefix("100.64.0.0/10"), "carrier-grade NAT", "6598"},
		{netip.MustParsePrefix("127.0.0.0/8"), "loopback", "1122"},
		{netip.MustParsePrefix("169.254.0.0/16"), "link-local", "3927"},
		{netip.MustParsePrefix("172.16.0.0/12"), "private use", "1918"},
		{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocol assignments", "6890"},
		{netip.MustParsePrefix("192.0.2.0/24"), "documentation", "5737"},
		{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relays", "7526"},
		{netip.MustParsePrefix("192.168.0.0/16"), "private use", "1918"},
		{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking", "2544"},
		{netip.MustParsePrefix("198.51.100.0/24"), "documentation", "5737"},
		{netip.MustParsePrefix("203.0.113.0/24"), "documentation", "5737"},
		{netip.MustParsePrefix("224.0.0.0/4"), "multicast", "5771"},
		{netip.MustParsePrefix("255.255.255.255/32"), "limited broadcast", "919"},
		{netip.MustParsePrefix("240.0.0.0/4"), "reserved", "1112"},
	}
	specials6 = []special{
		{netip.MustParsePrefix("::/128"), "unspecified", "4291"},
		{netip.MustParsePrefix("::1/128"), "loopback", "4291"},
		{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4-mapped", "4291"},
		{netip.MustParsePrefix("::/96"), "IPv4-compatible", "4291"},
		{netip.MustParsePrefix("64:ff9b:1::/48"), "local NAT64", "8215"},
		{netip.MustParsePrefix("100::/64"), "discard only", "6666"},
		{netip.MustParsePrefix("100:0:0:1::/64"), "dummy prefix", "9780"},
		{netip.MustParsePrefix("2001::/32"), "Teredo", "4380"},
		{netip.MustParsePrefix("2001:2::/48"), "benchmarking", "5180"},
		{netip.MustParsePrefix("2001:10::/28"), "ORCHID", "4843"},
		{netip.MustParsePrefix("2001:20::/28"), "ORCHIDv2", "7343"},
		{netip.MustParsePrefix("2001::/23"), "IETF protocol assignments", "2928"},
		{netip.MustParsePrefix("2001:db8::/32"), "documentation", "3849"},
		{netip.MustParsePrefix("2002::/16"), "6to4", "3056"},
		{netip.MustParsePrefix("3fff::/20"), "documentation", "9637"},
		{netip.MustParsePrefix("5f00::/16"), "segment routing identifiers", "9602"},
		{netip.MustParsePrefix("fc00::/7"), "unique local", "4193"},
		{netip.MustParsePrefix("fe80::/10"), "link-local", "4291"},
		{netip.MustParsePrefix("fec0::/10"), "site-local", "3879"},
		{netip.MustParsePrefix("ff00::/8"), "multicast", "4291"},
	}

	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	globalUnicast = netip.MustParsePrefix("2000::/3")

	notGlobal    = special{netip.MustParsePrefix("::/0"), "outside of global unicast", "4291"}
	errNoAddress = errors.New("no address")

	// storeNetworks is what a network rule may lie in.
	storeNetworks = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fc00::/7"),
		netip.MustParsePrefix("fe80::/10"),
	}
)

// CheckAddr returns nil for a public unicast address, else an error that names
// what special purpose it has. An IPv4 address within the well-known prefix of
// NAT64 (64:ff9b::/96, RFC 6052) is judged as itself; an IPv4-mapped address is
// special. It allocates nothing.
func CheckAddr(addr netip.Addr) error {
	addr = addr.WithZone("")
	rows := specials6
	switch {
	case !addr.IsValid():
		return errNoAddress
	case addr.Is4():
		rows = specials4
	case nat64.Contains(addr):
		b := addr.As16()
		return CheckAddr(netip.AddrFrom4([4]byte(b[12:])))
	}
	for i := range rows {
		if rows[i].prefix.Contains(addr) {
			return &rows[i]
		}
	}
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return &notGlobal
	}
	return nil
}

// WithinStore reports whether an address is of the kind that a store gives its own devices,
// or its carrier: private, unique local, link-local, or shared. Addresses that are special
// for another reason are not: those of 6to4 and Teredo come from anywhere in the Internet.
func WithinStore(addr netip.Addr) bool {
	addr = addr.WithZone("")
	return addr.IsValid() && withinStore(netip.PrefixFrom(addr, addr.BitLen()))
}

// withinStore reports whether a whole network is the store's own: private,
// unique local, link-local, or shared with the carrier.
func withinStore(network netip.Prefix) bool {
	for _, p := range storeNetworks {
		if p.Bits() <= network.Bits() && p.Contains(network.Addr()) {
			return true
		}
	}
	return false
}
