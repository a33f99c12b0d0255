package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"tillgate/decision"
)

// throughHTTP is a connection that net/http gets, whatever it begins with.
func (s *store) throughHTTP() *visitor {
	return s.visit(till, func(ctx context.Context, c *peer) {
		h := &httpConn{p: s.p, peer: c, gate: newGate(c.TCPConn, nil)}
		h.serve(ctx)
		h.goOn(ctx)
	})
}

// TestConnectAtOnce: what goes around net/http ends as what goes through it, in all that the
// client hears and the records say.
func TestConnectAtOnce(t *testing.T) {
	hello := string(clientHello(t, &tls.Config{ServerName: "api.pay.example"}))
	says := []string{
		"", "\r\n", "CONNECT", "CONNECT api.pay.example:443 HTTP/1.1\r\n",
		"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example" + crlf2,
		"GET / HTTP/1.1\r\nHost: 10.20.1.1:3128\r\nConnection: close" + crlf2,
		"CONNECT api.pay.example:443 HTTP/1.1\r\nHost: other.example" + crlf2 + hello,
		"CONNECT api.pay.example:443 HTTP/1.1\r\nContent-Length: 5" + crlf2 + hello,
		"CONNECT api.pay.example:443 HTTP/2.0" + crlf2 + hello,
		"CONNECT evil.example:443 HTTP/1.1" + crlf2 + hello,
		hello,
	}
	for _, tt := range connectTargets {
		says = append(says, "CONNECT "+tt.target+" HTTP/1.1"+crlf2)
	}
	for _, name := range []string{"api.pay.example", "lost.pay.example", "slow.pay.example", "inside.example"} {
		for _, fields := range []string{"", "\r\nHost: " + name + ":443", "\r\nExpect: 100-continue\r\nConnection: close", "\r\nProxy-Authorization: Basic eDp5"} {
			for _, version := range []string{" HTTP/1.0", " HTTP/1.1"} {
				for _, early := range []string{"", hello, "SSH-2.0-x\r\n", hello[:9]} {
					says = append(says, "CONNECT "+name+":443"+version+fields+crlf2+early)
				}
			}
		}
	}
	for _, say := range says {
		var went [2]string
		for i := range went {
			s := newStore(t, func(c net.Conn) { io.Copy(c, c) })
			v := s.explicit
			if i == 1 {
				v = s.throughHTTP
			}
			went[i] = s.lifeOf(v(), say)
		}
		if went[0] != went[1] {
			t.Errorf("%.100q went\n%s\nand through net/http\n%s", say, went[0], went[1])
		}
	}
}

var dateField = regexp.MustCompile("Date: [^\r]*\r\n")

// lifeOf is all that comes of a client that says something, and then only listens.
func (s *store) lifeOf(v *visitor, says string) string {
	say(s.t, v, says)
	v.CloseWrite()
	heard, err := io.ReadAll(v) // a denial may be a reset
	v.Close()
	<-v.done
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.records {
		s.records[i].Ms, s.records[i].Dest = 0, netip.AddrPort{} // the origin's port is any
	}
	heard = dateField.ReplaceAll(heard, nil) // of net/http's own answers
	return fmt.Sprintf("%q %v\n%+v\n%+v", heard, err != nil, s.records, s.p.Stats())
}

// TestConnectGone: nobody goes on to dial for a client that has reset its connection, but
// for one that has only no more to say.
func TestConnectGone(t *testing.T) {
	for _, early := range []string{"", "\x16\x03\x01"} {
		dialling := make(chan struct{})
		s := newStore(t, nowhere(t))
		s.p.dialTCP = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			close(dialling)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		v := s.explicit()
		say(t, v, "CONNECT api.pay.example:443 HTTP/1.1"+crlf2+early)
		<-dialling
		v.SetLinger(0)
		v.Close()
		<-v.done
		if got := s.records; len(got) != 1 || got[0].Rcode != "connection_terminated" || !strings.Contains(got[0].Detail, "gone") {
			t.Errorf("after %q: %+v", early, got)
		}
	}
}

// TestConnectKept: the look for a client that is gone leaves nothing behind, whenever the
// connection to the server comes.
func TestConnectKept(t *testing.T) {
	hello := string(clientHello(t, &tls.Config{ServerName: "api.pay.example"}))
	s := newStore(t, func(c net.Conn) { io.Copy(c, c) })
	dial := s.p.dialTCP
	s.p.dialTCP = func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		timer, cancel := context.WithTimeout(ctx, 2*patience)
		defer cancel()
		<-timer.Done()
		return dial(ctx, addr)
	}
	v := s.explicit()
	say(t, v, "CONNECT api.pay.example:443 HTTP/1.1"+crlf2)
	hear(t, v, "HTTP/1.1 200 Connection established"+crlf2)
	say(t, v, hello)
	hear(t, v, hello)
	v.Close()
	<-v.done
	if r := s.records; len(r) != 2 || r[0].Rcode != "" || r[1].Event != decision.EventClose || r[1].By != "client" {
		t.Errorf("%+v", r)
	}
}
