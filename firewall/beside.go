package firewall

import (
	"context"
	"encoding/json"
	"fmt"
)

// Beside tells what of the host's other tables may be in the way of the rules, each in a
// sentence. What they drop is dropped whatever the rules let through; what they accept is
// still judged here.
func Beside(ctx context.Context) ([]string, error) {
	out, err := nft(ctx, nil, "--json", "--numeric", "list", "ruleset")
	if err != nil {
		return nil, err
	}
	return beside(out)
}

// otherChain is a chain of nft's JSON that has a hook, and otherFlows a flowtable.
type otherChain struct {
	Family, Table, Name, Type, Hook, Policy string
	Prio                                    int
}

type otherFlows struct{ Family, Table, Name string }

type otherRule struct {
	Family, Table, Chain string
	Expr                 []map[string]json.RawMessage
}

func beside(ruleset []byte) (notes []string, err error) {
	var reply struct {
		Nftables []struct {
			Chain     *otherChain
			Flowtable *otherFlows
			Rule      *otherRule
		}
	}
	if err := json.Unmarshal(ruleset, &reply); err != nil {
		return nil, fmt.Errorf("reading nft's list of rules: %w", err)
	}
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	untracked := make(map[string]bool)
	for _, o := range reply.Nftables {
		switch {
		case o.Chain != nil && o.Chain.Table != Table:
			besideChain(*o.Chain, note)
		case o.Flowtable != nil:
			f := o.Flowtable
			note("flowtable %s of table %s %s: connections in it pass by all rules until they end; those of the classes get there only while they are observed", f.Name, f.Family, f.Table)
		case o.Rule != nil && o.Rule.Table != Table:
			r := o.Rule
			for _, e := range r.Expr {
				_, found := e["notrack"]
				if at := r.Family + " " + r.Table + " " + r.Chain; found && !untracked[at] {
					untracked[at] = true
					note("chain %s of table %s %s has notrack: what it matches cannot be redirected to the box, and is refused", r.Chain, r.Family, r.Table)
				}
			}
		}
	}
	return notes, nil
}

// capturePriority is that of the chain capture: dstnat - 10.
const capturePriority = -110

func besideChain(c otherChain, note func(string, ...any)) {
	at := fmt.Sprintf("chain %s of table %s %s", c.Name, c.Family, c.Table)
	switch {
	case c.Type == "nat" && c.Hook == "prerouting" && c.Prio <= capturePriority:
		note("%s translates addresses before tillgate does (priority %d): what it redirects does not come to the box; give it priority dstnat", at, c.Prio)
	case c.Hook == "input" && c.Policy == "drop":
		note("%s drops what it does not accept: it must accept the classes' DNS, proxy, redirected connections (port 3129) and NTP", at)
	case c.Hook == "forward" && c.Policy == "drop":
		note("%s drops what it does not accept: network destinations of the policy, and observed classes, need to be accepted there too", at)
	}
}
