package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
)

const pageRecord = `http allow local-service "tillgate.internal":80`

// TestWho: the box tells who one is by every way that there is to it, once for a request,
// and nothing else is taken for it.
func TestWho(t *testing.T) {
	const (
		explicit = iota
		to80
		to8080
	)
	const title = "<h1>You are behind tillgate</h1>"
	for _, tt := range []struct {
		name         string
		way          int
		in           string
		status, body string
		record       string
	}{
		{"redirected, by name", to80, "GET / HTTP/1.1\r\nHost: Tillgate.Internal", "200 OK", title, pageRecord},
		{"redirected, with the port", to80, "GET /?x HTTP/1.1\r\nHost: tillgate.internal:80", "200 OK", title, pageRecord},
		{"redirected, by absolute URL", to80, "GET http://tillgate.internal/ HTTP/1.1\r\nHost: tillgate.internal", "200 OK", title, pageRecord},
		{"redirected, by address", to80, "GET / HTTP/1.1\r\nHost: 10.20.1.1", "200 OK", title, `http allow local-service "10.20.1.1":80`},
		{"its head", to80, "HEAD / HTTP/1.1\r\nHost: tillgate.internal", "200 OK", "", pageRecord},
		{"to write to it", to80, "POST / HTTP/1.1\r\nHost: tillgate.internal", "405 Method Not Allowed", "This is only to be read.", ""},
		{"another file", to80, "GET /favicon.ico HTTP/1.1\r\nHost: tillgate.internal", "404 Not Found", "There is nothing here.", ""},
		{"the proxy's file", to80, "GET /proxy.pac HTTP/1.1\r\nHost: tillgate.internal", "404 Not Found", "There is nothing here.", ""},
		{"the proxy by absolute URL", explicit, "GET http://tillgate.internal/ HTTP/1.1\r\nHost: tillgate.internal", "200 OK", title, pageRecord},
		{"the proxy itself", explicit, "GET / HTTP/1.1\r\nHost: 10.20.1.1:3128", "200 OK", title, `http allow local-service "10.20.1.1":3128`},
		{"the proxy by its own URL", explicit, "GET http://10.20.1.1:3128/ HTTP/1.1\r\nHost: 10.20.1.1:3128", "200 OK", title, `http allow local-service "10.20.1.1":3128`},

		{"another address", to80, "GET / HTTP/1.1\r\nHost: 10.20.1.2", "403 Forbidden", "This is not let through.", `http deny ip-literal "10.20.1.2":80`},
		{"below the name", to80, "GET / HTTP/1.1\r\nHost: x.tillgate.internal", "403 Forbidden", "This is not let through.", `http deny not-documented "x.tillgate.internal":80`},
		{"another port", to8080, "GET / HTTP/1.1\r\nHost: tillgate.internal:8080", "403 Forbidden", "This is not let through.", `http deny not-documented "tillgate.internal":8080`},
		{"another port of the proxy's", explicit, "GET http://tillgate.internal:8080/ HTTP/1.1\r\nHost: tillgate.internal:8080", "403 Forbidden", "This is not let through.", `http deny not-documented "tillgate.internal":8080`},
		{"a port that is none", explicit, "GET http://tillgate.internal:x/ HTTP/1.1\r\nHost: tillgate.internal:x", "400 Bad Request", "This is not let through.", `http deny malformed "tillgate.internal":80`},
		{"a tunnel", explicit, "CONNECT tillgate.internal:80 HTTP/1.1\r\nHost: tillgate.internal:80", "403 Forbidden", "This is not let through.", `connect deny not-documented "tillgate.internal":80`},
	} {
		s := newStore(t, nowhere(t))
		var v *visitor
		switch tt.way {
		case explicit:
			v = s.explicit()
		case to80:
			v = s.redirected(80)
		case to8080:
			v = s.redirected(8080)
		}
		head, body, _ := strings.Cut(v.ask(tt.in+"\r\n"+lastRequest), crlf2)
		if !strings.HasPrefix(head, "HTTP/1.1 "+tt.status+"\r\n") || !strings.Contains(body, tt.body) || tt.body == "" && body != "" {
			t.Errorf("%s: %q %q", tt.name, head, body)
		}
		if tt.status == "200 OK" {
			for _, field := range []string{"Content-Type: text/html; charset=utf-8", "Cache-Control: no-store", "X-Content-Type-Options: nosniff",
				"Referrer-Policy: no-referrer", "Content-Security-Policy: default-src 'none'; style-src '" + styleHash + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"} {
				if !strings.Contains(head+"\r\n", "\r\n"+field+"\r\n") {
					t.Errorf("%s: no %q in %q", tt.name, field, head)
				}
			}
		}
		if got := s.told(); got != tt.record {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// TestWhoGoesOn: the page does not end the connection, nor does a tunnel that HTTP is spoken
// in lead to it.
func TestWhoGoesOn(t *testing.T) {
	s := newStore(t, heardBy(make(chan string, 1), "HTTP/1.1 204 No Content"+crlf2))
	got := s.redirected(80).ask("GET / HTTP/1.1\r\nHost: tillgate.internal" + crlf2 + "GET / HTTP/1.1\r\nHost: check.example\r\n" + lastRequest)
	if !strings.Contains(got, "</html>\nHTTP/1.1 204 No Content\r\n") {
		t.Error(got)
	}
	if got, want := s.told(), pageRecord+`; http allow documented "check.example":80`; got != want {
		t.Error(got)
	}
	s = newStore(t, nowhere(t))
	got = s.explicit().ask("CONNECT check.example:80 HTTP/1.1\r\nHost: check.example:80" + crlf2 +
		"GET / HTTP/1.1\r\nHost: tillgate.internal\r\n" + lastRequest)
	if strings.Contains(got, "You are behind") {
		t.Error(got)
	}
}

// TestWhoToStrangers: who may reach nothing is told nothing.
func TestWhoToStrangers(t *testing.T) {
	s := newStore(t, nowhere(t))
	redirected := func(ctx context.Context, c *peer) {
		s.p.serveHTTPConn(ctx, c, netip.MustParseAddrPort("10.20.1.1:80"), nil)
	}
	for _, serve := range []func(context.Context, *peer){redirected, s.p.serveProxy} {
		got := s.visit(stranger, serve).ask("GET http://tillgate.internal/ HTTP/1.1\r\nHost: tillgate.internal" + crlf2)
		if status, _, _ := answerOf(t, got); status != "403 Forbidden" || strings.Contains(got, "You are behind") {
			t.Error(got)
		}
	}
	const denied = `http deny unknown-client "tillgate.internal":80`
	if got := s.told(); got != denied+"; "+denied {
		t.Error(got)
	}
}

func TestWhoStyle(t *testing.T) {
	sum := sha256.Sum256([]byte(whoStyle))
	if want := "sha256-" + base64.StdEncoding.EncodeToString(sum[:]); styleHash != want {
		t.Errorf("the hash of the style is %s", want)
	}
}

// readPage returns what a browser shows, without white space at the ends of lines.
func readPage(t *testing.T, page string) string {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var text bytes.Buffer
	style := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, page)
		}
		switch token := token.(type) {
		case xml.StartElement:
			switch token.Name.Local {
			case "html", "meta", "title", "style", "h1", "h2", "p", "table", "tr", "pre":
			case "th", "td":
				text.WriteString(" | ")
			case "br":
				text.WriteString("; ")
			default:
				t.Errorf("markup from elsewhere: %v", token)
			}
			style = token.Name.Local == "style"
		case xml.EndElement:
			style = false
		case xml.CharData:
			if !style {
				text.Write(token)
			}
		}
	}
	var lines []string
	for line := range strings.Lines(text.String()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestWhoPage(t *testing.T) {
	set, err := policy.Compile([]policy.File{{Name: "packs/lab.yaml", Data: []byte(storePack)}, {Name: "policy.yaml", Data: []byte(`
version: 1
packs: [lab]
classes:
  till: {networks: [10.20.1.0/24], time: true, services: [lab/till, local/printer, local/over]}
  pc:   {networks: [10.20.9.0/24], mode: observe, services: [lab/office]}
services:
  - id: local/printer
    reason: "<b>printer</b> & 'co' \"x\" \u202e\u001b[2J"
    until: 2027-01-31T00:00:00Z
    destinations: [{host: printer.example, ports: [tcp/80]}, {network: 10.20.5.7/32, ports: [tcp/9100]}]
  - id: local/over
    reason: over
    until: 2026-01-01T00:00:00Z
    destinations: [{host: over.example, ports: [tcp/443]}]
deny: [{host: bad.pay.example}, {host: "*.ads.example"}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	page := whoPage(set, set.Classes()[0], till, "eth0.20", now)
	want := `You are behind tillgate
This box decides what this device may reach.
| address | 10.20.1.7
| class | till
| interface | eth0.20
| policy | ` + set.ID() + `, enforce
What is let through
| row | service | for | to
| 1 | lab/till | Till, required | api.pay.example tcp/443; *.pay.example tcp/443; check.example tcp/80 tcp/443; alt.example tcp/8080; inside.example tcp/80 tcp/443
|  | local/printer | <b>printer</b> & 'co' "x" \u202e\x1b[2J, until 2027-01-31 00:00 UTC | printer.example tcp/80; 10.20.5.7/32 tcp/9100
|  | time | whatever server is asked, this box answers | udp/123
What is not
All else is denied: other names, other ports, other addresses. Every attempt is recorded.
Denied whatever else is allowed: bad.pay.example, *.ads.example
To see more
On the box, what this device tried and what became of it, and why a name is denied:
tillgate log --client 10.20.1.7
tillgate explain 10.20.1.7 NAME:PORT
`
	got := strings.TrimPrefix(readPage(t, page), "tillgate\n") // the title
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, page)
	}
	if strings.ContainsAny(page, "\x1b\u202e") {
		t.Error("what does not print is in the page")
	}
	observed := readPage(t, whoPage(set, set.Classes()[1], netip.MustParseAddr("10.20.9.7"), "", now))
	if !strings.Contains(observed, "This class is observed: ") || strings.Contains(observed, "All else is denied") || strings.Contains(observed, "interface") {
		t.Error(observed)
	}
	if early := readPage(t, whoPage(set, set.Classes()[0], till, "", time.Time{})); !strings.Contains(early, "over.example") {
		t.Errorf("without the time nothing has ended: %s", early)
	}
}

// TestWhoForPrograms: who asks for JSON is told what the box has to say to programs, with
// the same record as the page.
func TestWhoForPrograms(t *testing.T) {
	s := newStore(t, nowhere(t))
	s.p.deps.Tell = func(_ *policy.Set, class *policy.Class, client netip.Addr) any {
		return []string{class.Name, client.String()}
	}
	const ask = "GET http://tillgate.internal/ HTTP/1.1\r\nHost: tillgate.internal\r\nAccept: application/json\r\n"
	head, body, _ := strings.Cut(s.explicit().ask(ask+lastRequest), crlf2)
	if body != `["till","10.20.1.7"]` || !strings.Contains(head, "\r\nContent-Type: application/json") || !strings.Contains(head, "\r\nCache-Control: no-store") {
		t.Errorf("%q %q", head, body)
	}
	if got := s.told(); got != pageRecord {
		t.Error(got)
	}
}
