package firewall

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBeside(t *testing.T) {
	for _, tt := range []struct {
		what, json string
		want       []string // how the notes begin
	}{
		{"nothing", `{"nftables": [{"metainfo": {"version": "1.0.6"}}]}`, nil},
		{"our own", `{"nftables": [{"chain": {"family": "inet", "table": "tillgate", "name": "capture", "type": "nat", "hook": "prerouting", "prio": -110, "policy": "accept"}}]}`, nil},
		{"fw4", `{"nftables": [
			{"table": {"family": "inet", "name": "fw4", "handle": 1}},
			{"chain": {"family": "inet", "table": "fw4", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
			{"chain": {"family": "inet", "table": "fw4", "name": "forward", "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
			{"chain": {"family": "inet", "table": "fw4", "name": "dstnat", "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}},
			{"chain": {"family": "inet", "table": "fw4", "name": "accept_from_lan"}},
			{"flowtable": {"family": "inet", "name": "ft", "table": "fw4", "hook": "ingress", "prio": 0, "dev": ["eth0", "eth1"]}}]}`,
			[]string{"chain input of table inet fw4 drops", "chain forward of table inet fw4 drops", "flowtable ft of table inet fw4"}},
		{"a redirect before ours", `{"nftables": [{"chain": {"family": "ip", "table": "mine", "name": "pre", "type": "nat", "hook": "prerouting", "prio": -150, "policy": "accept"}}]}`,
			[]string{"chain pre of table ip mine translates addresses before tillgate does (priority -150)"}},
		{"notrack", `{"nftables": [{"rule": {"family": "inet", "table": "raw", "chain": "pre", "handle": 3, "expr": [{"match": {}}, {"notrack": null}]}},
			{"rule": {"family": "inet", "table": "raw", "chain": "pre", "handle": 4, "expr": [{"notrack": null}]}}]}`,
			[]string{"chain pre of table inet raw has notrack"}},
	} {
		notes, err := beside([]byte(tt.json))
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		for i := range notes {
			if i < len(tt.want) && strings.HasPrefix(notes[i], tt.want[i]) {
				notes[i] = tt.want[i]
			}
		}
		if diff := cmp.Diff(tt.want, notes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
	if _, err := beside([]byte(`{"nftables":`)); err == nil {
		t.Error("half a list is read")
	}
}
