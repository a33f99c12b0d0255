package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestStopBetweenRequests: a connection that waits for its next request is closed.
func TestStopBetweenRequests(t *testing.T) {
	s := newStore(t, noContent)
	v := s.explicit()
	say(t, v, "GET http://check.example/ HTTP/1.1\r\nHost: check.example"+crlf2)
	hear(t, v, "HTTP/1.1 204 No Content"+crlf2)
	s.stop()
	if got := v.rest(); got != "" {
		t.Errorf("%q", got)
	}
}

// TestStopInRequest: a request that has begun may end, and is the last.
func TestStopInRequest(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	s := newStore(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		close(asked)
		<-answer
		io.WriteString(c, "HTTP/1.1 204 No Content"+crlf2)
	})
	v := s.explicit()
	say(t, v, "GET http://check.example/ HTTP/1.1\r\nHost: check.example"+crlf2)
	<-asked
	s.stop()
	close(answer)
	if got := v.rest(); !strings.HasPrefix(got, "HTTP/1.1 204 No Content\r\n") {
		t.Errorf("%q", got)
	}
}

// TestCutInRequest: a cut ends the origin's side too, also where net/http can't notice that
// the client is gone since it has its next request already.
func TestCutInRequest(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan struct{})
	s := newStore(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		close(asked)
		io.Copy(io.Discard, c) // it never answers
		close(gone)
	})
	v := s.explicit()
	get := "GET http://check.example/ HTTP/1.1\r\nHost: check.example" + crlf2
	say(t, v, get+get)
	<-asked
	s.p.registry.mu.Lock()
	for slot := range s.p.registry.slots.members {
		slot.cancel(errStopping)
	}
	s.p.registry.mu.Unlock()
	<-gone
	<-v.done
}

// TestStopBeforeRequest: it is not for the client that it could not say what it wants.
func TestStopBeforeRequest(t *testing.T) {
	for _, tt := range []struct{ name, in, record string }{
		{"a request", "GET http://check", ""},
		{"the first in a tunnel", "CONNECT check.example:80 HTTP/1.1" + crlf2 + "GET ", `connect allow documented "check.example":80`},
	} {
		s := newStore(t, nowhere(t))
		v := s.explicit()
		s.stop()
		say(t, v, tt.in)
		v.CloseWrite()
		io.Copy(io.Discard, v)
		<-v.done
		if got := s.told(); got != tt.record {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
