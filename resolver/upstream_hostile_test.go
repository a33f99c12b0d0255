package resolver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"tillgate/internal/clock"
)

// loopback starts a DoH server on a real socket and returns a client of it. A nil
// handler answers; change may spoil the server or the client's configuration.
func loopback(t *testing.T, h http.HandlerFunc, change func(*httptest.Server, *upstreamConfig)) *upstream {
	t.Helper()
	if h == nil {
		h = labAnswer
	}
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	ca := newLabCA(t, "Test Root")
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "dns.test")}}
	cfg := upstreamConfig{
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Timeout:   time.Minute, // nothing here waits for it
		Roots:     ca.pool(),
		Clock:     clock.System(func() time.Time { return start }, time.Time{}),
	}
	if change != nil {
		change(srv, &cfg)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL = "https://dns.test:" + port + "/dns-query"
	u, err := newUpstream(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.close)
	return u
}

// What the server sees, and what the client makes of a good answer.
func TestUpstreamRequest(t *testing.T) {
	var got *http.Request
	var body []byte
	u := loopback(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.Header().Set("Age", "100")
		w.Header().Set("Set-Cookie", "id=1")
		labAnswer(w, r)
	}, nil)
	for range 2 {
		m := mustAsk(t, u)
		if ttl := m.Answer[0].Header().Ttl; ttl != 200 {
			t.Errorf("TTL %d, want 200", ttl)
		}
		var b strings.Builder
		got.Header.Write(&b)
		const want = "Accept: application/dns-message\r\nContent-Length: 128\r\nContent-Type: application/dns-message\r\n"
		if b.String() != want {
			t.Errorf("headers %q, want %q", b.String(), want)
		}
		if got.Method != "POST" || got.Proto != "HTTP/2.0" || got.URL.String() != "/dns-query" || !strings.HasPrefix(got.Host, "dns.test:") {
			t.Errorf("%s %s %s %s", got.Method, got.Proto, got.URL, got.Host)
		}
		if len(body) != 128 || got.TLS.ServerName != "dns.test" {
			t.Errorf("%d octets for %s", len(body), got.TLS.ServerName)
		}
	}
	if got := u.stats(); got.Connections != 1 || got.Exchanges != 2 || got.Failures != 0 || got.RTT <= 0 {
		t.Errorf("stats %+v", got)
	}
}

// A rcode is an answer, for the caller to judge.
func TestUpstreamRcode(t *testing.T) {
	u := loopback(t, func(w http.ResponseWriter, r *http.Request) {
		wire, _ := io.ReadAll(r.Body)
		q := new(dns.Msg)
		if err := q.Unpack(wire); err != nil {
			t.Error(err)
		}
		labReply(w, new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
	}, nil)
	m, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
	if err != nil || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("reply %v, error %v", m, err)
	}
}

func TestUpstreamHostileHTTP(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", dohMediaType)
			w.WriteHeader(code)
		}
	}
	typed := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{contentType}
			io.WriteString(w, body)
		}
	}
	header := func(key, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(key, value)
			labAnswer(w, r)
		}
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		fault   upstreamFault
		want    string // in the error
		health  string // in the words
	}{
		{"too busy", status(429), upstreamBadStatus, "HTTP status 429 Too Many Requests", "the service is in trouble"},
		{"broken inside", status(500), upstreamBadStatus, "HTTP status 500 Internal Server Error", "the service is in trouble"},
		{"misdirected", status(421), upstreamBadStatus, "HTTP status 421 Misdirected Request", "upstream.url in tillgate.yaml is wrong"},
		{"no content", status(204), upstreamBadStatus, "HTTP status 204 No Content", ""},
		{"accepted", status(202), upstreamBadStatus, "HTTP status 202 Accepted", ""},
		{"broken inside, with much to say of it", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, upstreamBadStatus, "HTTP status 500 Internal Server Error", ""},
		{"unknown", status(299), upstreamBadStatus, "HTTP status 299", ""},
		{"captive portal", typed("text/html; charset=utf-8", "<!DOCTYPE html>"), upstreamBadReply, `the content type is "text/html; charset=utf-8"`, "something else than DNS answers there"},
		{"no content type", typed("", "\x00"), upstreamBadReply, `the content type is ""`, ""},
		{"a long content type", typed("x/"+strings.Repeat("y", 1000), ""), upstreamBadReply, strings.Repeat("y", 62) + `"`, ""},
		{"a hostile content type", typed("x/\x85<script>", ""), upstreamBadReply, `the content type is "x/\x85<script>"`, ""},
		{"the JSON API", typed("application/dns-json", "{}"), upstreamBadReply, "content type", ""},
		{"compressed", header("Content-Encoding", "gzip"), upstreamBadReply, `the content encoding is "gzip"`, ""},
		{"empty", typed(dohMediaType, ""), upstreamBadReply, "unpacking", ""},
		{"HTML as DNS", typed(dohMediaType, "<!DOCTYPE html><html><body>Welcome"), upstreamBadReply, "no proper DNS answer", ""},
		{"long, as announced", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "65536")
			typed(dohMediaType, strings.Repeat("x", 65536))(w, r)
		}, upstreamBadReply, "more than 65535 octets", ""},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", dohMediaType)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<12)); err != nil {
					return
				}
			}
		}, upstreamBadReply, "more than 65535 octets", ""},
		{"shorter than announced", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			typed(dohMediaType, "\x00\x00")(w, r)
		}, upstreamBroken, "", "a firewall"},
		{"reset in the headers", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, upstreamBroken, "", ""},
		{"reset in the body", func(w http.ResponseWriter, r *http.Request) {
			typed(dohMediaType, "\x00")(w, r)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, upstreamBroken, "", ""},
		{"headers without end", header("X-Long", strings.Repeat("x", 20<<10)), upstreamBroken, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := loopback(t, tt.handler, nil)
			_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
			var ue *upstreamError
			if !errors.As(err, &ue) || ue.fault != tt.fault || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v of fault %v, want %v with %q in it", err, ue, tt.fault, tt.want)
			}
			if !strings.HasPrefix(err.Error(), "dns.test at 127.0.0.1: ") {
				t.Errorf("error %q does not say who", err)
			}
			if h := u.health(); !strings.Contains(h.Text, tt.health) {
				t.Errorf("health %q, want %q in it", h.Text, tt.health)
			}
		})
	}
}

// A redirect is not followed, not even to the same place.
func TestUpstreamRedirect(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		var asked atomic.Int32
		u := loopback(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) > 1 {
				labAnswer(w, r)
				return
			}
			http.Redirect(w, r, "/dns-query", code)
		}, nil)
		_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
		var status dohStatusError
		if !errors.As(err, &status) || int(status) != code || asked.Load() != 1 {
			t.Errorf("%d: error %v, asked %d times", code, err, asked.Load())
		}
	}
}

// After a 421 the next question goes over another connection (RFC 9110 §15.5.20).
func TestUpstreamMisdirected(t *testing.T) {
	for code, want := range map[int]uint64{421: 2, 503: 1} {
		var asked atomic.Int32
		u := loopback(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 1 {
				w.WriteHeader(code)
				return
			}
			labAnswer(w, r)
		}, nil)
		if _, err := u.exchange(t.Context(), "api.example.test", dns.TypeA); err == nil {
			t.Errorf("%d: no error", code)
		}
		mustAsk(t, u)
		if got := u.stats().Connections; got != want {
			t.Errorf("%d: %d connections, want %d", code, got, want)
		}
	}
}

func TestUpstreamHostileTLS(t *testing.T) {
	at := func(year int) *clock.Clock {
		return clock.System(func() time.Time { return time.Date(year, 5, 1, 7, 1, 0, 0, time.UTC) }, time.Time{})
	}
	for _, tt := range []struct {
		name   string
		change func(*httptest.Server, *upstreamConfig)
		as     any    // what errors.As finds, if anything
		health string // the words after "dns.test at 127.0.0.1: "; a * at the end: and more
	}{
		{"another root", func(s *httptest.Server, c *upstreamConfig) {
			s.TLS.Certificates[0] = newLabCA(t, "Shop\x1b[31m Wi-Fi").issue(t, "dns.test")
		}, new(x509.UnknownAuthorityError), `certificate signed by "Shop\x1b[31m Wi-Fi", not trusted: somebody intercepts TLS; have who runs the firewall leave the box alone`},
		{"a host not fit to print", func(s *httptest.Server, c *upstreamConfig) {
			ca := newLabCA(t, "Test Root")
			c.Roots = ca.pool()
			s.TLS.Certificates[0] = ca.issue(t, "\x1b[31m"+strings.Repeat("x", 1000))
		}, new(x509.HostnameError), `certificate is for "\x1b[31mxxxxx*`},
		{"another host", func(s *httptest.Server, c *upstreamConfig) {
			ca := newLabCA(t, "Test Root")
			c.Roots = ca.pool()
			s.TLS.Certificates[0] = ca.issue(t, "portal.test")
		}, new(x509.HostnameError), `certificate is for "portal.test": a captive portal, or somebody intercepts TLS; log in there, or have it let the box through`},
		{"another root without a name", func(s *httptest.Server, c *upstreamConfig) {
			s.TLS.Certificates[0] = newLabCA(t, "").issue(t, "dns.test")
		}, new(x509.UnknownAuthorityError), `certificate signed by "O=Lab", not trusted: *`},
		{"no host", func(s *httptest.Server, c *upstreamConfig) {
			ca := newLabCA(t, "Test Root")
			c.Roots = ca.pool()
			s.TLS.Certificates[0] = ca.issue(t, "")
		}, new(x509.HostnameError), `certificate is for "old.test": a captive portal, or somebody intercepts TLS; log in there, or have it let the box through`},
		{"a client's", func(s *httptest.Server, c *upstreamConfig) {
			ca := newLabCA(t, "Test Root")
			c.Roots = ca.pool()
			s.TLS.Certificates[0] = ca.issue(t, "dns.test", x509.ExtKeyUsageClientAuth)
		}, new(x509.CertificateInvalidError), "certificate not accepted: *"},
		{"the clock is behind", func(s *httptest.Server, c *upstreamConfig) { c.Clock = at(1970) },
			new(x509.CertificateInvalidError),
			"certificate not valid at the box's time, 1970-05-01 07:01 (only from 1990-01-01 00:00 to 2060-01-01 00:00, UTC): the box's clock is wrong (see the parts time and ntp), or somebody intercepts TLS"},
		{"expired", func(s *httptest.Server, c *upstreamConfig) { c.Clock = at(2061) },
			new(x509.CertificateInvalidError),
			"certificate not valid at the box's time, 2061-05-01 07:01 (only from 1990-01-01 00:00 to 2060-01-01 00:00, UTC): the box's clock is wrong (see the parts time and ntp), or somebody intercepts TLS"},
		{"TLS 1.1", func(s *httptest.Server, c *upstreamConfig) { s.TLS.MaxVersion = tls.VersionTLS11 }, nil,
			"the TLS handshake failed: *"},
		{"HTTP/1.1 only", func(s *httptest.Server, c *upstreamConfig) { s.EnableHTTP2 = false }, nil,
			"the TLS handshake failed: *"},
		{"no ALPN", func(s *httptest.Server, c *upstreamConfig) {
			s.EnableHTTP2 = false
			s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{Certificates: s.TLS.Certificates}, nil
			}
		}, nil, "the TLS handshake failed: it does not speak HTTP/2"},
		{"no TLS", func(s *httptest.Server, c *upstreamConfig) {
			c.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				l := newLabLink()
				io.WriteString(l.server(), "HTTP/1.1 400 Bad Request\r\n\r\n")
				return l.client(), nil
			}
		}, new(tls.RecordHeaderError), "what answers does not speak TLS: a captive portal or a proxy is in between; log in there, or have it let the box through"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := loopback(t, nil, tt.change)
			_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
			var ue *upstreamError
			if !errors.As(err, &ue) || ue.fault != upstreamBadTLS {
				t.Fatalf("error %v, want one of TLS", err)
			}
			if got := err.Error(); len(got) > 300 || strings.ContainsRune(got, '\x1b') {
				t.Errorf("error %q is not fit to print", got)
			}
			if tt.as != nil && !errors.As(err, tt.as) {
				t.Errorf("no %T in error %v", tt.as, err)
			}
			got := strings.TrimPrefix(u.health().Text, "dns.test at 127.0.0.1: ")
			if want, more := strings.CutSuffix(tt.health, "*"); got != want && !(more && strings.HasPrefix(got, want)) {
				t.Errorf("health %q, want %q", got, tt.health)
			}
		})
	}
}

// A server that takes the connection and closes it, and one that is not there.
func TestUpstreamNoServer(t *testing.T) {
	u := loopback(t, nil, func(s *httptest.Server, c *upstreamConfig) {
		c.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			l := newLabLink()
			l.server().Close()
			return l.client(), nil
		}
	})
	_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
	var ue *upstreamError
	if !errors.As(err, &ue) || ue.fault != upstreamBroken || !strings.HasSuffix(err.Error(), "the connection was closed during the TLS handshake") {
		t.Errorf("closed: error %v", err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	u, err = newUpstream(upstreamConfig{
		URL:       "https://dns.test:" + l.Addr().String()[len("127.0.0.1:"):] + "/",
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Timeout:   time.Minute,
		Clock:     labClock(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	if _, err = u.exchange(t.Context(), "api.example.test", dns.TypeA); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: error %v", err)
	}
}

// Answers that begin and do not end take the time of an exchange and no more.
func TestUpstreamStalls(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"headers", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", dohMediaType)
			w.Write([]byte("\x00\x00\x80"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{"body, drop by drop", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", dohMediaType)
			for tick := time.NewTicker(100 * time.Millisecond); ; {
				select {
				case <-tick.C:
					w.Write([]byte{0})
					w.(http.Flusher).Flush()
				case <-r.Context().Done():
					return
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(t)
				n.serve("192.0.2.1", tt.handler)
				u := n.upstream("192.0.2.1")
				start := time.Now()
				_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
				var ue *upstreamError
				if !errors.As(err, &ue) || ue.fault != upstreamNoAnswer || time.Since(start) != labTimeout {
					t.Errorf("error %v after %v", err, time.Since(start))
				}
			})
		})
	}
}
