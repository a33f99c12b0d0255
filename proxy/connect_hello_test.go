package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// TestConnectTLS: what the tunnel begins with must be a hello to the host of the CONNECT.
func TestConnectTLS(t *testing.T) {
	alert := string(alertRecord)
	hello := func(name string) string {
		return string(clientHello(t, &tls.Config{ServerName: name, InsecureSkipVerify: true}))
	}
	for _, tt := range []struct {
		name, target, says, heard, record string
	}{
		{"the host", "api.pay.example:443", hello("api.pay.example"), "", `allow documented "api.pay.example":443`},
		{"in other letters", "API.pay.example.:443", hello("Api.Pay.Example"), "", `allow documented "api.pay.example":443`},
		{"by a wildcard", "x.y.pay.example:443", hello("x.y.pay.example"), "", `allow documented "x.y.pay.example":443`},
		{"no SNI where it is optional", "mqtt.example:8883", hello(""), "", `allow local-service "mqtt.example":8883`},
		{"SNI where it is optional", "mqtt.example:8883", hello("mqtt.example"), "", `allow local-service "mqtt.example":8883`},
		{"another SNI where it is optional", "mqtt.example:8883", hello("evil.example"), alert, `deny sni-mismatch "mqtt.example":8883`},
		{"no SNI", "api.pay.example:443", hello(""), alert, `deny no-sni "api.pay.example":443`},
		{"another name", "api.pay.example:443", hello("evil.example"), alert, `deny sni-mismatch "api.pay.example":443`},
		{"another allowed name", "api.pay.example:443", hello("x.pay.example"), alert, `deny sni-mismatch "api.pay.example":443`},
		{"an address", "api.pay.example:443", string(handMade(serverName(hostName("8.8.0.1")))), alert, `deny sni-mismatch "api.pay.example":443`},
		{"a dot at the end", "api.pay.example:443", string(handMade(serverName(hostName("api.pay.example.")))), alert, `deny malformed "api.pay.example":443`},
		{"two names", "api.pay.example:443", string(handMade(serverName(hostName("api.pay.example"), hostName("evil.example")))), alert, `deny malformed "api.pay.example":443`},
		{"NUL", "api.pay.example:443", string(handMade(serverName(hostName("api.pay.example\x00")))), alert, `deny sni-mismatch "api.pay.example":443`},
		{"HTTP", "api.pay.example:443", "GET / HTTP/1.1" + crlf2, "", `deny not-tls "api.pay.example":443`},
		{"SSH", "api.pay.example:443", "SSH-2.0-x\r\n", "", `deny not-tls "api.pay.example":443`},
		{"an alert", "api.pay.example:443", alert, "", `deny not-tls "api.pay.example":443`},
	} {
		for _, waits := range []bool{true, false} {
			got := make(chan string, 1)
			s := newStore(t, func(c net.Conn) {
				b, _ := io.ReadAll(c)
				got <- string(b)
			})
			v := s.explicit()
			const established = "HTTP/1.1 200 Connection established" + crlf2
			head := "CONNECT " + tt.target + " HTTP/1.1" + crlf2
			if waits {
				say(t, v, head)
				hear(t, v, established)
				say(t, v, tt.says)
			} else {
				say(t, v, head+tt.says)
				hear(t, v, established)
			}
			v.CloseWrite()
			heard, _ := io.ReadAll(v) // a denial without an alert may be a reset
			v.Close()
			<-v.done
			if string(heard) != tt.heard {
				t.Errorf("%s: heard %q, want %q", tt.name, heard, tt.heard)
			}
			if told := s.told(); told != "connect "+tt.record {
				t.Errorf("%s: %s, want %s", tt.name, told, tt.record)
			}
			passed := ""
			if strings.HasPrefix(tt.record, "allow") {
				passed = tt.says
			}
			if told := <-got; told != passed {
				t.Errorf("%s: the origin heard %q, want %q", tt.name, told, passed)
			}
		}
	}
}

// TestConnectSilence: who says nothing, or not all of it, is not waited for.
func TestConnectSilence(t *testing.T) {
	hello := string(clientHello(t, &tls.Config{ServerName: "api.pay.example"}))
	for _, tt := range []struct{ name, says, status, record string }{
		{"at all", "", "", `deny no-hello "":0`},
		{"in the request line", "CONNECT api", "", `deny no-hello "":0`},
		{"in the head", "CONNECT api.pay.example:443 HTTP/1.1\r\n", "", `deny no-hello "":0`},
		{"in the tunnel", "CONNECT api.pay.example:443 HTTP/1.1" + crlf2, "HTTP/1.1 200 Connection established" + crlf2, `deny no-hello "api.pay.example":443`},
		{"in the hello", "CONNECT api.pay.example:443 HTTP/1.1" + crlf2 + hello[:100], "HTTP/1.1 200 Connection established" + crlf2, `deny no-hello "api.pay.example":443`},
		{"in the tunnel to HTTP", "CONNECT check.example:80 HTTP/1.1" + crlf2, "HTTP/1.1 200 Connection established" + crlf2, `deny no-hello "check.example":80`},
		{"in its request", "CONNECT check.example:80 HTTP/1.1" + crlf2 + "GET / HT", "HTTP/1.1 200 Connection established" + crlf2, `deny no-hello "check.example":80`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, func(c net.Conn) { io.Copy(io.Discard, c) })
			s.p.cfg.HelloTimeout = aWhile
			v := s.explicit()
			say(t, v, tt.says)
			heard, _ := io.ReadAll(v)
			v.Close()
			<-v.done
			if string(heard) != tt.status {
				t.Errorf("heard %q", heard)
			}
			if got := s.told(); got != "connect "+tt.record {
				t.Errorf("%s, want %s", got, tt.record)
			}
		})
	}
}

// TestConnectOnlyLooked: somebody who connects and goes has asked for nothing.
func TestConnectOnlyLooked(t *testing.T) {
	s := newStore(t, nowhere(t))
	v := s.explicit()
	v.CloseWrite()
	if got := v.rest(); got != "" || s.told() != "" {
		t.Errorf("heard %q, told %s", got, s.told())
	}
}

// TestConnectHalfClosed: a client that has no more to say gets its tunnel all the same, if
// it has said in it what it wants.
func TestConnectHalfClosed(t *testing.T) {
	const established = "HTTP/1.1 200 Connection established" + crlf2
	hello := string(clientHello(t, &tls.Config{ServerName: "api.pay.example"}))
	for _, tt := range []struct{ name, says, heard, told, ends string }{
		{"with a hello", hello, established + "answer", `connect allow documented "api.pay.example":443`, `connect "api.pay.example":443 by client`},
		{"without", "", established, `connect deny no-hello "api.pay.example":443`, ""},
	} {
		dialled, let := make(chan struct{}), make(chan struct{})
		s := newStore(t, func(c net.Conn) {
			if b, _ := io.ReadAll(c); len(b) > 0 {
				io.WriteString(c, "answer")
			}
		})
		dial := s.p.dialTCP
		s.p.dialTCP = func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
			close(dialled)
			<-let
			return dial(ctx, addr)
		}
		v := s.explicit()
		say(t, v, "CONNECT api.pay.example:443 HTTP/1.1"+crlf2+tt.says)
		v.CloseWrite()
		<-dialled
		close(let)
		got, _ := io.ReadAll(v) // a denial may be a reset
		v.Close()
		<-v.done
		if string(got) != tt.heard {
			t.Errorf("%s: %q", tt.name, got)
		}
		if got := s.told(); got != tt.told {
			t.Errorf("%s: %s", tt.name, got)
		}
		if got := s.ends(); got != tt.ends {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
