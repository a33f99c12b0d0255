package firewall

import (
	"net/netip"
	"time"

	"tillgate/policy"
)

// Config is what the rules depend on beside the policy.
type Config struct {
	// Interfaces are by class, beside those that the class has in the policy. Here a
	// source must be in a network of the class, as no other plane knows these.
	Interfaces map[string][]string
	// Admin are the networks that may reach every TCP port of the box but Intercept: SSH,
	// wherever it is, and the console. With any, nobody else may reach the ports SSH and
	// Console; with none, everybody may but the classes.
	Admin []netip.Prefix

	// Near are networks of the box's own interfaces. Those of them that have addresses of the
	// Internet are of the store as well, which is not for a class that is only observed.
	Near []netip.Prefix

	// The box's ports; 0: it has none. What would be redirected to a port that it does not
	// have is refused. SSH must be one.
	DNS, Proxy, Intercept, NTP, Console, SSH uint16

	// Now is trusted time, by which services end; the zero time ends none.
	Now time.Time
}

// A Ruleset is the table, ready to be loaded.
type Ruleset struct {
	// Policy is the id of the policy that it was made of.
	Policy string
	// Until is when a service ends that the table lets through, so that it is to be made
	// anew; zero: never.
	Until time.Time
	// Clients are networks of the classes that are enforced, and Interfaces theirs: by these
	// it is known whose old connections to forget.
	Clients    []netip.Prefix
	Interfaces []string
	// Gaps are sentences on what the rules leave open: what they cannot know to be a class's,
	// and the box, where no admin is named.
	Gaps []string

	text []byte
}

// Text is for nft -f: it puts the table in place of the one that is loaded, in one step.
// Of the same policy and configuration it is always the same.
func (r Ruleset) Text() []byte { return r.text }

// Rules makes the table of a policy. It fails where the policy and the configuration do
// not say which packets are a class's: the error says what to do.
func Rules(set *policy.Set, cfg Config) (Ruleset, error) {
	members, err := newMembers(set, cfg)
	if err != nil {
		return Ruleset{}, err
	}
	t := table{cfg: cfg, members: members, spans: flatten(set.Classes())}
	t.write(set.ID())
	r := Ruleset{Policy: set.ID(), Until: t.until, Gaps: t.gaps, text: t.text.Bytes()}
	if gap := openToAll(cfg); gap != "" {
		r.Gaps = append(r.Gaps, gap)
	}
	for _, m := range members {
		r.Gaps = append(r.Gaps, m.gaps()...)
		if m.class.Mode == policy.Observe {
			continue
		}
		r.Interfaces = append(r.Interfaces, m.interfaces...)
		for _, p := range m.class.Networks {
			if !wide(p) {
				r.Clients = append(r.Clients, p)
			}
		}
	}
	return r, nil
}
