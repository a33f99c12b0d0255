package firewall

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tillgate/policy"
)

// A table is the text as it is written.
type table struct {
	cfg     Config
	members []member
	spans   []span

	until time.Time
	gaps  []string
	text  bytes.Buffer
}

// line writes a line within a chain, or within the table.
func (t *table) line(format string, args ...any) {
	fmt.Fprintf(&t.text, "\t\t"+format+"\n", args...)
}

// chain begins a chain, with what it is for.
func (t *table) chain(name, why string) {
	fmt.Fprintf(&t.text, "\n\t# %s\n\tchain %s {\n", strings.ReplaceAll(why, "\n", "\n\t# "), name)
}

func (t *table) end() { t.text.WriteString("\t}\n") }

// write writes the whole.
func (t *table) write(id string) {
	fmt.Fprintf(&t.text, `# The packet filter of tillgate, of policy %s. It is made by the program:
# what it holds is changed in /etc/tillgate. See it with tillgate firewall print.
#
# All of it is judged before routing, so that it holds also on a box that forwards
# nothing. Packets that are no class's go on to the host's other tables untouched;
# what is let through here may still be dropped there.
`, id)
	t.writeBackstop()
	fmt.Fprintf(&t.text, replace+"table %s %s {\n\tcomment \"policy %s\"\n", Family, Table, id)
	t.counters()
	t.sets()
	t.sources()
	t.captures()
	t.judge()
	for _, m := range t.members {
		t.sourceOf(m)
		t.captureOf(m)
		t.judgeOf(m)
		t.endsOf(m)
	}
	t.alive()
	t.box()
	t.text.WriteString("}\n")
}

func (t *table) counters() {
	t.text.WriteString("\n\t# all packets of a class that were stopped, or let pass because the class is observed\n")
	for _, m := range t.members {
		for _, kind := range kindsOf(m) {
			fmt.Fprintf(&t.text, "\tcounter %s {}\n", CounterName(kind, m.class.Name))
		}
	}
}

// kindsOf are the ends that a packet of a class may come to.
func kindsOf(m member) []Kind {
	if m.class.Mode == policy.Observe {
		return []Kind{Refused, Observed, Spoofed}
	}
	return []Kind{Refused, Spoofed}
}

func (t *table) sets() {
	t.text.WriteString("\n\t# attempts that were logged, and by source how many packets there were in all\n")
	set := func(name, key string, size int, timeout time.Duration) {
		fmt.Fprintf(&t.text, "\tset %s { typeof %s; size %d; flags dynamic,timeout; timeout %ds; }\n",
			name, key, size, int(timeout.Seconds()))
	}
	set(SetPorts4, "ip saddr . ip daddr . meta l4proto . th dport", SeenSize, SeenFor)
	set(SetPorts6, "ip6 saddr . ip6 daddr . meta l4proto . th dport", SeenSize, SeenFor)
	set(SetOther4, "ip saddr . ip daddr . meta l4proto", SeenSize, SeenFor)
	set(SetOther6, "ip6 saddr . ip6 daddr . meta l4proto", SeenSize, SeenFor)
	set(SetSources4, "ip saddr", SourcesSize, SourcesFor)
	set(SetSources6, "ip6 saddr", SourcesSize, SourcesFor)
	set(setBudget4, "ip saddr", SourcesSize, SourcesFor)
	set(setBudget6, "ip6 saddr", SourcesSize, SourcesFor)
}

// families are those of addresses, with their names in a rule and for people.
var families = []struct {
	is4         bool
	name, title string
}{{true, "ip", "IPv4"}, {false, "ip6", "IPv6"}}

// dispatch sends a packet to the chain of its class. That of a spoofed source is gone by
// then, so on an interface of a class all is the class's.
//
// Here and elsewhere networks and interfaces have a rule each, and are in no set or map. While
// a table takes another's place, the kernel has the new rules in force a moment before the new
// sets of intervals have anything in them; and a packet that is on its way through the old
// rules finds nothing in their sets any more. It would not be found: one of a class would
// pass, an admin's be refused, and a good one be taken for what is in no set.
func (t *table) dispatch(chain string) {
	t.byInterface(chain)
	for _, s := range t.spans {
		if !s.wide {
			t.line("%s saddr %s goto %s-%s", s.family(), s, chain, s.class.Name)
		}
	}
}

func (t *table) byInterface(chain string) {
	for _, m := range t.members {
		for _, name := range m.interfaces {
			t.line("iifname %q goto %s-%s", name, chain, m.class.Name)
		}
	}
}

// portList is sorted, without doubles and without 0, which is no port.
func portList(ports ...uint16) string {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	var list []string
	for _, p := range slices.Compact(ports) {
		if p != 0 {
			list = append(list, strconv.Itoa(int(p)))
		}
	}
	return joined(list)
}

func joined(list []string) string { return strings.Join(list, ", ") }
