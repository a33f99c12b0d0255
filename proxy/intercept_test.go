package proxy

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

// sni is a hello for these names.
func sni(names ...string) []byte {
	var entries [][]byte
	for _, n := range names {
		entries = append(entries, hostName(n))
	}
	return handMade(serverName(entries...))
}

func TestIntercept(t *testing.T) {
	const to80 = "8.8.0.9:80"
	real := func(version uint16) []byte {
		return clientHello(t, &tls.Config{ServerName: "api.pay.example", MinVersion: tls.VersionTLS10, MaxVersion: version})
	}
	good, bare := sni("api.pay.example"), handMade()
	const allowed = `tls allow documented "api.pay.example":443 at 8.8.0.1:443`

	s := newSite(t)
	s.tryAll([]flowCase{
		// What is said well.
		{name: "TLS 1.3, post-quantum", says: real(tls.VersionTLS13), heard: tunneled, want: allowed},
		{name: "TLS 1.2", says: real(tls.VersionTLS12), heard: tunneled, want: allowed},
		{name: "TLS 1.1", says: real(tls.VersionTLS11), heard: tunneled, want: allowed},
		{name: "TLS 1.0", says: real(tls.VersionTLS10), heard: tunneled, want: allowed},
		{name: "records of one byte", says: records(message(serverName(hostName("api.pay.example"))), 1), heard: tunneled, want: allowed},
		{name: "GREASE ECH", says: handMade(serverName(hostName("api.pay.example")), greaseECH()), heard: tunneled, want: allowed},
		{name: "upper case", says: sni("API.Pay.Example"), heard: tunneled, want: allowed},
		{name: "early data", says: append(slices.Clone(good), 23, 3, 3, 0, 1, 0), heard: tunneled, want: allowed},
		{name: "another port of a rule", meant: "8.8.0.9:443", says: sni("check.example"), heard: tunneled,
			want: `tls allow documented "check.example":443 at 8.8.0.1:443`},
		{name: "the address that was meant is not believed", meant: "10.0.0.1:443", says: good, heard: tunneled, want: allowed},
		{name: "a private address with a rule", says: sni("printer.example"), heard: tunneled,
			want: `tls allow local-service "printer.example":443 at 10.20.5.7:443`},

		// What the policy denies.
		{name: "another name", says: sni("evil.example"), heard: alerted, want: `tls deny not-documented "evil.example":443`},
		{name: "above a wildcard", says: sni("pay.example"), heard: alerted, want: `tls deny not-documented "pay.example":443`},
		{name: "another class's", says: sni("office.example"), heard: alerted, want: `tls deny other-class "office.example":443`},
		{name: "a deny rule", says: sni("bad.pay.example"), heard: alerted, want: `tls deny denied-by-policy "bad.pay.example":443`},
		{name: "another port", meant: "8.8.0.9:8443", says: good, heard: alerted, want: `tls deny port "api.pay.example":8443`},
		{name: "a stranger", from: fromStranger, says: good, heard: alerted, want: `tls deny unknown-client "api.pay.example":443`},
		{name: "a stranger without SNI", from: fromStranger, says: bare, heard: alerted, want: `tls deny unknown-client "":443`},
		{name: "a stranger who hangs up", from: fromStranger, heard: reset, want: `tls deny unknown-client "":443`},

		// Names that are none.
		{name: "IPv4", says: sni("8.8.8.8"), heard: alerted, want: `tls deny ip-literal "8.8.8.8":443 at 8.8.0.9:443`},
		{name: "decimal", says: sni("134744072"), heard: alerted, want: `tls deny ip-literal "134744072":443 at 8.8.0.9:443`},
		{name: "hex", says: sni("0x08080808"), heard: alerted, want: `tls deny ip-literal "0x08080808":443 at 8.8.0.9:443`},
		{name: "octal", says: sni("010.8.8.8"), heard: alerted, want: `tls deny ip-literal "010.8.8.8":443 at 8.8.0.9:443`},
		{name: "IPv6", says: sni("2001:db8::1"), heard: alerted, want: `tls deny ip-literal "2001:db8::1":443 at 8.8.0.9:443`},
		{name: "IPv6 in brackets", says: sni("[::1]"), heard: alerted, want: `tls deny ip-literal "[::1]":443 at 8.8.0.9:443`},
		{name: "IPv6 with a zone", says: sni("fe80::1%eth0"), heard: alerted, want: `tls deny bad-name "fe80::1%eth0":443 at 8.8.0.9:443`},
		{name: "userinfo", says: sni("api.pay.example@evil.example"), heard: alerted, want: `tls deny bad-name "api.pay.example@evil.example":443 at 8.8.0.9:443`},
		{name: "a port", says: sni("api.pay.example:443"), heard: alerted, want: `tls deny bad-name "api.pay.example:443":443 at 8.8.0.9:443`},
		{name: "NUL", says: sni("api.pay.example\x00.evil.example"), heard: alerted, want: `tls deny bad-name "api.pay.example\x00.evil.example":443 at 8.8.0.9:443`},
		{name: "percent", says: sni("api%2epay.example"), heard: alerted, want: `tls deny bad-name "api%2epay.example":443 at 8.8.0.9:443`},
		{name: "a space", says: sni("api.pay.example "), heard: alerted, want: `tls deny bad-name "api.pay.example ":443 at 8.8.0.9:443`},
		{name: "IDN in UTF-8", says: sni("äpi.pay.example"), heard: alerted, want: `tls deny bad-name "äpi.pay.example":443 at 8.8.0.9:443`},
		{name: "IDN", says: sni("xn--pi-uia.pay.example"), heard: tunneled, want: `tls allow documented "xn--pi-uia.pay.example":443 at 8.8.0.1:443`},
		{name: "a star", says: sni("*.pay.example"), heard: alerted, want: `tls deny bad-name "*.pay.example":443 at 8.8.0.9:443`},
		{name: "two dots", says: sni("api..pay.example"), heard: alerted, want: `tls deny bad-name "api..pay.example":443 at 8.8.0.9:443`},
		{name: "a dot at the end", says: sni("api.pay.example."), heard: alerted, want: `tls deny malformed "":443 at 8.8.0.9:443`},
		{name: "two names", says: sni("api.pay.example", "evil.example"), heard: alerted, want: `tls deny malformed "":443 at 8.8.0.9:443`},
		{name: "no name in SNI", says: sni(""), heard: alerted, want: `tls deny malformed "":443 at 8.8.0.9:443`},
		{name: "no SNI", says: bare, heard: alerted, want: `tls deny no-sni "":443 at 8.8.0.9:443`},

		// What is no hello.
		{name: "SSH", says: []byte("SSH-2.0-OpenSSH_9.6\r\n"), heard: reset, want: `tls deny not-tls "":443 at 8.8.0.9:443`},
		{name: "HTTP on the port of TLS", says: []byte("GET / HTTP/1.1\r\nHost: api.pay.example\r\n\r\n"), heard: reset, want: `tls deny not-tls "":443 at 8.8.0.9:443`},
		{name: "SSL 2", says: []byte{0x80, 46, 1, 3, 1, 0, 21}, heard: reset, want: `tls deny not-tls "":443 at 8.8.0.9:443`},
		{name: "zeros", says: make([]byte, 100), heard: reset, want: `tls deny not-tls "":443 at 8.8.0.9:443`},
		{name: "a record of another version", says: []byte{22, 9, 9, 0, 1, 1}, heard: reset, want: `tls deny not-tls "":443 at 8.8.0.9:443`},
		{name: "an alert", says: alertRecord, heard: reset, want: `tls deny not-tls "":443 at 8.8.0.9:443`},
		{name: "TLS on the port of HTTP", meant: to80, says: sni("check.example"), heard: alerted, want: `tls deny malformed "check.example":80`},
		{name: "a hello that is too large", says: records(message(extension(0xfafa, make([]byte, 20_000)...)), 1<<14), heard: alerted, want: `tls deny malformed "":443 at 8.8.0.9:443`},
		{name: "a hello full of noise", says: append([]byte{22, 3, 1, 0, 40, 1, 0, 0, 36}, make([]byte, 36)...), heard: alerted, want: `tls deny malformed "":443 at 8.8.0.9:443`},
		{name: "TLS on the port of HTTP for another name", meant: to80, says: sni("evil.example"), heard: alerted, want: `tls deny not-documented "evil.example":80`},
		{name: "TLS on the port of HTTP for a name of TLS", meant: to80, says: good, heard: alerted, want: `tls deny port "api.pay.example":80`},
		{name: "TLS on the port of HTTP without a name", meant: to80, says: bare, heard: alerted, want: `tls deny no-sni "":80 at 8.8.0.9:80`},
		{name: "half a hello", says: good[:30], heard: alerted, want: `tls deny no-hello "":443 at 8.8.0.9:443`},
		{name: "nothing", heard: reset, want: `tls deny no-hello "":443 at 8.8.0.9:443`},

		// HTTP goes its own way.
		{name: "HTTP for another name", meant: to80, says: []byte("GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n"),
			heard: "HTTP 403", want: `http deny not-documented "evil.example":80`},

		{name: "HTTP for an address", meant: to80, says: []byte("GET / HTTP/1.1\r\nHost: 8.8.0.9" + crlf2),
			heard: "HTTP 403", want: `http deny ip-literal "8.8.0.9":80`},
		{name: "HTTP in many pieces", meant: to80, says: []byte("GET /" + strings.Repeat("x", 5000) + " HTTP/1.0\r\nHost: evil.example" + crlf2),
			heard: "HTTP 403", want: `http deny not-documented "evil.example":80`},
		{name: "a line without end", meant: to80, says: []byte("GET /" + strings.Repeat("x", maxHead)),
			heard: "HTTP 400", want: `http deny malformed "":80`},
		{name: "SSH on the port of HTTP", meant: to80, says: []byte("SSH-2.0-OpenSSH_9.6\r\n"), heard: reset, want: `http deny not-tls "":80 at 8.8.0.9:80`},
		{name: "FTP", meant: "8.8.0.9:21", says: []byte("USER ftp\r\n"), heard: reset, want: `tls deny not-tls "":21 at 8.8.0.9:21`},
		{name: "bytes on the port of HTTP", meant: to80, says: make([]byte, 100), heard: reset, want: `http deny not-tls "":80 at 8.8.0.9:80`},
		{name: "nothing on the port of HTTP", meant: to80, heard: reset, want: `http deny no-hello "":80 at 8.8.0.9:80`},

		// Where names lead.
		{name: "a private address", says: sni("inside.pay.example"), heard: alerted, want: `tls deny private-address "inside.pay.example":443`},
		{name: "a host that refuses", says: sni("refused.pay.example"), heard: reset,
			want: `tls allow documented "refused.pay.example":443 connection_refused`},
		{name: "no address", says: sni("lost.pay.example"), heard: reset, want: `tls allow documented "lost.pay.example":443 dns_error`},

		// No SNI, where rules say that it may be so.
		{name: "the one name that was given", names: "mqtt.example", says: bare, heard: tunneled,
			want: `tls allow local-service "mqtt.example":443 at 8.8.0.1:443`},
		{name: "the one that may lack SNI", names: "api.pay.example mqtt.example evil.example", says: bare, heard: tunneled,
			want: `tls allow local-service "mqtt.example":443 at 8.8.0.1:443`},
		{name: "two that may", names: "mqtt.example old.example", says: bare, heard: alerted, want: `tls deny no-sni "":443 at 8.8.0.9:443`},
		{name: "one that may not", names: "api.pay.example", says: bare, heard: alerted, want: `tls deny no-sni "":443 at 8.8.0.9:443`},
		{name: "on another port", names: "mqtt.example", meant: "8.8.0.9:8883", says: bare, heard: alerted, want: `tls deny no-sni "":8883 at 8.8.0.9:8883`},
		{name: "SNI that is no name is not left out", names: "mqtt.example", says: sni("8.8.0.9"), heard: alerted,
			want: `tls deny ip-literal "8.8.0.9":443 at 8.8.0.9:443`},
	})
}
