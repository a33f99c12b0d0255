package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

// logged are records of all kinds, an hour before their shown time.
func logged() []decision.Record {
	at := time.Date(2026, 11, 22, 6, 1, 12, 345e6, time.UTC)
	till := netip.MustParseAddr("10.20.1.7")
	return []decision.Record{
		{Time: at, Plane: policy.System, Event: decision.EventStart, Detail: "tillgate v1.0.0 started; policy 0123456789ab, embedded; dns 0.0.0.0:53, [::]:53"},
		{Time: at.Add(time.Second), Plane: policy.DNS, Verdict: policy.Allow, Reason: policy.Documented, Client: till, Class: "sunmi",
			Name: "api-pos-default-v4.payxpert.com", Qtype: "A", Rcode: "NOERROR", Service: "payxpert/emv", Row: 1},
		{Time: at.Add(2 * time.Second), Plane: policy.DNS, Reason: policy.OtherClass, Client: till, Class: "sunmi",
			Name: "central.payxpert.com", Qtype: "A", Rcode: "NXDOMAIN", Service: "payxpert/central", Row: 4},
		{Time: at.Add(3 * time.Second), Plane: policy.DNS, Reason: policy.NotDocumented, Client: till, Class: "sunmi",
			Name: "firebasestorage.googleapis.com", Qtype: "AAAA", Rcode: "NXDOMAIN", Count: 12, Until: at.Add(13 * time.Second)},
		{Time: at.Add(4 * time.Second), Plane: policy.Connect, Verdict: policy.WouldDeny, Reason: policy.PortNotAllowed,
			Client: netip.MustParseAddr("fd00:20:1::7"), Class: "pc", Name: "dns.google", Port: 853, Proto: policy.TCP, Service: "payxpert/emv", Row: 1},
		{Time: at.Add(5 * time.Second), Plane: policy.DNS, Verdict: policy.Allow, Reason: policy.Documented, Client: till, Class: "sunmi",
			Name: "dns.google", Qtype: "A", Rcode: "SERVFAIL", Service: "payxpert/emv", Row: 1, Detail: "dns.google at 8.8.8.8: connecting: timed out"},
		{Time: at.Add(6 * time.Second), UntrustedTime: true, Plane: policy.DNS, Reason: policy.UnknownClient,
			Client: netip.MustParseAddr("192.168.1.1"), Name: "evil\x1b[2J.example", Qtype: "A", Rcode: "REFUSED"},
		{Time: at.Add(7 * time.Second), Plane: policy.DNS, Reason: policy.RateLimited, Client: till, Class: "sunmi", Count: 5000, Until: at.Add(17 * time.Second)},
		{Time: at.Add(8 * time.Second), Plane: policy.DNS, Reason: policy.NotDocumented, Client: till, Class: "sunmi", Qtype: "NS", Rcode: "NOERROR"},
		{Time: at.Add(9 * time.Second), Plane: policy.Policy, Event: decision.EventChange, By: "file",
			Detail: `refused, 0123456789ab stays in force: policy.yaml:3:60: no such service: "payxpert/emw" (did you mean "payxpert/emv"?)`},
		{Time: at.Add(10 * time.Second), Plane: policy.Policy, Event: decision.EventChange, Class: "pos", By: "root, uid 0",
			Detail: "class pos is observed until 2026-11-22T08:01:22Z: till 4 cannot pay"},
		{Time: at.Add(11 * time.Second), Plane: policy.TLS, Verdict: policy.Allow, Reason: policy.Documented, Client: till, Class: "sunmi",
			Name: "dns.google", Port: 443, Proto: policy.TCP, Service: "payxpert/emv", Row: 1, Dest: netip.MustParseAddrPort("8.8.8.8:443"), Ms: 31},
		{Time: at.Add(12 * time.Second), Plane: policy.TLS, Event: decision.EventClose, Verdict: policy.Allow, Reason: policy.Documented,
			Client: till, Class: "sunmi", Name: "dns.google", Port: 443, Proto: policy.TCP, Service: "payxpert/emv", Row: 1,
			Dest: netip.MustParseAddrPort("8.8.8.8:443"), Up: 2048, Down: 3 << 20, Ms: 303_000, By: "client"},
		{Time: at.Add(13 * time.Second), Plane: policy.Connect, Verdict: policy.Allow, Reason: policy.Documented, Client: till, Class: "sunmi",
			Name: "dns.google", Port: 443, Proto: policy.TCP, Service: "payxpert/emv", Row: 1, Rcode: "connection_refused", Detail: "8.8.8.8:443: connection refused"},
		{Time: at.Add(14 * time.Second), Plane: policy.HTTP, Event: decision.EventClose, Verdict: policy.WouldDeny, Reason: policy.NotDocumented,
			Client: till, Class: "sunmi", Name: "evil.example", Port: 80, Proto: policy.TCP, Ms: 812.4, By: "policy", Detail: "not-documented"},
		{Time: at.Add(14 * time.Second), Plane: policy.HTTP, Event: decision.EventClose, Verdict: policy.Allow, Reason: policy.Documented,
			Client: till, Class: "sunmi", Name: "www.qualcomm.cn", Port: 80, Proto: policy.TCP, Rcode: "connection_terminated",
			Up: 100, Down: 20, By: "server", Count: 3, Until: at.Add(16 * time.Second)},
		{Time: at.Add(14 * time.Second), Plane: policy.NTP, Verdict: policy.Allow, Reason: policy.LocalService, Client: till, Class: "sunmi",
			Proto: policy.UDP, OffsetMs: -361_500},
		{Time: at.Add(15 * time.Second), Plane: policy.TLS, Reason: policy.NotTLS, Client: till, Class: "sunmi", Port: 25, Proto: policy.TCP},
		{Time: at.Add(24 * time.Hour), Plane: policy.System, Event: decision.EventGap, Count: 7, Detail: "7 records were lost"},
		{Time: at.Add(24 * time.Hour), Plane: policy.System, Event: decision.EventStop},
	}
}

func renderLog(t *testing.T, d display) string {
	t.Helper()
	var b strings.Builder
	w := newLogWriter(&b, d, time.FixedZone("CET", 3600))
	for _, r := range logged() {
		if err := w.write(&r); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestLogOfAPipe(t *testing.T) {
	const want = `2026-11-22 07:01:12 system  tillgate v1.0.0 started; policy 0123456789ab, embedded; dns 0.0.0.0:53, [::]:53
2026-11-22 07:01:13 allow 10.20.1.7 (sunmi)          api-pos-default-v4.payxpert.com A  row 1 payxpert/emv
2026-11-22 07:01:14 deny  10.20.1.7 (sunmi)          central.payxpert.com A  documented, but not for this class of device; row 4 payxpert/central
2026-11-22 07:01:15 deny  10.20.1.7 (sunmi)          firebasestorage.googleapis.com AAAA  no rule names it; 12 more until 07:01:25
2026-11-22 07:01:16 would-deny fd00:20:1::7 (pc)          dns.google:853 connect  the name is allowed, but not on this port; row 1 payxpert/emv
2026-11-22 07:01:17 allow 10.20.1.7 (sunmi)          dns.google A  row 1 payxpert/emv; SERVFAIL; dns.google at 8.8.8.8: connecting: timed out
2026-11-22 07:01:18? deny  192.168.1.1                evil\x1b[2J.example A  this client's address is in no class
2026-11-22 07:01:19 deny  10.20.1.7 (sunmi)          dns  too many requests from this client; 5000 more until 07:01:29
2026-11-22 07:01:20 deny  10.20.1.7 (sunmi)          . NS  no rule names it
2026-11-22 07:01:21 policy  refused, 0123456789ab stays in force: policy.yaml:3:60: no such service: "payxpert/emw" (did you mean "payxpert/emv"?) (file)
2026-11-22 07:01:22 policy  class pos is observed until 2026-11-22T08:01:22Z: till 4 cannot pay (root, uid 0)
2026-11-22 07:01:23 allow 10.20.1.7 (sunmi)          dns.google:443 tls  row 1 payxpert/emv; to 8.8.8.8
2026-11-22 07:01:24 close 10.20.1.7 (sunmi)          dns.google:443 tls  closed by the client after 5m03s; 2.0 KiB up, 3.0 MiB down
2026-11-22 07:01:25 allow 10.20.1.7 (sunmi)          dns.google:443 connect  row 1 payxpert/emv; 8.8.8.8:443: connection refused
2026-11-22 07:01:26 close 10.20.1.7 (sunmi)          evil.example:80 http  closed by the policy now in force (not-documented) after 812ms; 0 bytes up, 0 bytes down
2026-11-22 07:01:26 close 10.20.1.7 (sunmi)          www.qualcomm.cn:80 http  closed by the server (connection terminated); 100 bytes up, 20 bytes down; 3 more until 07:01:28
2026-11-22 07:01:26 allow 10.20.1.7 (sunmi)          ntp  its class has time; its clock is 6m01s slow
2026-11-22 07:01:27 deny  10.20.1.7 (sunmi)          :25 tls  not what the port is for
2026-11-23 07:01:12 system  7 records were lost
2026-11-23 07:01:12 system  stop
`
	if diff := cmp.Diff(want, renderLog(t, display{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogOfATerminal(t *testing.T) {
	const want = `TIME           CLIENT (CLASS)             NAME  WHY
Sunday, 22 November 2026
07:01:12 system  tillgate v1.0.0 started; policy 0123456789ab, embedded; dns
                 0.0.0.0:53, [::]:53
07:01:13 allow 10.20.1.7 (sunmi)          api-pos-default-v4.payxpert.com A
               row 1 payxpert/emv
07:01:14 deny  10.20.1.7 (sunmi)          central.payxpert.com A
               documented, but not for this class of device; row 4
               payxpert/central
07:01:15 deny  10.20.1.7 (sunmi)          firebasestorage.googleapis.com AAAA
               no rule names it; 12 more until 07:01:25
07:01:16 would-deny fd00:20:1::7 (pc)          dns.google:853 connect
                    the name is allowed, but not on this port; row 1
                    payxpert/emv
07:01:17 allow 10.20.1.7 (sunmi)          dns.google A
               row 1 payxpert/emv; SERVFAIL; dns.google at 8.8.8.8: connecting:
               timed out
07:01:18? deny  192.168.1.1                evil\x1b[2J.example A
                this client's address is in no class
07:01:19 deny  10.20.1.7 (sunmi)          dns
               too many requests from this client; 5000 more until 07:01:29
07:01:20 deny  10.20.1.7 (sunmi)          . NS  no rule names it
07:01:21 policy  refused, 0123456789ab stays in force: policy.yaml:3:60: no such
                 service: "payxpert/emw" (did you mean "payxpert/emv"?) (file)
07:01:22 policy  class pos is observed until 2026-11-22T08:01:22Z: till 4 cannot
                 pay (root, uid 0)
07:01:23 allow 10.20.1.7 (sunmi)          dns.google:443 tls
               row 1 payxpert/emv; to 8.8.8.8
07:01:24 close 10.20.1.7 (sunmi)          dns.google:443 tls
               closed by the client after 5m03s; 2.0 KiB up, 3.0 MiB down
07:01:25 allow 10.20.1.7 (sunmi)          dns.google:443 connect
               row 1 payxpert/emv; 8.8.8.8:443: connection refused
07:01:26 close 10.20.1.7 (sunmi)          evil.example:80 http
               closed by the policy now in force (not-documented) after 812ms; 0
               bytes up, 0 bytes down
07:01:26 close 10.20.1.7 (sunmi)          www.qualcomm.cn:80 http
               closed by the server (connection terminated); 100 bytes up, 20
               bytes down; 3 more until 07:01:28
07:01:26 allow 10.20.1.7 (sunmi)          ntp
               its class has time; its clock is 6m01s slow
07:01:27 deny  10.20.1.7 (sunmi)          :25 tls  not what the port is for
Monday, 23 November 2026
07:01:12 system  7 records were lost
07:01:12 system  stop
`
	got := renderLog(t, display{width: 80})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for line := range strings.Lines(got) {
		if len(line) > 81 {
			t.Errorf("longer than the terminal is wide: %s", line)
		}
	}
}

// Colours change nothing but the colours, and none is left on.
func TestLogColours(t *testing.T) {
	got := renderLog(t, display{width: 80, colour: true})
	for _, want := range []string{
		"\x1b[32mallow\x1b[0m 10.20.1.7",
		"\x1b[31mdeny \x1b[0m 10.20.1.7",
		"\x1b[33mwould-deny\x1b[0m fd00",
		"\x1b[33mallow\x1b[0m 10.20.1.7 (sunmi)          dns.google A",
		"\x1b[31mpolicy\x1b[0m  refused",
		"\x1b[33mallow\x1b[0m 10.20.1.7 (sunmi)          dns.google:443 connect",
		"\x1b[2mclose\x1b[0m 10.20.1.7",
		"\x1b[36msystem\x1b[0m  tillgate",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	plain := got
	for _, c := range []string{red, green, yellow, cyan, faint, bold} {
		plain = strings.ReplaceAll(plain, "\x1b["+c+"m", "")
	}
	plain = strings.ReplaceAll(plain, "\x1b[0m", "")
	if diff := cmp.Diff(renderLog(t, display{width: 80}), plain); diff != "" {
		t.Errorf("without its colours (-want +got):\n%s", diff)
	}
}
