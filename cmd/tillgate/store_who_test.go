package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tillgate/internal/storelab"
)

// TestStoreWho: a device that asks who it is learns that from the box, by name and by
// address, redirected and by way of the proxy; who is in no class learns nothing.
func TestStoreWho(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "curl")
	store := storelab.New(t, storelab.Config{})
	store.Box.Write(t, "policy.yaml", storePolicy)
	store.Box.Redirect(t)
	store.Box.Start(t)

	for _, class := range []string{"sunmi", "pos"} {
		term := store.Terminal(t, class)
		ways := map[string][]string{
			"by name":     {"-4", "http://tillgate.internal/"},
			"by address":  {"http://" + term.Box4.String() + "/"},
			"at the port": {"http://" + netip.AddrPortFrom(term.Box4, 3128).String() + "/"},
			"by proxy":    {"--proxy", "http://" + netip.AddrPortFrom(term.Box4, 3128).String(), "http://tillgate.internal/"},
			"by IPv6":     {"-6", "http://tillgate.internal/"},
			"at the IPv6": {"http://[" + term.Box6.String() + "]/"},
		}
		for name, args := range ways {
			page, err := term.Run(t.Context(), append([]string{"curl", "-sSf"}, args...)...)
			addr := term.Addr4
			if strings.Contains(name, "IPv6") {
				addr = term.Addr6
			}
			for _, want := range []string{"You are behind tillgate", "<th>address<td>" + addr.String() + "\n", "<th>class<td>" + class + "\n",
				"<th>interface<td>eth0.2", "payxpert/emv", "tillgate log --client " + addr.String() + "\n"} {
				if !strings.Contains(page, want) {
					t.Errorf("%s %s: no %q: %v\n%s", class, name, want, err, page)
				}
			}
		}
		told := make(map[string]int)
		for _, r := range journal(t, store, "--class", class, "--plane", "http") {
			told[fmt.Sprintf("%s %s %s:%d", r.Verdict, r.Reason, r.Name, r.Port)] += max(r.Count, 1)
		}
		if told["allow local-service tillgate.internal:80"] == 0 || told[fmt.Sprintf("allow local-service %s:80", term.Box4)] == 0 {
			t.Errorf("%s: recorded %v", class, told)
		}
	}
	guest := store.Terminal(t, "guest")
	page, err := guest.Run(t.Context(), "curl", "-sS", "http://"+guest.Box4.String()+"/")
	if err != nil || !strings.Contains(page, "This is not let through.") || strings.Contains(page, "behind") {
		t.Errorf("a guest is told: %v %s", err, page)
	}
}
