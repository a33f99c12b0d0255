package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tillgate/decision"
)

const getCheck = "GET http://check.example/ HTTP/1.1\r\nHost: check.example" + crlf2

// TestExchangeEnds: every request has one decision, and every exchange one end, that tells
// who ended it and why.
func TestExchangeEnds(t *testing.T) {
	const okay = "HTTP/1.1 200 OK\r\nContent-Length: 5" + crlf2 + "hello"
	const post = "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\n"
	const chunked = post + "Transfer-Encoding: chunked" + crlf2 + "5\r\nhello\r\n"
	for _, tt := range []struct{ name, in, origin, answer, end string }{
		{"an answer", getCheck, okay, "200 OK", "by server"},
		{"a body", post + "Content-Length: 5" + crlf2 + "hello", okay, "200 OK", "by server"},
		{"nothing", getCheck, "", "502 Bad Gateway", "by server connection_terminated the answer is cut off"},
		{"half an answer", getCheck, okay[:len(okay)-1], "200 OK", "by server connection_terminated the answer is cut off"},
		{"no HTTP", getCheck, "SSH-2.0-x\r\n", "502 Bad Gateway",
			`by server http_protocol_error net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-x"`},
		{"another protocol", getCheck, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x" + crlf2, "502 Bad Gateway",
			"by server http_protocol_error the origin switches protocols, for which nobody asked"},
		{"no chunks", getCheck, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" + crlf2 + "x\r\n", "200 OK",
			"by server http_protocol_error invalid byte in chunk length"},
		{"a broken body", chunked + "0;x" + crlf2 + getCheck, "", "400 Bad Request", "by client http_request_error a chunk that is none"},
		{"half a body", chunked, "", "", "by client  the client is gone"},
	} {
		heard := make(chan string, 1)
		s := newStore(t, func(c net.Conn) {
			var text strings.Builder
			r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &text)))
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
			if err == nil {
				io.WriteString(c, tt.origin)
			}
			heard <- text.String()
		})
		v := s.explicit()
		say(t, v, tt.in)
		v.CloseWrite() // of which nobody but who has sent half a body hears before the answer
		got := v.rest()
		if status, _, _ := strings.Cut(strings.TrimPrefix(got, "HTTP/1.1 "), "\r\n"); status != tt.answer {
			t.Errorf("%s: %q", tt.name, got)
		}
		if got := s.told(); got != `http allow documented "check.example":80` {
			t.Errorf("%s: %s", tt.name, got)
		}
		if got, want := s.ends(), `http "check.example":80 `+tt.end; got != want {
			t.Errorf("%s: %s, want %s", tt.name, got, want)
		}
		text := <-heard
		if up, down := s.records[1].Up, s.records[1].Down; up != uint64(len(text)) || down != uint64(len(tt.origin)) {
			t.Errorf("%s: %d bytes up, %d down; the origin heard %q", tt.name, up, down, text)
		}
		if stats := s.p.Stats(); stats.Allowed != 1 || stats.Denied != 0 || stats.Up != uint64(len(text)) || stats.Down != uint64(len(tt.origin)) {
			t.Errorf("%s: %+v", tt.name, stats)
		}
		want := s.records[0]
		want.Event, want.Ms = decision.EventClose, 0
		is := s.records[1]
		if is.Ms <= 0 || is.Dest.Addr().String() != "8.8.0.1" {
			t.Errorf("%s: %+v", tt.name, is)
		}
		is.Ms, is.Up, is.Down, is.By, is.Rcode, is.Detail = 0, 0, 0, "", "", ""
		if fmt.Sprint(is) != fmt.Sprint(want) {
			t.Errorf("%s: an end %+v of %+v", tt.name, is, want)
		}
	}
}

// TestExchangeBrokenBody: a body that turns out to have a fault does not reach the origin
// as a whole one, and is not answered as one, also where the origin did not wait for it.
func TestExchangeBrokenBody(t *testing.T) {
	const head = "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nTransfer-Encoding: chunked" + crlf2 + "5\r\nhello\r\n"
	for _, early := range []string{"", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5" + crlf2 + "o"} {
		heard := make(chan string, 1)
		s := newStore(t, func(c net.Conn) {
			io.WriteString(c, early)
			b, _ := io.ReadAll(c)
			heard <- string(b)
		})
		v := s.explicit()
		say(t, v, head)
		hear(t, v, early)
		got := v.ask("0;x" + crlf2 + getCheck)
		if early != "" && got != "" {
			t.Errorf("after the beginning of an answer: %q", got)
		} else if early == "" {
			if status, fault, body := answerOf(t, got); status != "400 Bad Request" || fault != `tillgate; error=http_request_error; details="malformed"` || !strings.Contains(body, "the body of the request is not valid HTTP") {
				t.Error(got)
			}
		}
		if text := <-heard; !strings.HasSuffix(text, crlf2+"5\r\nhello\r\n") {
			t.Errorf("the origin heard %q", text)
		}
		if got := s.told() + ", " + s.ends(); got != `http allow documented "check.example":80, http "check.example":80 by client http_request_error a chunk that is none` {
			t.Error(got)
		}
	}
}

// TestExchangePages: what the client is told is what happened.
func TestExchangePages(t *testing.T) {
	s := newStore(t, nowhere(t))
	a := (&peer{client: till}).attempt(0, "check.example", 80)
	if !s.p.decide(a) {
		t.Fatal("denied")
	}
	for _, tt := range []struct {
		page *page
		want string
	}{
		{a.unreached(&dialError{refused, errNoAddress}), "502 This is let through, but the host could not be reached.\n\nasked:   check.example:80\nwhy:     connection refused\n"},
		{a.unreached(&dialError{timedOut, errNoAddress}), "504 This is let through, but the host could not be reached.\n\nasked:   check.example:80\nwhy:     connection timeout\n"},
		{a.unanswered(tooSlow), "504 This is let through, but the host did not answer in time.\n\nasked:   check.example:80\nwhy:     http response timeout\n"},
		{a.unanswered(cutOff), "502 This is let through, but the host closed the connection without an answer.\n\nasked:   check.example:80\nwhy:     connection terminated\n"},
		{a.unanswered(notHTTP), "502 This is let through, but what the host answered is not valid HTTP.\n\nasked:   check.example:80\nwhy:     http protocol error\n"},
		{a.unanswered(brokenRequest), "400 This is let through, but the body of the request is not valid HTTP.\n\nasked:   check.example:80\nwhy:     http request error\n"},
	} {
		if got := fmt.Sprint(tt.page.status, " ", tt.page.text); !strings.HasPrefix(got, tt.want) {
			t.Errorf("got\n%s\nwant\n%s", got, tt.want)
		}
	}
}

// TestExchangeHalfClosed: a client that has no more to say still hears the answer, however
// long it takes.
func TestExchangeHalfClosed(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
	for _, tt := range []struct{ name, head, body string }{
		{"to be kept alive", "GET %s/ HTTP/1.1\r\nHost: check.example" + crlf2, ""},
		{"to be closed", "GET %s/ HTTP/1.1\r\nHost: check.example\r\nConnection: close" + crlf2, ""},
		{"a body", "POST %s/ HTTP/1.1\r\nHost: check.example\r\nContent-Length: 5" + crlf2, "hello"},
		{"chunks", "POST %s/ HTTP/1.1\r\nHost: check.example\r\nTransfer-Encoding: chunked" + crlf2, "5\r\nhello\r\n0" + crlf2},
		{"HTTP/1.0", "GET %s/ HTTP/1.0\r\nHost: check.example" + crlf2, ""},
		{"the beginning of another", "GET %s/ HTTP/1.1\r\nHost: check.example" + crlf2, "GET"},
	} {
		for _, way := range []string{"explicit", "redirected"} {
			asked, let := make(chan struct{}), make(chan struct{})
			s := newStore(t, func(c net.Conn) {
				in := bufio.NewReader(c)
				if r, err := http.ReadRequest(in); err == nil {
					io.Copy(io.Discard, r.Body)
				}
				close(asked)
				<-let
				io.WriteString(c, answer+"\r\nhe")
				<-let
				io.WriteString(c, "llo")
			})
			v, url := s.explicit(), "http://check.example"
			if way == "redirected" {
				v, url = s.redirected(80), ""
			}
			say(t, v, fmt.Sprintf(tt.head, url)+tt.body)
			v.CloseWrite()
			<-asked
			let <- struct{}{}
			let <- struct{}{}
			got := strings.Replace(v.rest(), "Connection: close\r\n", "", 1)
			if want := answer + "\r\nhello"; got != want && got != strings.Replace(want, "1.1", "1.0", 1) {
				t.Errorf("%s, %s: %q", tt.name, way, got)
			}
			if got := s.ends(); got != `http "check.example":80 by server` {
				t.Errorf("%s, %s: %s", tt.name, way, got)
			}
		}
	}
}

// TestExchangeStill: an exchange in which nobody makes progress ends.
func TestExchangeStill(t *testing.T) {
	for _, tt := range []struct{ name, in, origin, want, end string }{
		{"no answer", getCheck, "", "HTTP/1.1 504 Gateway Timeout\r\n", "by idle http_response_timeout the host is silent"},
		{"no end of the head", getCheck, "HTTP/1.1 200 OK\r\n", "HTTP/1.1 504 Gateway Timeout\r\n", "by idle http_response_timeout the host is silent"},
		{"no end of the body", getCheck, "HTTP/1.1 200 OK\r\nContent-Length: 9" + crlf2 + "hello", "HTTP/1.1 200 OK\r\nContent-Length: 9" + crlf2 + "hello",
			"by idle http_response_timeout the host is silent"},
		{"no body of the request", "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nContent-Length: 9" + crlf2 + "hello", "", "",
			"by idle  the client does not send the rest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, func(c net.Conn) {
				in := bufio.NewReader(c)
				http.ReadRequest(in)
				io.WriteString(c, tt.origin)
				io.Copy(io.Discard, in)
			})
			s.p.http.idle = aWhile
			got := s.explicit().ask(tt.in)
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%q", got)
			}
			if status, fault, ok := strings.Cut(got, "Proxy-Status: "); ok && !strings.HasPrefix(fault, "tillgate; error=http_response_timeout\r\n") {
				t.Errorf("%s %s", status, fault)
			}
			if got, want := s.ends(), `http "check.example":80 `+tt.end; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// TestExchangeUnread: a client that does not read is not waited for.
func TestExchangeUnread(t *testing.T) {
	t.Parallel()
	s := newStore(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000"+crlf2)
		io.Copy(struct{ io.Writer }{c}, endless{})
	})
	s.p.http.idle = aWhile
	v := s.explicit()
	say(t, v, getCheck)
	<-v.done
	if got := s.ends(); got != `http "check.example":80 by idle  the client does not read` {
		t.Error(got)
	}
}

// TestExchangeLong: an exchange may last as long as somebody makes progress, also when all
// of the request has long been read.
func TestExchangeLong(t *testing.T) {
	t.Parallel()
	const steps, step = 8, aWhile / 6
	done := make(chan struct{})
	defer close(done)
	s := newStore(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err != nil {
			t.Error(err)
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"+crlf2)
		tick := time.NewTicker(step)
		defer tick.Stop()
		for range steps {
			select {
			case <-tick.C:
				io.WriteString(c, "1\r\nx\r\n")
			case <-done:
				return
			}
		}
		io.WriteString(c, "0"+crlf2)
	})
	s.p.http.idle = aWhile
	v := s.explicit()
	say(t, v, "POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nContent-Length: 5"+crlf2+"hello")
	hear(t, v, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"+crlf2+strings.Repeat("1\r\nx\r\n", steps)+"0"+crlf2)
	say(t, v, "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example"+crlf2)
	if got := v.rest(); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("%q", got)
	}
}
