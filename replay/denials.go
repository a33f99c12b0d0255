package replay

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// Denials collects the recorded attempts that were denied, or would have been but for
// observe, and that the policy in force still does not allow.
type Denials struct {
	set    *policy.Set
	now    time.Time
	groups map[denialKey]*Denial

	Attempts uint64    // that were denied, and still would be
	Unjudged uint64    // of which too little is recorded
	Unlisted uint64    // of the denied, those that had no room
	From, To time.Time // the first and the last record, of whatever verdict
}

// A Denial is denied attempts of one kind.
type Denial struct {
	Target
	Decision policy.Decision // by the policy in force
	Traffic

	one sight // of them
}

// A denialKey has attempts together that any policy judges alike.
type denialKey struct {
	Target
	reason policy.Reason // as recorded
}

func (k denialKey) compare(l denialKey) int {
	return cmp.Or(k.Target.compare(l.Target), cmp.Compare(k.reason, l.reason))
}

// NewDenials judges by a policy at now, which is trusted time as in [policy.Request].
func NewDenials(set *policy.Set, now time.Time) *Denials {
	return &Denials{set: set, now: now, groups: make(map[denialKey]*Denial)}
}

// Add takes one record. known is the name by which its client knows the destination, where
// the record has none.
func (d *Denials) Add(r *decision.Record, known string) {
	if d.From.IsZero() {
		d.From = r.Time
	}
	d.To = r.Time
	s, ok := see(r, known)
	if !ok || r.Verdict == policy.Allow {
		return
	}
	n := max(r.Count, 1)
	s.cameIn(d.set)
	is, sure := s.judge(d.set, d.now)
	switch {
	case !sure:
		d.Unjudged += n
		return
	case is.Verdict == policy.Allow: // it was, and is no more
		return
	}
	d.Attempts += n
	key := denialKey{s.target(is), r.Reason}
	g := d.groups[key]
	if g == nil {
		if len(d.groups) == MaxGroups {
			d.Unlisted += n
			return
		}
		kept := *r
		s.Record = &kept
		g = &Denial{Target: key.Target, one: s}
		d.groups[key] = g
	}
	g.Decision = is
	g.add(r)
}

// Set is the policy in force.
func (d *Denials) Set() *policy.Set { return d.set }

// list returns the groups in a fixed order.
func (d *Denials) list() []*Denial {
	list := make([]*Denial, 0, len(d.groups))
	for _, g := range d.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *Denial) int { return a.key().compare(b.key()) })
	return list
}

// allowed reports whether a policy allows what was denied, were it to be asked for again.
func (g *Denial) allowed(set *policy.Set, now time.Time) bool {
	is, sure := g.one.judge(set, now)
	return sure && is.Verdict == policy.Allow
}

func (g *Denial) key() denialKey { return denialKey{g.Target, g.one.Reason} }

// merge adds up the traffic of two.
func (t *Traffic) merge(u Traffic) {
	t.Attempts += u.Attempts
	if t.First.IsZero() || u.First.Before(t.First) {
		t.First = u.First
	}
	if u.Last.After(t.Last) {
		t.Last = u.Last
	}
	t.MoreClients = t.MoreClients || u.MoreClients
	for _, c := range u.Clients {
		if i, found := slices.BinarySearchFunc(t.Clients, c, netip.Addr.Compare); !found {
			if len(t.Clients) == MaxClients {
				t.MoreClients = true
				return
			}
			t.Clients = slices.Insert(t.Clients, i, c)
		}
	}
}

// providers are whose names lead to resolvers of their own, by DNS over HTTPS, or around
// any policy: each stands for all that is below it.
var providers = []string{
	"dns.google", "cloudflare-dns.com", "one.one.one.one", "quad9.net", "doh.opendns.com", "nextdns.io",
	"adguard-dns.com", "dns.adguard.com", "cleanbrowsing.org", "controld.com", "dns.mullvad.net",
	"dns.sb", "dns0.eu", "doh.pub", "dns.alidns.com", "doh.360.cn", "doh.dns.apple.com", "doh.xfinity.com",
	"mask.icloud.com", "mask-h2.icloud.com", "mask-api.icloud.com", "use-application-dns.net",
}

// caution says why a name should not simply be allowed; "" where nothing is known against it.
func caution(name string, ports []policy.Port) string {
	for _, p := range providers {
		if name == p || strings.HasSuffix(name, "."+p) {
			return "a resolver of its own: over it a device gets any name's addresses, past this box; most devices do without it"
		}
	}
	switch {
	case name == "time.android.com" || name == "time.windows.com":
		return "a time server: with time: true in the class, the box is it"
	case strings.HasSuffix(name, ".in-addr.arpa") || strings.HasSuffix(name, ".ip6.arpa"):
		return "the name of an address: nothing but a log needs it"
	case !strings.Contains(name, "."):
		return "not a host of the Internet, but a word that a device looks for in its network"
	case slices.Contains(ports, policy.Port{Proto: policy.TCP, Number: 853}):
		return "DNS over TLS: a resolver of its own; devices go on with this box's"
	}
	return ""
}

// sortPorts sorts ports, each once.
func sortPorts(ports []policy.Port) []policy.Port {
	slices.SortFunc(ports, func(a, b policy.Port) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Number, b.Number))
	})
	return slices.Compact(ports)
}
