package decision

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"tillgate/policy"
)

func TestDestNames(t *testing.T) {
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf("host-%d.example", i)
	}
	for _, tt := range []struct {
		names          []string
		detail, told   string
		query, unasked string
	}{
		{names: []string{"dns.google"}, told: "8.8.8.8 is dns.google", query: "dns.google", unasked: "google"},
		{names: []string{"a.example", "b.example"}, told: "8.8.8.8 is a.example, b.example", query: "b.example", unasked: "a.example, b.example"},
		{names: []string{"a.example"}, detail: "IP protocol 47", told: "8.8.8.8 is a.example; IP protocol 47", query: "*.example", unasked: "*.a.example"},
		{detail: "IP protocol 47", told: "IP protocol 47", query: "", unasked: "a.example"},
		{names: many, told: "8.8.8.8 is host-0.example, host-1.example, host-2.example, host-3.example, host-4.example, host-5.example, host-6.example, host-7.example",
			query: "host-7.example", unasked: "host-8.example"},
	} {
		r := Record{Plane: policy.Firewall, Dest: netip.MustParseAddrPort("8.8.8.8:853"), Detail: tt.detail}
		r.SetDestNames(tt.names)
		if r.Detail != tt.told {
			t.Errorf("%v: %q, want %q", tt.names, r.Detail, tt.told)
		}
		if got, want := r.DestNames(), tt.names[:min(len(tt.names), maxDestNames)]; !slices.Equal(got, want) {
			t.Errorf("%q: the names are %q, want %q", r.Detail, got, want)
		}
		if !(&Query{Name: tt.query}).Match(&r) || (&Query{Name: tt.unasked}).Match(&r) {
			t.Errorf("%q: %q must find it, and %q must not", r.Detail, tt.query, tt.unasked)
		}
	}
	// What a server says of itself names nothing.
	other := Record{Plane: policy.TLS, Dest: netip.MustParseAddrPort("8.8.8.8:443"), Detail: "8.8.8.8 is dns.google"}
	if other.DestNames() != nil || (&Query{Name: "dns.google"}).Match(&other) {
		t.Error("the detail of another plane is taken for a name")
	}
}
