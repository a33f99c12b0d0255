package firewall

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
	for _, s := range t.spans {
		if !s.wide {
			t.line("%s saddr %s fib saddr . iif oif missing goto spoofed-%s", s.family(), s, s.class.Name)
		}
	}
	t.end()
}

// sourceOf writes the same for the interfaces of one class.
func (t *table) sourceOf(m member) {
	name := m.class.Name
	if len(m.interfaces) > 0 {
		t.chain("source-"+name, "what comes in by the interfaces of class "+name)
		for _, s := range t.spans {
			if s.class != m.class && !s.first.IsLoopback() {
				t.line("%s saddr %s goto spoofed-%s", s.family(), s, name)
			}
		}
		for _, in := range m.narrowed {
			t.line("iifname %q jump narrowed-%s", in, name)
		}
		t.line("fib saddr . iif oif missing goto spoofed-%s", name)
		t.end()
	}
	if len(m.narrowed) > 0 {
		t.narrowedSources(m)
	}
	t.chain("spoofed-"+name, "the source is not of class "+name+", or has no way back by this interface")
	t.line("counter name %q", CounterName(Spoofed, name))
	t.line("limit rate 5/second burst 20 packets log prefix %q group %d snaplen %d", LogPrefix(Spoofed, name), LogGroup, LogSnap)
	t.line("drop")
	t.end()
}

// narrowedSources writes the chain that stops what no network of the class has. Link-local
// addresses are of every link.
func (t *table) narrowedSources(m member) {
	name := m.class.Name
	t.chain("narrowed-"+name, "is the source in a network of class "+name+"?")
	t.line("ip saddr 169.254.0.0/16 return")
	t.line("ip6 saddr fe80::/10 return")
	for _, s := range t.spans {
		if s.class == m.class && !s.first.IsLoopback() && !s.first.IsLinkLocalUnicast() {
			t.line("%s saddr %s return", s.family(), s)
		}
	}
	t.line("goto spoofed-%s", name)
	t.end()
}
