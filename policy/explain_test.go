package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSuggest(t *testing.T) {
	set, err := Embedded()
	must(t, err)
	for name, want := range map[string]string{
		"s-usc1c-nss-2000.firebaseio.com":    "payxpert/emv",
		"firebasestorage.googleapis.com":     "payxpert/logs",
		"alt3-mtalk.google.com":              "payxpert/emv",
		"www.gstatic.com":                    "payxpert/sunmi-ct",
		"webapi.eu.sunmi.com":                "payxpert/sunmi-tms",
		"firebaseio.com":                     "",
		"a.s-usc1c-nss-2000.firebaseio.com":  "",
		"payxpress-soft-mpos.firebaseio.com": "",
		"":                                   "",
	} {
		got, ok := set.Suggest(name)
		if got.Near != want || ok != (want != "") {
			t.Errorf("%q: %+v, %v, want %q", name, got, ok, want)
		}
		if ok && (got.Why == "" || got.Pos.Line == 0) {
			t.Errorf("%q: no why or no place: %+v", name, got)
		}
	}
	// A suggestion is not an allowance.
	d := set.Decide(Request{Client: netip.MustParseAddr("10.0.0.1"), Name: "www.gstatic.com"})
	if d.Reason != NotDocumented {
		t.Errorf("www.gstatic.com: %s", told(d))
	}
}

func TestSuggestWildcard(t *testing.T) {
	set := mustCompile(t, strings.Replace(small, "[]", "[acme]", 1), "acme", acme+`suggestions:
  - {host: "*.cdn.acme.example", near: acme/api, why: pictures}
  - {host: deep.cdn.acme.example, near: acme/api, why: depth}
`)
	for name, want := range map[string]string{
		"a.b.cdn.acme.example":  "pictures",
		"deep.cdn.acme.example": "depth",
		"cdn.acme.example":      "",
	} {
		if got, _ := set.Suggest(name); got.Why != want {
			t.Errorf("%s: %q, want %q", name, got.Why, want)
		}
	}
}

func TestExplain(t *testing.T) {
	set := mustCompile(t, decidePolicy)
	for _, tt := range []struct {
		what    string
		r       Request
		ports   string
		others  string
		nearest string
		suggest string
	}{
		{"allowed", Request{Plane: TLS, Client: netip.MustParseAddr("10.20.1.5"), Name: "www.qualcomm.cn", Proto: TCP, Port: 80},
			"tcp/443 tcp/80", "", "", ""},
		{"the wrong port", Request{Plane: TLS, Client: netip.MustParseAddr("10.20.1.5"), Name: "dns.google", Proto: TCP, Port: 80},
			"tcp/443", "", "dns.google", ""},
		{"another class", Request{Plane: DNS, Client: netip.MustParseAddr("10.20.0.5"), Name: "payxpress-apm.appspot.com"},
			"", "sunmi", "", ""},
		{"a slip", Request{Plane: DNS, Client: netip.MustParseAddr("10.20.1.5"), Name: "apk.cdn.eu.sumni.com"},
			"", "", "apk.cdn.eu.sunmi.com ota.cdn.eu.sunmi.com pic.cdn.eu.sunmi.com file.cdn.eu.sunmi.com api.eu.sunmi.com", ""},
		{"a sibling", Request{Plane: DNS, Client: netip.MustParseAddr("10.20.1.5"), Name: "webapi.eu.sunmi.com"},
			"", "", "api.eu.sunmi.com apk.cdn.eu.sunmi.com ota.cdn.eu.sunmi.com file.cdn.eu.sunmi.com pic.cdn.eu.sunmi.com", "payxpert/sunmi-tms"},
		{"nothing near", Request{Plane: DNS, Client: netip.MustParseAddr("10.20.1.5"), Name: "tracker.net"}, "", "", "", ""},
		{"nobody", Request{Plane: DNS, Client: netip.MustParseAddr("192.0.2.1"), Name: "central.payxpert.com"}, "", "pc", "", ""},
		{"time", Request{Plane: NTP, Client: netip.MustParseAddr("10.20.8.5"), Now: day}, "", "sunmi pos", "", ""},
	} {
		e := set.Explain(tt.r)
		var ports, others, nearest []string
		for _, p := range e.Ports {
			ports = append(ports, p.String())
		}
		for _, c := range e.Others {
			others = append(others, c.Name)
		}
		for _, r := range e.Nearest {
			nearest = append(nearest, r.Host)
		}
		suggest := ""
		if e.Suggestion != nil {
			suggest = e.Suggestion.Near
		}
		if e.Decision != set.Decide(tt.r) {
			t.Errorf("%s: the decision is %s", tt.what, told(e.Decision))
		}
		for _, x := range [][3]string{
			{"ports", strings.Join(ports, " "), tt.ports},
			{"others", strings.Join(others, " "), tt.others},
			{"nearest", strings.Join(nearest, " "), tt.nearest},
			{"suggestion", suggest, tt.suggest},
		} {
			if x[1] != x[2] {
				t.Errorf("%s: %s: %q, want %q", tt.what, x[0], x[1], x[2])
			}
		}
	}
}
