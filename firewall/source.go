package firewall

import (
	"strings"
)

// sources writes the chain that stops sources that are not of their interface's class. It
// comes before any address is translated, and after conntrack: on a one-armed box the
// answers to the box's own questions come in by the terminals' interface.
func (t *table) sources() {
	t.chain("source", "is the source of its interface's class?\nmangle - 5: conntrack (-200) knows the packet, and nobody has translated it")
	t.line("type filter hook prerouting priority mangle - 5; policy accept;")
	t.line(`iifname "lo" accept`)
	t.line("ct direction reply ct state established,related fib daddr type local accept")
	t.line("ip saddr 0.0.0.0 accept")
	t.line("ip6 saddr :: accept")
	t.admin(t.anyPort())
	t.byInterface("source")
	for _, f := range families {
		if narrow := t.narrow(f.is4, "spoofed"); narrow != "" {
			t.line("fib saddr . iif oif missing %s saddr vmap { %s }", f.name, narrow)
		}
	}
	t.end()
}

// sourceOf writes the same for the interfaces of one class.
func (t *table) sourceOf(m member) {
	name := m.class.Name
	if len(m.interfaces) > 0 {
		t.chain("source-"+name, "what comes in by the interfaces of class "+name)
		for _, f := range families {
			if others := t.elements(f.is4, func(s span) bool { return s.class != m.class }); len(others) > 0 {
				t.line("%s saddr { %s } goto spoofed-%s", f.name, joined(others), name)
			}
		}
		if len(m.narrowed) > 0 {
			t.narrowedSources(m)
		}
		t.line("fib saddr . iif oif missing goto spoofed-%s", name)
		t.end()
	}
	t.chain("spoofed-"+name, "the source is not of class "+name+", or has no way back by this interface")
	t.line("counter name %q", CounterName(Spoofed, name))
	t.line("limit rate 5/second burst 20 packets log prefix %q group %d snaplen %d", LogPrefix(Spoofed, name), LogGroup, LogSnap)
	t.line("drop")
	t.end()
}

// narrowedSources stops what no network of the class has. Link-local addresses are of
// every link.
func (t *table) narrowedSources(m member) {
	var quoted []string
	for _, name := range m.narrowed {
		quoted = append(quoted, `"`+name+`"`)
	}
	for _, f := range families {
		linkLocal := "fe80::/10"
		if f.is4 {
			linkLocal = "169.254.0.0/16"
		}
		own := []string{linkLocal}
		own = append(own, t.elements(f.is4, func(s span) bool { return s.class == m.class && !s.first.IsLinkLocalUnicast() })...)
		t.line("iifname { %s } %s saddr != { %s } goto spoofed-%s", strings.Join(quoted, ", "), f.name, joined(own), m.class.Name)
	}
}
