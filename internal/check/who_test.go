package check

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"tillgate/policy"
)

// page is the box's answer to who asks who it is.
func page(contentType, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)
}

// TestWho has boxes that know this machine, and what says otherwise at their addresses.
func TestWho(t *testing.T) {
	set, err := policy.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddr("10.20.1.50")
	who := NewWho(set, set.Classes()[0], client, time.Time{})
	text, err := json.Marshal(who)
	if err != nil {
		t.Fatal(err)
	}
	with := func(target Target) string {
		text, err := json.Marshal(Who{client, "pos", "x", Plan{Class: "pos", Targets: []Target{target}}})
		if err != nil {
			t.Fatal(err)
		}
		return page("application/json", string(text))
	}
	refused := "HTTP/1.1 403 Forbidden\r\nProxy-Status: tillgate; error=http_request_denied; details=\"unknown-client\"\r\nContent-Length: 0\r\n\r\n"
	for what, tt := range map[string]struct {
		dns    func(q, m *dns.Msg)
		proxy  string
		fault  Fault
		detail string
	}{
		"known":                    {nil, page("application/json", string(text)), "", ""},
		"in no class":              {nil, refused, Stranger, "this machine (127.0.0.1) is in no class of the box at 10.20.1.1"},
		"in no class, by DNS":      {refuses(dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, "unknown-client: x"), "", Stranger, "this machine (127.0.0.1) is in no class of the box at 10.20.1.1"},
		"nobody":                   {nil, "", NoDNS, "10.20.1.1:53: connection refused; nor is it a proxy: 10.20.1.1:3128: connection refused"},
		"no proxy":                 {gives(box), "", Untold, "10.20.1.1:3128: connection refused"},
		"no upstream, and no more": {refuses(dns.RcodeServerFailure, 0, ""), "", Unresolved, "the box's DNS says SERVFAIL"},
		"a page for people":        {nil, page("text/html", "hello"), Untold, "10.20.1.1:3128 answers 200 OK, and not as a box of this version does"},
		"no JSON":                  {nil, page("application/json", "hello"), Untold, "10.20.1.1:3128 answers what is no plan: "},
		"nobody's plan":            {nil, page("application/json", "{}"), Untold, "10.20.1.1:3128 answers what is no plan: it names no client and class"},
		"a host that is none":      {nil, with(Target{Host: "a\r\nb", Port: 443, Proto: "tcp"}), Untold, `10.20.1.1:3128 answers what is no plan: "a\r\nb" is no host`},
		"an address":               {nil, with(Target{Host: "", Port: 443, Proto: "tcp"}), Untold, `10.20.1.1:3128 answers what is no plan: "" is no host`},
		"other packets":            {nil, with(Target{Host: "a.test", Port: 53, Proto: "udp"}), Untold, `10.20.1.1:3128 answers what is no plan: a.test:53 "udp" is not to be tried`},
		"what is not tried":        {nil, with(Target{Host: "*.a.test", Skip: "many"}), "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			in := newInternet(t)
			switch {
			case tt.dns != nil:
				in.serveDNS(tt.dns)
			case tt.fault == Stranger:
				in.hosts["udp 10.20.1.1:53"] = "127.0.0.1:9" // only to know the own address
			}
			if tt.proxy != "" {
				in.proxy(tt.proxy)
			}
			c := Via(in.cfg, Gate{Addr: box})
			got, err := c.Who(t.Context())
			if tt.fault != "" {
				if trouble := troubleOf(err); err == nil || trouble.Fault != tt.fault || !strings.HasPrefix(trouble.Detail, tt.detail) {
					t.Errorf("%v, want %s: %s", err, tt.fault, tt.detail)
				}
				return
			}
			if err != nil || got.Plan.Via != box || got.Plan.Client != client || got.Plan.Known != got.Class {
				t.Errorf("%v, %+v", err, got)
			}
			if what != "known" {
				return
			}
			want := who
			want.Plan.Via, want.Plan.Client, want.Plan.Known, want.Plan.Policy = box, client, who.Class, set.ID()
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreUnexported(Target{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestStop says in a verdict why nothing was tried.
func TestStop(t *testing.T) {
	c := Via(Config{}, Gate{Addr: box})
	for _, tt := range []struct {
		trouble        Trouble
		headline, does string
	}{
		{Trouble{Stranger, "this machine (10.20.66.6) is in no class of the box at 10.20.1.1"},
			"Nothing is tried: this machine (10.20.66.6) is in no class of the box at 10.20.1.1.", "add its address or network under classes: in policy.yaml on the box"},
		{Trouble{NoDNS, "10.20.1.1:53: no answer"}, "Nothing is tried: DNS at the box does not answer (10.20.1.1:53: no answer).", "is that the box's address"},
	} {
		var v *Verdict
		err := c.Stop(t.Context(), Plan{Via: box}, &tt.trouble, func(l Line) error {
			if l.Verdict != nil {
				v = l.Verdict
			}
			return nil
		})
		if err != nil || v == nil || v.OK || v.Headline != tt.headline || !strings.HasPrefix(v.Do, tt.does) || len(v.Advice) != 1 {
			t.Errorf("%v, %+v", err, v)
		}
	}
}

// FuzzWho reads what anybody may say who answers at the box's address.
func FuzzWho(f *testing.F) {
	f.Add([]byte(`{"client":"10.20.1.50","class":"pos","policy":"531dad289d26","plan":{"class":"pos","targets":[{"host":"a.test","port":443,"proto":"tcp"}]}}`))
	f.Add([]byte(`{"client":"","plan":{"targets":[{"host":"a b","port":0}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var who Who
		if json.Unmarshal(text, &who) != nil || who.valid() != nil {
			return
		}
		for _, target := range who.Plan.Targets {
			if target.Skip == "" && strings.ContainsAny(target.String(), " \r\n\x00") {
				t.Errorf("%q is let through", target.String())
			}
		}
	})
}
