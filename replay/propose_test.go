package replay

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
)

// propose makes a proposal of records, with the names by which clients know destinations.
func propose(t *testing.T, set *policy.Set, records map[string]string) *Proposal {
	t.Helper()
	d := NewDenials(set, now)
	for text, known := range records {
		d.Add(record(t, text), known)
	}
	p, err := d.Propose()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPropose(t *testing.T) {
	expired := []string{"reason: ticket 1", "reason: ticket 1\n    until: 2026-11-21T00:00:00Z"}
	for _, tt := range []struct {
		what    string
		edit    []string
		records map[string]string
		want    []string
	}{
		{"a name and its ports", nil, map[string]string{
			`"verdict":"deny","client":"10.20.0.7","name":"a.shop.example","count":3`:                                                   "",
			`"plane":"tls","verdict":"deny","client":"10.20.0.7","name":"a.shop.example","port":8443,"proto":"tcp"`:                     "",
			`"plane":"connect","verdict":"would-deny","client":"10.20.0.7","name":"a.shop.example","port":443,"proto":"tcp"`:            "",
			`"verdict":"deny","client":"10.20.0.7","name":"shop.example"`:                                                               "",
			`"plane":"connect","event":"close","verdict":"would-deny","client":"10.20.0.7","name":"b.example","port":443,"proto":"tcp"`: "",
			`"verdict":"allow","client":"10.20.0.7","name":"c.example"`:                                                                 "",
			`"verdict":"deny","reason":"not-documented","client":"10.20.0.7","name":"dns.google","detail":"it is allowed by now"`:       "",
			`"verdict":"deny","reason":"rate","client":"10.20.0.7","name":"d.example"`:                                                  "",
			`"verdict":"deny","reason":"private-address","client":"10.20.0.7","name":"printer.own.example","detail":"it may by now"`:    "",
			`"verdict":"deny","client":"10.20.9.7","name":"shop.example"`:                                                               "",
		}, []string{
			"pc local/pc-shop-example: shop.example [tcp/443]?",
			"pos local/pos-shop-example: a.shop.example [tcp/443 tcp/8443], shop.example [tcp/443]?",
			"7 of 7",
		}},
		{"another class's", nil, map[string]string{
			`"plane":"tls","verdict":"deny","client":"10.20.0.7","name":"central.payxpert.com","port":443,"proto":"tcp"`: "",
			`"verdict":"deny","client":"10.20.0.7","name":"x.central.payxpert.com"`:                                      "",
			`"plane":"tls","verdict":"deny","client":"10.20.0.7","name":"api.eu.sunmi.com","port":8080,"proto":"tcp"`:    "",
			`"plane":"tls","verdict":"deny","client":"10.20.0.7","name":"dns.google","port":8080,"proto":"tcp"`:          "",
		}, []string{
			"pos gets payxpert/central: central.payxpert.com, x.central.payxpert.com",
			"pos local/pos-sunmi-com: api.eu.sunmi.com [tcp/8080]",
			"note dns.google:8080 tls: a resolver of its own",
			"3 of 4",
		}},
		{"another class's, and more of it", nil, map[string]string{
			`"verdict":"deny","client":"10.20.9.7","name":"dns.google"`:                                                                       "",
			`"plane":"tls","verdict":"deny","client":"10.20.9.7","name":"dns.google","port":853,"proto":"tcp"`:                                "",
			`"verdict":"deny","client":"10.20.9.7","name":"api-pos-default-v4.payxpert.com"`:                                                  "",
			`"plane":"connect","verdict":"would-deny","client":"10.20.9.7","name":"api-pos-default-v4.payxpert.com","port":443,"proto":"tcp"`: "",
		}, []string{
			"pc gets payxpert/emv: api-pos-default-v4.payxpert.com",
			"note dns.google:853 tls: a resolver of its own",
			"3 of 4",
		}},
		{"expired", expired, map[string]string{`"verdict":"deny","client":"10.20.0.7","name":"www.own.example"`: ""}, []string{
			"pos local/pos-own-example: www.own.example [tcp/443]?", "1 of 1",
		}},
		{"packets", nil, map[string]string{
			`"plane":"firewall","verdict":"deny","client":"10.20.0.7","port":5228,"proto":"tcp","dest":"45.60.1.1:5228"`: "mtalk.google.com",
			`"plane":"firewall","verdict":"deny","client":"10.20.0.7","port":443,"proto":"udp","dest":"45.60.1.2:443"`:   "quic.example",
			`"plane":"firewall","verdict":"deny","client":"10.20.0.7","port":5229,"proto":"tcp","dest":"45.60.1.3:5229"`: "",
			`"plane":"firewall","verdict":"deny","client":"10.20.0.7","port":9100,"proto":"tcp","dest":"10.20.5.8:9100"`: "",
		}, []string{
			"pos local/pos-known-emv: mtalk.google.com [tcp/5228]",
			"pos local/pos-quic-example: quic.example [tcp/443]?",
			"note :5229 firewall: an address, and no name",
			"note :9100 firewall: within the store: {network: 10.20.5.8/32, ports: [tcp/9100]}",
			"note quic.example:443 firewall: QUIC",
			"1 of 4",
		}},
		{"what no rule is for", nil, map[string]string{
			`"verdict":"deny","client":"10.20.0.7","name":"www.ads.example"`:                                                            "",
			`"verdict":"deny","client":"10.20.7.7","name":"www.shop.example"`:                                                           "",
			`"verdict":"deny","reason":"private-address","client":"10.20.0.7","name":"www.own.example"`:                                 "",
			`"plane":"tls","verdict":"deny","reason":"no-sni","client":"10.20.0.7","port":443,"proto":"tcp","dest":"45.60.1.1:443"`:     "",
			`"plane":"connect","verdict":"deny","reason":"ip-literal","client":"10.20.0.7","name":"45.60.1.1","port":443,"proto":"tcp"`: "",
			`"plane":"ntp","verdict":"deny","reason":"other-class","client":"10.20.9.7","port":123,"proto":"udp"`:                       "",
			`"verdict":"deny","client":"10.20.0.7","name":"printer"`:                                                                    "",
			`"verdict":"deny","client":"10.20.0.7","name":""`:                                                                           "",
			`"verdict":"deny","client":"10.20.0.7","name":"1.0.20.10.in-addr.arpa"`:                                                     "",
			`"verdict":"deny","client":"10.20.0.7","name":"time.android.com"`:                                                           "",
			`"plane":"tls","verdict":"deny","client":"10.20.0.7","name":"dot.example","port":853,"proto":"tcp"`:                         "",
		}, []string{
			"note : dns: the root",
			"note 1.0.20.10.in-addr.arpa dns: the name of an address",
			"note 45.60.1.1:443 connect: an address in place",
			"note : ntp: the time: with time: true",
			"note :443 tls: no name was said",
			"note dot.example:853 tls: DNS over TLS",
			"note printer dns: not a host",
			"note time.android.com dns: a time server",
			"note www.ads.example dns: denied by policy.yaml:",
			"note www.own.example dns: its name leads",
			"note www.shop.example dns: its address is in no class",
			"0 of 11",
		}},
	} {
		p := propose(t, edited(t, tt.edit...), tt.records)
		if stops, passes := foretold(t, p, tt.records); stops != 0 || passes != p.Allowed {
			t.Errorf("%s: of the proposal, Diff says that %d would stop and %d pass, not %d", tt.what, stops, passes, p.Allowed)
		}
		var got []string
		for _, g := range p.Grants {
			got = append(got, g.Class+" gets "+g.Service.ID+": "+names(g.Hosts))
		}
		for _, o := range p.Own {
			var hosts []string
			for _, h := range o.Hosts {
				text := fmt.Sprint(h.Name, " ", h.Ports)
				if h.Guessed {
					text += "?"
				}
				hosts = append(hosts, text)
			}
			got = append(got, o.Class+" "+o.ID+": "+strings.Join(hosts, ", "))
		}
		for _, n := range p.Notes {
			name := n.Name
			if n.Port != 0 && n.Plane != policy.NTP {
				name += fmt.Sprint(":", n.Port)
			}
			if name == "" {
				name = ":"
			}
			got = append(got, fmt.Sprintf("note %s %v: %s", name, n.Plane, n.Why))
		}
		got = append(got, fmt.Sprintf("%d of %d", p.Allowed, p.Attempts))
		want := slices.Clone(tt.want)
		slices.Sort(want)
		slices.Sort(got)
		for i := range min(len(got), len(want)) { // of a note the beginning counts
			if strings.HasPrefix(got[i], want[i]) && strings.HasPrefix(got[i], "note") {
				got[i] = want[i]
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}

// foretold is what Diff says of a proposal that was accepted.
func foretold(t *testing.T, p *Proposal, records map[string]string) (stops, passes uint64) {
	t.Helper()
	file, err := p.File("ticket 1")
	if err != nil {
		t.Fatal(err)
	}
	files := slices.Clone(p.set.Files())
	for i := range files {
		if files[i].Name == file.Name {
			files[i] = file
		}
	}
	set, err := policy.Compile(files)
	if err != nil {
		t.Fatal(err)
	}
	d := NewDiff(p.set, set, now)
	for text, known := range records {
		d.Add(record(t, text), known)
	}
	return d.Changed[Stops], d.Changed[Passes] + d.Changed[Noted]
}

func names(hosts []Host) string {
	var list []string
	for _, h := range hosts {
		list = append(list, h.Name)
	}
	return strings.Join(list, ", ")
}

// However much was denied, what is proposed is bounded, and is a policy that can be read:
// what was asked for most.
func TestProposeIsBounded(t *testing.T) {
	d := NewDenials(edited(t), now)
	r := record(t, `"verdict":"deny","client":"10.20.0.7","name":"x.example"`)
	long := strings.Repeat("."+strings.Repeat("x", 60), 3) + ".a-very-long-name-of-a-shop-that-sells-things.example"
	for i := range MaxGroups + 10 {
		r.Name = fmt.Sprint("x", i, long)
		r.Count = uint64(i)
		d.Add(r, "")
	}
	p, err := d.Propose()
	if err != nil {
		t.Fatal(err)
	}
	if p.Attempts != p.Allowed+p.Unlisted || len(p.Own) != maxNames/maxHosts {
		t.Errorf("%d left out of %d, %d allowed by %d services", p.Unlisted, p.Attempts, p.Allowed, len(p.Own))
	}
	for _, o := range p.Own {
		for _, h := range o.Hosts {
			if len(o.Hosts) > maxHosts || h.Attempts < MaxGroups-maxNames {
				t.Errorf("%s has %d hosts, and %s, %d times asked for", o.ID, len(o.Hosts), h.Name, h.Attempts)
			}
		}
	}
}

// So is what is said of what is not proposed.
func TestNotesAreBounded(t *testing.T) {
	d := NewDenials(edited(t), now)
	r := record(t, `"verdict":"deny","client":"10.20.0.7","name":"x.example"`)
	for i := range maxNotes + 10 {
		r.Name = fmt.Sprint("x", i, ".ads.example")
		d.Add(r, "")
	}
	p, err := d.Propose()
	if err != nil {
		t.Fatal(err)
	}
	file, err := p.File("")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(file.Data); strings.Count(text, ".ads.example dns") != maxNotes || strings.Count(text, "take that rule away") != 1 || !strings.Contains(text, "\n#   and 10 more\n") {
		t.Errorf("the file is\n%s", text)
	}
}

// Whatever came over the wire, the comments are comments.
func TestCommentsOfTheFile(t *testing.T) {
	p := propose(t, edited(t), map[string]string{
		`"plane":"http","verdict":"deny","reason":"bad-name","client":"10.20.0.7","name":"x\n- evil: \u001b[31m","port":80,"proto":"tcp"`: "",
		`"verdict":"deny","client":"10.20.0.7","name":"a.shop.example"`:                                                                   "",
	})
	file, err := p.File("")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(file.Data); !strings.Contains(text, `#     x\x0a- evil: \x1b[31m:80 http`) {
		t.Errorf("the file is\n%s", text)
	}
}
