package policy

import (
	"strings"
	"testing"
	"time"
)

func TestTimeServers(t *testing.T) {
	const head = "version: 1\npacks: [payxpert]\nclasses: {pos: {networks: [10.0.0.0/24], services: [payxpert/emv]}}\n"
	const document = "pool.ntp.org europe.pool.ntp.org uk.pool.ntp.org fr.pool.ntp.org it.pool.ntp.org " +
		"de.pool.ntp.org at.pool.ntp.org pl.pool.ntp.org ntp1.inrim.it ntp.obspm.fr ptbtime1.ptb.de"
	end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, policy string
		now          time.Time
		want         string // a + marks what may be private
	}{
		{"the document's, though no class uses them", head, end, document},
		{"denied", head + `deny: [{host: "*.pool.ntp.org"}]`, end,
			"pool.ntp.org ntp1.inrim.it ntp.obspm.fr ptbtime1.ptb.de"},
		{"the store's own", `version: 1
packs: []
classes: {pos: {networks: [10.0.0.0/24], services: ["local/*"]}}
services:
  - {id: local/a, reason: r, destinations: [{host: ntp.a.example, ports: [tcp/443, udp/123]}, {host: "*.b.example", ports: [udp/123]}]}
  - {id: local/b, reason: r, destinations: [{host: ntp.a.example, ports: [udp/123], private: true}, {host: www.a.example, ports: [tcp/123]}]}
  - {id: local/c, reason: r, destinations: [{network: 10.0.0.7/32, ports: [udp/123]}, {host: ntp.a.example, ports: [udp/123]}]}
`, end, "ntp.a.example+"},
		{"with an end, not trusted", head + `services:
  - {id: local/a, reason: r, until: 2027-01-01T00:00:00Z, destinations: [{host: ntp.a.example, ports: [udp/123]}]}
`, time.Time{}, document + " ntp.a.example"},
		{"before the end", head + `services:
  - {id: local/a, reason: r, until: 2027-01-01T00:00:00Z, destinations: [{host: ntp.a.example, ports: [udp/123]}]}
`, end.Add(-1), document + " ntp.a.example"},
		{"at the end", head + `services:
  - {id: local/a, reason: r, until: 2027-01-01T00:00:00Z, destinations: [{host: ntp.a.example, ports: [udp/123]}]}
`, end, document},
		{"none", "version: 1\npacks: []\nclasses: {pos: {networks: [10.0.0.0/24], services: []}}\n", end, ""},
	} {
		var got []string
		for _, r := range mustCompile(t, tt.policy).TimeServers(tt.now) {
			host := r.Host
			if r.Private {
				host += "+"
			}
			got = append(got, host)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}
