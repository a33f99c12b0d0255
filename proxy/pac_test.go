package proxy

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// A pac is a proxy auto-configuration file, as far as [pacFile] makes use of JavaScript.
type pac struct {
	direct []func(host string) bool
	proxy  string
}

var (
	pacPattern = regexp.MustCompile(`^\tif \(/(.+)/\.test\(host\)\) return "DIRECT"; // .+$`)
	pacEqual   = regexp.MustCompile(`^\tif \(host === "(.+)"\) return "DIRECT"; // .+$`)
	pacReturn  = regexp.MustCompile(`^\treturn "(PROXY .+)";$`)
)

// parsePAC fails on any line that it does not know. JavaScript and Go read the regular
// expressions alike.
func parsePAC(t *testing.T, text string) (p pac) {
	t.Helper()
	body, ok := strings.CutPrefix(text, "function FindProxyForURL(url, host) {\n\thost = host.toLowerCase();\n")
	body, ok2 := strings.CutSuffix(body, "\n}\n")
	if !ok || !ok2 {
		t.Fatalf("not that function:\n%s", text)
	}
	for line := range strings.SplitSeq(body, "\n") {
		if m := pacPattern.FindStringSubmatch(line); m != nil {
			p.direct = append(p.direct, regexp.MustCompile(m[1]).MatchString)
		} else if m := pacEqual.FindStringSubmatch(line); m != nil {
			p.direct = append(p.direct, func(host string) bool { return host == m[1] })
		} else if m := pacReturn.FindStringSubmatch(line); m != nil && p.proxy == "" {
			p.proxy = m[1]
		} else {
			t.Fatalf("an unknown line: %q", line)
		}
		if p.proxy == "" && strings.Contains(line, "url") {
			t.Fatalf("the path of a URL is no business of the box: %q", line)
		}
	}
	return p
}

func (p pac) find(host string) string {
	host = strings.ToLower(host)
	for _, direct := range p.direct {
		if direct(host) {
			return "DIRECT"
		}
	}
	return p.proxy
}

func TestPAC(t *testing.T) {
	box4 := parsePAC(t, pacFile(netip.MustParseAddrPort("10.20.1.1:3128")))
	box6 := parsePAC(t, pacFile(netip.MustParseAddrPort("[2001:db8::1]:3128")))
	for _, tt := range []struct{ host, want string }{
		{"api.pay.example", "PROXY"},
		{"evil.example", "PROXY"}, // to be denied, and recorded
		{"10.example", "PROXY"},
		{"10.0.0.example", "PROXY"},
		{"10.0.0.1.example", "PROXY"},
		{"fe80.example", "PROXY"},
		{"fcdn.example", "PROXY"},
		{"localhost.example", "PROXY"},
		{"tillgate.internal.example", "PROXY"},
		{"8.8.8.8", "PROXY"},
		{"11.0.0.1", "PROXY"},
		{"172.15.0.1", "PROXY"},
		{"172.32.0.1", "PROXY"},
		{"192.169.0.1", "PROXY"},
		{"169.253.0.1", "PROXY"},
		{"100.64.0.1", "PROXY"},
		{"2001:4860:4860::8888", "PROXY"},
		{"[2001:4860:4860::8888]", "PROXY"},
		{"::ffff:8.8.8.8", "PROXY"},
		{"fc::1", "PROXY"},
		{"fec0::1", "PROXY"},
		{"printer", "DIRECT"},
		{"LOCALHOST", "DIRECT"},
		{"127.0.0.1", "DIRECT"},
		{"10.255.0.1", "DIRECT"},
		{"172.16.0.1", "DIRECT"},
		{"172.29.0.1", "DIRECT"},
		{"172.31.255.255", "DIRECT"},
		{"192.168.1.1", "DIRECT"},
		{"169.254.1.1", "DIRECT"},
		{"::1", "DIRECT"},
		{"[::1]", "DIRECT"},
		{"fd00::1", "DIRECT"},
		{"[FD12:3456::1]", "DIRECT"},
		{"fe80::1", "DIRECT"},
		{"febf::1", "DIRECT"},
		{"tillgate.internal", "DIRECT"},
	} {
		for box, p := range map[string]pac{"10.20.1.1:3128": box4, "[2001:db8::1]:3128": box6} {
			want := tt.want
			if want == "PROXY" {
				want += " " + box
			}
			if got := p.find(tt.host); got != want {
				t.Errorf("%s by %s: %s, want %s", tt.host, box, got, want)
			}
		}
	}
	for _, host := range []string{"2001:db8::1", "[2001:db8::1]"} {
		if box4.find(host) != "PROXY 10.20.1.1:3128" || box6.find(host) != "DIRECT" {
			t.Errorf("%s is the one box, and not the other", host)
		}
	}
}

var date = regexp.MustCompile(`\r\nDate: [^\r]*`)

func TestServePAC(t *testing.T) {
	file := pacFile(netip.MustParseAddrPort("10.20.1.1:3128"))
	okay := "200 OK\r\nCache-Control: max-age=300\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n", len(file)) + "Content-Type: application/x-ns-proxy-autoconfig\r\n"
	const (
		none   = "404 Not Found\r\n"
		proxy  = "There is nothing here. Who you are is at /, "
		bad    = "400 Bad Request\r\n"
		not    = "405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"
		denied = "This is not let through."
	)
	for _, tt := range []struct{ name, in, want, body, record string }{
		{"the file", "GET /proxy.pac HTTP/1.1\r\nHost: 10.20.1.1:3128", okay, file, ""},
		{"by WPAD", "GET /wpad.dat HTTP/1.1\r\nHost: wpad", okay, file, ""},
		{"with a query", "GET /proxy.pac?x HTTP/1.1\r\nHost: [fe80::1]:3128", okay, file, ""},
		{"by HTTP/1.0", "GET /proxy.pac HTTP/1.0", okay, file, ""},
		{"its head", "HEAD /proxy.pac HTTP/1.1\r\nHost: 10.20.1.1:3128", okay, "", ""},
		{"in order to change it", "POST /proxy.pac HTTP/1.1\r\nHost: 10.20.1.1:3128", not, "This is only to be read.\n", ""},
		{"another file", "GET /index.html HTTP/1.1\r\nHost: 10.20.1.1:3128", none, proxy, ""},
		{"another file, by name", "GET /favicon.ico HTTP/1.1\r\nHost: Tillgate.internal:3128", none, proxy, ""},
		{"by absolute URL", "GET http://tillgate.internal/proxy.pac HTTP/1.1\r\nHost: tillgate.internal", okay, file, ""},
		{"another host's", "GET / HTTP/1.1\r\nHost: check.example", bad, denied, `http deny malformed "check.example":80`},
		{"no host's", "GET / HTTP/1.0", bad, denied, `http deny malformed "":80`},
		{"of all", "OPTIONS * HTTP/1.1\r\nHost: 10.20.1.1:3128", none, proxy, ""},
	} {
		s := newStore(t, nowhere(t))
		got := s.explicit().ask(tt.in + "\r\n" + lastRequest)
		head, body, _ := strings.Cut(got, crlf2)
		head = date.ReplaceAllString(strings.TrimPrefix(strings.TrimPrefix(head, "HTTP/1.1 "), "HTTP/1.0 "), "")
		if !strings.HasPrefix(head+"\r\n", tt.want) || !strings.HasPrefix(body, tt.body) || tt.body == "" && body != "" {
			t.Errorf("%s: %q %q", tt.name, head, body)
		}
		if got := s.told(); got != tt.record {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// TestServePACToStrangers: who may reach nothing is told nothing.
func TestServePACToStrangers(t *testing.T) {
	s := newStore(t, nowhere(t))
	got := s.visit(stranger, s.p.serveProxy).
		ask("GET /proxy.pac HTTP/1.1\r\nHost: 10.20.1.1:3128" + crlf2)
	if status, _, _ := answerOf(t, got); status != "403 Forbidden" || strings.Contains(got, "FindProxyForURL") {
		t.Error(got)
	}
	if got := s.told(); got != `http deny unknown-client "10.20.1.1":3128` {
		t.Error(got)
	}
}
