package storelab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
)

// called notes to which addresses and ports anyone asks for a connection, be there
// a listener or not.
const called = `table inet called {
	set v4 { type ipv4_addr . inet_service; size 65535; flags dynamic; }
	set v6 { type ipv6_addr . inet_service; size 65535; flags dynamic; }
	chain in {
		type filter hook prerouting priority raw - 1;
		iifname "lo" accept
		tcp flags & (syn | ack) == syn add @v4 { ip daddr . tcp dport }
		tcp flags & (syn | ack) == syn add @v6 { ip6 daddr . tcp dport }
	}
}`

// Called returns the addresses and ports at which anybody in the store has tried to
// connect to the Internet since the call before: what a capture outside of the box
// would show. Nobody must be about to connect at the time.
func (in *Internet) Called(t TB) map[netip.AddrPort]bool {
	t.Helper()
	all := make(map[netip.AddrPort]bool)
	for _, set := range []string{"v4", "v6"} {
		if err := in.called(set, all); err != nil {
			t.Fatalf("reading who was called: %v", err)
		}
	}
	return all
}

func (in *Internet) called(set string, all map[netip.AddrPort]bool) error {
	out, err := in.Run(context.Background(), "nft", "--json", "--numeric", "list set inet called "+set)
	if err == nil {
		_, err = in.Run(context.Background(), "nft", "flush set inet called "+set)
	}
	if err != nil {
		return err
	}
	var reply struct {
		Nftables []struct {
			Set struct {
				Elem []struct{ Concat [2]json.RawMessage }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &reply); err != nil {
		return err
	}
	for _, object := range reply.Nftables {
		for _, e := range object.Set.Elem {
			var addr netip.Addr
			var port uint16
			if err := json.Unmarshal(e.Concat[0], &addr); err != nil {
				return fmt.Errorf("%s: %w", e.Concat, err)
			}
			if err := json.Unmarshal(e.Concat[1], &port); err != nil {
				return fmt.Errorf("%s: %w", e.Concat, err)
			}
			all[netip.AddrPortFrom(addr, port)] = true
		}
	}
	return nil
}
