package firewall

import (
	"fmt"
	"net/netip"

	"tillgate/policy"
)

// storeOnly are addresses that no Internet is behind, and what the table takes for the
// store's: replies may go there, and what is observed may not.
var storeOnly = map[bool][]netip.Prefix{
	true: {netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16")},
	false: {netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10")},
}

// nowhere4 are further addresses that are not of the Internet: no packet should be sent there.
// IPv6 has one block that is of it (RFC 4291 section 2.4), and that of NAT64.
var (
	nowhere4  = []string{"0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"}
	internet6 = []string{"64:ff9b::/96", "2000::/3"}
	link6     = []string{"fe80::/10", "ff02::/16"} // what stays on the link
)

// embedded are the addresses of IPv6 by which a translator sends to IPv4 addresses that are not
// of the Internet (RFC 6052 section 2.1).
func embedded() (prefixes []netip.Prefix) {
	for _, p := range storeOnly[true] {
		prefixes = append(prefixes, translated(p))
	}
	for _, text := range nowhere4 {
		prefixes = append(prefixes, translated(netip.MustParsePrefix(text)))
	}
	return prefixes
}

func translated(p netip.Prefix) netip.Prefix {
	b := netip.MustParseAddr("64:ff9b::").As16()
	copy(b[12:], p.Addr().AsSlice())
	return netip.PrefixFrom(netip.AddrFrom16(b), 96+p.Bits())
}

// judge writes the chain that decides, of what the capture has left or sent to the box.
func (t *table) judge() {
	t.chain("judge", "let through, or stop\ndstnat + 10: it is known what was sent to the box, and nothing is routed yet")
	t.line("type filter hook prerouting priority dstnat + 10; policy accept;")
	t.line(`iifname "lo" accept`)
	t.admin(t.anyPort())
	t.dispatch("judge")
	if len(t.cfg.Admin) > 0 {
		t.line("ct direction original fib daddr type local tcp dport %s reject with tcp reset", t.adminPorts())
	}
	t.end()
}

func (t *table) judgeOf(m member) {
	name := m.class.Name
	t.chain("judge-"+name, "class "+name)
	// By these a packet names the box, and is sent on from there: the kernel does so if it is told to.
	t.line("ip option lsrr exists goto refused-%s", name)
	t.line("ip option ssrr exists goto refused-%s", name)
	t.line("exthdr rt exists goto refused-%s", name)
	t.line("fib daddr type local jump box") // early, as nearly all of the packets are for it
	t.line("jump alive")
	t.networks(m)
	if m.class.Mode == policy.Observe {
		t.line("fib daddr type unicast jump internet-%s", name)
	}
	t.line("goto refused-%s", name)
	t.end()
}

// endsOf writes what becomes of the packets of a class that no rule lets through.
func (t *table) endsOf(m member) {
	name := m.class.Name
	t.chain("refused-"+name, "at once, so that the device need not wait; QUIC and DNS over TLS give way to what is redirected")
	t.line("jump tell-refused-%s", name)
	t.line("meta l4proto tcp reject with tcp reset")
	t.line("meta l4proto udp reject with icmpx type port-unreachable")
	t.line("reject with icmpx type admin-prohibited")
	t.end()
	t.tell(Refused, name)
	if m.class.Mode == policy.Observe {
		t.internet(name)
		t.chain("observed-"+name, "it may pass, and is told of as what would not")
		t.line("ct state established,related accept")
		t.line("jump tell-observed-%s", name)
		t.line("accept")
		t.end()
		t.tell(Observed, name)
	}
}

// tell writes a chain that logs the first packet of each attempt, and counts all.
func (t *table) tell(kind Kind, class string) {
	t.chain(fmt.Sprintf("tell-%s-%s", kind, class), "count each packet, log the first of its kind; a source of many has few of them logged")
	t.line("counter name %q", CounterName(kind, class))
	t.line("update @%s { ip saddr counter }", SetSources4)
	t.line("update @%s { ip6 saddr counter }", SetSources6)
	seen := []struct{ set, match, key string }{
		{SetPorts4, "meta l4proto { tcp, udp } ", "ip saddr . ip daddr . meta l4proto . th dport"},
		{SetPorts6, "meta l4proto { tcp, udp } ", "ip6 saddr . ip6 daddr . meta l4proto . th dport"},
		{SetOther4, "meta l4proto != { tcp, udp } ", "ip saddr . ip daddr . meta l4proto"},
		{SetOther6, "meta l4proto != { tcp, udp } ", "ip6 saddr . ip6 daddr . meta l4proto"},
	}
	for _, s := range seen { // found in the set, its counter counts it
		t.line("%s%s @%s return", s.match, s.key, s.set)
	}
	t.line("update @%s { ip saddr limit rate over 1/second burst %d packets } return", setBudget4, FirstBurst)
	t.line("update @%s { ip6 saddr limit rate over 1/second burst %d packets } return", setBudget6, FirstBurst)
	for _, s := range seen {
		t.line("%sadd @%s { %s counter } log prefix %q group %d snaplen %d return",
			s.match, s.set, s.key, LogPrefix(kind, class), LogGroup, LogSnap)
	}
	t.end()
}

// alive writes what a network needs to live, of every class.
func (t *table) alive() {
	t.chain("alive", "what a network needs to live")
	t.text.WriteString("\t\t# answers to what the box, or somebody within the store, has begun, and errors about it\n")
	t.line("ct direction reply ct state established,related jump store")
	// 58 is ICMPv6: nft has its name from /etc/protocols, which a small system lacks.
	t.line("ct state related meta l4proto { icmp, 58 } jump store")
	t.text.WriteString("\t\t# DHCP, either way: on a one-armed box the server may be elsewhere\n")
	t.line("fib daddr type { local, broadcast } udp sport . udp dport { 68 . 67, 67 . 68 } accept")
	for _, link := range link6 {
		t.line("ip6 daddr %s udp sport . udp dport { 546 . 547, 547 . 546 } accept", link)
	}
	t.text.WriteString("\t\t# neighbour discovery and multicast listeners, on the link only\n")
	for _, link := range link6 {
		t.line("ip6 daddr %s icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept", link)
	}
	t.line("fib daddr type local icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept")
	t.text.WriteString("\t\t# chatter to all, which goes nowhere\n")
	t.line("fib daddr type { broadcast, multicast } drop")
	t.end()
	t.chain("store", "to the box, or within the store")
	t.line("fib daddr type local accept")
	for _, f := range families {
		for _, p := range storeOnly[f.is4] {
			t.line("%s daddr %v accept", f.name, p)
		}
	}
	t.end()
}

// internet writes a chain that lets an observed class go to the Internet, and returns with
// what goes elsewhere.
func (t *table) internet(class string) {
	t.chain("internet-"+class, "to the Internet? What the box has an interface in is the store's")
	for _, p := range t.cfg.Near {
		if !p.IsSingleIP() && policy.CheckAddr(p.Addr()) == nil {
			family := "ip6"
			if p.Addr().Is4() {
				family = "ip"
			}
			t.line("%s daddr %v return", family, p)
		}
	}
	for _, p := range storeOnly[true] {
		t.line("ip daddr %v return", p)
	}
	for _, p := range nowhere4 {
		t.line("ip daddr %s return", p)
	}
	t.line("meta nfproto ipv4 goto observed-%s", class)
	for _, p := range embedded() {
		t.line("ip6 daddr %v return", p)
	}
	for _, p := range internet6 {
		t.line("ip6 daddr %s goto observed-%s", p, class)
	}
	t.end()
}

// box writes what of the box the classes may reach.
func (t *table) box() {
	t.chain("box", "the box's own services; what is for intercept must have been sent there by the capture")
	if t.cfg.DNS != 0 {
		t.line("meta l4proto { tcp, udp } th dport %d accept", t.cfg.DNS)
	}
	if t.cfg.Proxy != 0 {
		t.line("tcp dport %d accept", t.cfg.Proxy)
	}
	if t.cfg.NTP != 0 {
		t.line("udp dport %d accept", t.cfg.NTP)
	}
	if t.cfg.Intercept != 0 {
		t.line("ct status dnat tcp dport %d accept", t.cfg.Intercept)
	}
	t.end()
}
