package firewall

import (
	"slices"

	"tillgate/policy"
)

const (
	dnsPort  = 53
	httpPort = 80
	ntpPort  = 123
)

// captures writes the chain that sends the classes' DNS, time and documented ports to the
// box. The first table to translate a connection wins, so it comes before the others.
func (t *table) captures() {
	t.chain("capture", "send to the box what it answers for the Internet\ndstnat - 10: before other tables translate anything")
	t.line("type nat hook prerouting priority dstnat - 10; policy accept;")
	t.line(`iifname "lo" accept`)
	t.admin(t.adminPorts())
	t.dispatch("capture")
	t.end()
}

func (t *table) captureOf(m member) {
	t.chain("capture-"+m.class.Name, "what class "+m.class.Name+" may ask the Internet for")
	if own := portList(t.cfg.DNS, t.cfg.Proxy, t.cfg.NTP); own != "" {
		t.line("fib daddr type local meta l4proto { tcp, udp } th dport { %s } accept", own)
	}
	if t.cfg.DNS != 0 {
		t.line("meta l4proto { tcp, udp } th dport %d redirect to :%d", dnsPort, t.cfg.DNS)
	}
	t.networks(m)
	if t.cfg.NTP != 0 && hasTime(m.class) {
		t.line("udp dport %d redirect to :%d", ntpPort, t.cfg.NTP)
	}
	if t.cfg.Intercept != 0 {
		ports := hostPorts(m.class)
		if len(ports) > 0 {
			t.line("tcp dport { %s } redirect to :%d", portList(ports...), t.cfg.Intercept)
		}
		if !slices.Contains(ports, httpPort) {
			t.line("fib daddr type local tcp dport %d redirect to :%d", httpPort, t.cfg.Intercept)
		}
	}
	t.end()
}

// networks lets through the store's own networks that the class may reach by address.
func (t *table) networks(m member) {
	var done []string
	for _, s := range m.class.Services {
		if t.ended(s) {
			continue
		}
		for _, r := range s.Destinations {
			if !r.Network.IsValid() {
				continue
			}
			for _, proto := range []policy.Proto{policy.TCP, policy.UDP} {
				var ports []uint16
				for _, p := range r.Ports {
					if p.Proto == proto {
						ports = append(ports, p.Number)
					}
				}
				family := "ip"
				if r.Network.Addr().Is6() {
					family = "ip6"
				}
				rule := family + " daddr " + r.Network.String() + " " + proto.String() + " dport { " + portList(ports...) + " } accept"
				if len(ports) > 0 && !slices.Contains(done, rule) {
					done = append(done, rule)
					t.line("%s", rule)
				}
			}
		}
	}
}

// ended reports whether a service has ended, and notes when the first of those that have
// not will.
func (t *table) ended(s *policy.Service) bool {
	switch {
	case s.Until.IsZero():
		return false
	case !t.cfg.Now.IsZero() && !t.cfg.Now.Before(s.Until):
		return true
	}
	if hasNetwork(s) && (t.until.IsZero() || s.Until.Before(t.until)) {
		t.until = s.Until
	}
	return false
}

func hasNetwork(s *policy.Service) bool {
	return slices.ContainsFunc(s.Destinations, func(r *policy.Rule) bool { return r.Network.IsValid() })
}

// hostPorts are the TCP ports of the hosts that the class may reach. A service that has
// ended is among them: the proxy says so in the log.
func hostPorts(c *policy.Class) (ports []uint16) {
	for _, s := range c.Services {
		for _, r := range s.Destinations {
			for _, p := range r.Ports {
				if r.Host != "" && p.Proto == policy.TCP {
					ports = append(ports, p.Number)
				}
			}
		}
	}
	return ports
}

// hasTime reports whether the box is the class's time server; whether what gave it that
// has ended is the relay's to judge.
func hasTime(c *policy.Class) bool {
	return c.Time || slices.ContainsFunc(c.Services, func(s *policy.Service) bool {
		return slices.ContainsFunc(s.Destinations, func(r *policy.Rule) bool { return r.Host != "" && r.Has(policy.UDP, ntpPort) })
	})
}
