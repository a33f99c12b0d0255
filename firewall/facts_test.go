package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestFacts: what a ruleset tells of itself.
func TestFacts(t *testing.T) {
	r := rules(t, strings.Replace(examplePolicy, `[10.20.1.0/24, "fd10:20:1::/64"]`, "[10.20.1.0/24]", 1), ports)
	if want := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC); !r.Until.Equal(want) {
		t.Errorf("until %v, want %v", r.Until, want)
	}
	if got := fmt.Sprint(r.Clients, r.Interfaces); got != "[10.20.1.0/24 10.20.0.0/24] [eth0.20]" {
		t.Errorf("clients and interfaces: %s", got)
	}
	if len(r.Gaps) != 3 || !strings.HasPrefix(r.Gaps[0], "firewall.admin is empty: all that are in no class may reach TCP port 22 ") ||
		!strings.HasPrefix(r.Gaps[1], "class sunmi has no interface and no IPv6 network") ||
		!strings.HasPrefix(r.Gaps[2], "class pc has no interface: a device of it that takes an address outside") {
		t.Errorf("gaps: %q", r.Gaps)
	}
	cfg := ports
	cfg.Admin = []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")}
	if r := rules(t, examplePolicy, cfg); len(r.Gaps) != 2 || !strings.HasPrefix(r.Gaps[0], "class sunmi has no interface: a device of it that takes an address outside") {
		t.Errorf("gaps of classes by network and by interface, where an admin is named: %q", r.Gaps)
	}
}
