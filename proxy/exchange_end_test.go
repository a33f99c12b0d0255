package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestExchangeGone: when the client is gone, the origin is let go.
func TestExchangeGone(t *testing.T) {
	for _, tt := range []struct {
		name, in, origin string
		halfClosed       bool
	}{
		{"before the answer", getCheck, "", false},
		{"within it", getCheck, "HTTP/1.1 200 OK\r\nContent-Length: 9" + crlf2 + "hello", false},
		{"when it had said all", getCheck, "", true},
		{"when it had said all, a body too", "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nContent-Length: 5" + crlf2 + "hello", "", true},
	} {
		asked, gone := make(chan struct{}), make(chan struct{})
		s := newStore(t, func(c net.Conn) {
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				io.Copy(io.Discard, r.Body)
			}
			io.WriteString(c, tt.origin)
			close(asked)
			io.Copy(io.Discard, c)
			close(gone)
		})
		v := s.explicit()
		say(t, v, tt.in)
		<-asked
		hear(t, v, tt.origin)
		if tt.halfClosed {
			v.CloseWrite()
		}
		v.SetLinger(0)
		v.Close()
		<-gone
		<-v.done
		if got := s.ends(); got != `http "check.example":80 by client  the client is gone` {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// TestExchangeCutOff: a client that takes the end of the connection for that of the body is
// not told that all went well.
func TestExchangeCutOff(t *testing.T) {
	s := newStore(t, heardBy(make(chan string, 1), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"+crlf2+"5\r\nhello\r\n"))
	v := s.explicit()
	say(t, v, "GET http://check.example/ HTTP/1.0"+crlf2)
	if got, err := io.ReadAll(v); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestExchangePolicyChange: what a new policy denies ends, however far it has come; also
// where the policy only no longer lets the name lead to a private address.
func TestExchangePolicyChange(t *testing.T) {
	for _, tt := range []struct{ name, was, is, reason string }{
		{"the rule is gone", "local/printer, ", "", "other-class"},
		{"the host is denied", "bad.pay.example", "printer.store.example", "denied-by-policy"},
		{"no private address", ", private: true", "", "private-address"},
	} {
		let := make(chan struct{})
		s := newStore(t, func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9"+crlf2+"hello")
			io.Copy(io.Discard, c)
			close(let)
		})
		v := s.explicit()
		say(t, v, "GET http://printer.store.example/ HTTP/1.1\r\nHost: printer.store.example"+crlf2)
		hear(t, v, "HTTP/1.1 200 OK\r\nContent-Length: 9"+crlf2+"hello")
		is := strings.Replace(storePolicy, tt.was, tt.is, 1)
		if is == storePolicy {
			t.Fatal("no change")
		}
		s.enforce(is)
		s.p.PolicyChanged()
		<-let
		io.Copy(io.Discard, v)
		<-v.done
		if got, want := s.ends(), `http "printer.store.example":80 by policy  `+tt.reason; got != want {
			t.Errorf("%s: %s, want %s", tt.name, got, want)
		}
	}
}
