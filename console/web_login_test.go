package console

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/policy"
)

// A browser keeps cookies, and believes one certificate.
type browser struct {
	http    http.Client
	cookies []*http.Cookie
}

func newBrowser(t *testing.T, roots *x509.CertPool) *browser {
	b := &browser{http: http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
	t.Cleanup(b.http.CloseIdleConnections)
	return b
}

// send returns the response with its body unread.
func (b *browser) send(t *testing.T, method, url, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	resp, err := b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if set := resp.Cookies(); len(set) > 0 {
		b.cookies = set
	}
	return resp
}

// ask returns a response as its status and its body.
func (b *browser) ask(t *testing.T, method, url, body string, headers ...string) string {
	t.Helper()
	resp := b.send(t, method, url, body, headers...)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(text)))
}

// poolOf believes the certificate in a folder.
func poolOf(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return roots
}

func portOf(a netip.AddrPort) string { return fmt.Sprint(a.Port()) }

// A password opens the other addresses while the box runs, by TLS, and its removal closes them.
func TestWebLogin(t *testing.T) {
	var by string
	state := t.TempDir()
	j := openJournal(t)
	c, at := serveWeb(t, Config{
		Journal: j,
		Observe: func(_ context.Context, r policy.ObserveRequest) (policy.Observation, error) {
			by = r.By
			return policy.Observation{}, nil
		},
		Web: WebConfig{Listen: []string{"0.0.0.0:0"}, State: state},
	})
	if h := c.Health(); len(at) != 0 || h.State.String() != "bad" || h.Text != "not at 0.0.0.0:0: no password is set; set one on the box: tillgate console passwd" {
		t.Fatalf("bound %v; health: %+v", at, h)
	}
	socket := NewClient(c.cfg.Socket)
	reach, err := socket.SetPassword(t.Context(), NewPassword{quick("correct horse").String()})
	if err != nil {
		t.Fatal(err)
	}
	at = c.Addrs()
	port := portOf(at[0])
	if !reach.Password || reach.State != "ok" || fmt.Sprint(reach.URLs) != "[https://*:"+port+"]" {
		t.Errorf("reached by %+v", reach)
	}

	roots := poolOf(t, state)
	b, stranger := newBrowser(t, roots), newBrowser(t, roots)
	url := "https://127.0.0.1:" + port
	resp := b.send(t, "GET", url+"/", "")
	resp.Body.Close()
	sum := sha256.Sum256(resp.TLS.PeerCertificates[0].Raw)
	if got := strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":"); got != reach.Fingerprint || resp.StatusCode != 200 || resp.ProtoMajor != 1 {
		t.Errorf("fingerprint %s, want %s; %s", got, reach.Fingerprint, resp.Status)
	}
	for _, target := range []string{"/v1/status", "/v1/log", "/v1/events", "/v1/firewall", "/v1/nothing"} {
		if got := b.ask(t, "GET", url+target, ""); got != `401 {"error":"log in first"}` {
			t.Errorf("%s without a login: %s", target, got)
		}
	}
	if got := b.ask(t, "POST", url+"/v1/login", `{"password":"correct horse"}`, "Sec-Fetch-Site: cross-site"); !strings.HasPrefix(got, "403 ") {
		t.Errorf("a page from elsewhere logs in: %s", got)
	}
	if got := b.ask(t, "POST", url+"/v1/login", `{"password":"correct horse"}`, "Content-Type: text/plain"); !strings.HasPrefix(got, "415 ") {
		t.Errorf("a form logs in: %s", got)
	}
	if got := b.ask(t, "POST", url+"/v1/login", `{"password":"correct horse"}`); got != `200 {"login":false,"user":"console","may_change":true}` {
		t.Fatal(got)
	}
	if c := b.cookies[0]; c.Name != "__Host-tillgate-"+port || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("the cookie is %+v", c)
	}
	if got := b.ask(t, "POST", url+"/v1/observe", `{"class":"pos","for":"2h","reason":"a test"}`); !strings.HasPrefix(got, "200 ") || by != "console" {
		t.Errorf("%s, by %q", got, by)
	}
	if got := b.ask(t, "POST", url+"/v1/observe", `{"class":"pos","for":"2h","reason":"a test"}`, "Sec-Fetch-Site: cross-site"); !strings.HasPrefix(got, "403 ") {
		t.Errorf("a page from elsewhere changes something: %s", got)
	}
	if got := b.ask(t, "POST", url+"/v1/firewall/records", ""); got != `403 {"error":"that is done on the box itself, with the tillgate command"}` {
		t.Errorf("told records of the firewall by TCP: %s", got)
	}
	if got := b.ask(t, "POST", url+"/v1/console/password", `{"hash":""}`); !strings.HasPrefix(got, "404 ") {
		t.Errorf("a password set by TCP: %s", got)
	}
	if got := stranger.ask(t, "GET", url+"/v1/session", ""); got != `200 {"login":true,"may_change":false}` {
		t.Errorf("another browser: %s", got)
	}
	for host, want := range map[string]string{
		"tillgate.internal:" + port: "200", "127.0.0.1": "200", "localhost:9001": "200",
		"rebind.example:" + port: "421", "192.0.2.1": "421", "tillgate.internal.example": "421",
	} {
		if got := b.ask(t, "GET", url+"/v1/session", "", "Host: "+host); !strings.HasPrefix(got, want) {
			t.Errorf("host %s: %s", host, got)
		}
	}

	stream := b.send(t, "GET", url+"/v1/log?follow=1", "")
	defer stream.Body.Close()
	if got := b.ask(t, "POST", url+"/v1/logout", `{}`); got != `200 {"login":true,"may_change":false}` {
		t.Errorf("logout: %s", got)
	}
	if _, err := io.ReadAll(stream.Body); err == nil {
		t.Error("a stream outlives its session, or looks complete")
	}
	if reach, err = socket.SetPassword(t.Context(), NewPassword{}); err != nil || reach.Password || len(reach.URLs) != 0 || reach.State != "bad" {
		t.Errorf("without a password: %+v, %v", reach, err)
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		conn.Close()
		t.Error("without a password it still listens")
	}
	if reach, err = socket.SetPassword(t.Context(), NewPassword{"secret"}); err == nil {
		t.Errorf("a password that is not hashed: %+v", reach)
	}
}

// Where others can't come, a password keeps the machine's own users out as well.
func TestWebLoginLoopback(t *testing.T) {
	state := t.TempDir()
	if err := writePassword(state, quick("correct horse")); err != nil {
		t.Fatal(err)
	}
	_, at := serveWeb(t, Config{Web: WebConfig{Listen: []string{"127.0.0.1:0"}, State: state}})
	b, url := newBrowser(t, nil), "http://"+at[0].String()
	if got := b.ask(t, "GET", url+"/v1/status", ""); !strings.HasPrefix(got, "401 ") {
		t.Error(got)
	}
	if got := b.ask(t, "POST", url+"/v1/login", `{"password":"correct horse"}`, "Host: localhost:9001"); !strings.HasPrefix(got, "200 ") {
		t.Error(got)
	}
	if c := b.cookies[0]; c.Name != "tillgate-9001" || c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %+v", c)
	}
	if got := b.ask(t, "GET", url+"/v1/status", "", "Host: localhost:9001"); !strings.HasPrefix(got, "200 ") {
		t.Error(got)
	}
	if got := b.ask(t, "GET", url+"/v1/status", "", "Host: localhost:9002"); !strings.HasPrefix(got, "401 ") {
		t.Errorf("logged in at another box: %s", got)
	}
	if _, err := os.Stat(filepath.Join(state, keyFile)); err == nil {
		t.Error("a certificate was made that nobody needs")
	}
}

// Who looks without a password does so no longer than there is none.
func TestWebPasswordEndsLooking(t *testing.T) {
	c, at := serveWeb(t, Config{Journal: openJournal(t), Web: WebConfig{Listen: []string{"127.0.0.1:0"}}})
	b, url := newBrowser(t, nil), "http://"+at[0].String()
	stream := b.send(t, "GET", url+"/v1/log?follow=1", "")
	defer stream.Body.Close()
	if stream.StatusCode != http.StatusOK {
		t.Fatal(stream.Status)
	}
	if _, err := NewClient(c.cfg.Socket).SetPassword(t.Context(), NewPassword{quick("correct horse").String()}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(stream.Body); err == nil {
		t.Error("a stream goes on, or looks complete")
	}
	if got := b.ask(t, "GET", url+"/v1/status", ""); !strings.HasPrefix(got, "401 ") {
		t.Error(got)
	}
}

// One connection more than there may be of the machine's own is closed at once.
func TestWebConnectionsBounded(t *testing.T) {
	_, at := serveWeb(t, Config{Web: WebConfig{Listen: []string{"127.0.0.1:0"}}})
	for range maxLocal {
		conn, err := net.Dial("tcp", at[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", at[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("one too many reads %d bytes, %v", n, err)
	}
}

// pipes is a listener to which a test connects.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8053} }

// Who sends slowly, or nothing, is not waited for.
func TestWebSlowClient(t *testing.T) {
	for name, tt := range map[string]struct {
		sent   string
		within time.Duration
	}{
		"nothing":                  {"", 5 * time.Second},
		"half a head":              {"GET / HTTP/1.1\r\nHost: loc", 5 * time.Second},
		"half a body":              {"POST /v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{", bodyWithin + time.Second},
		"a body that nobody reads": {"GET /v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{", bodyWithin + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := New(Config{Web: WebConfig{Listen: []string{"127.0.0.1:0"}}, Log: quiet})
				s := c.web.sites[0]
				l := make(pipes)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() {
					ended <- serveUntil(ctx, newServer(c.web.guard(s, c.web.handler(s, http.NotFoundHandler())), nil), l)
				}()
				ours, theirs := net.Pipe()
				l <- theirs
				begun := time.Now()
				go io.WriteString(ours, tt.sent)
				for { // until it is closed
					if _, err := ours.Read(make([]byte, 4096)); err != nil {
						break
					}
				}
				if took := time.Since(begun); took > tt.within {
					t.Errorf("closed after %v, want %v", took, tt.within)
				}
				cancel()
				close(l)
				<-ended
			})
		})
	}
}

// A fault of the box's own is told, a stranger's is not.
func TestWebComplaints(t *testing.T) {
	var said bytes.Buffer
	l := log.New(complaints{slog.New(slog.NewTextHandler(&said, nil))}, "", 0)
	l.Print("http: TLS handshake error from 10.20.9.5:40000: EOF")
	if said.Len() > 0 {
		t.Errorf("told: %s", said.String())
	}
	l.Print("http: panic serving 10.20.9.5:40000: nil map")
	if !strings.Contains(said.String(), `level=WARN msg=console said="http: panic serving`) {
		t.Errorf("told: %s", said.String())
	}
}

// The Internet finds nothing to talk to.
func TestWebStrangers(t *testing.T) {
	l := make(pipes, 2)
	door := guardedListener{l, newDoor(nil)}
	far, farPeer := net.Pipe()
	near, nearPeer := net.Pipe()
	defer near.Close()
	l <- from{farPeer, "8.8.8.8:5"}
	l <- from{nearPeer, "10.20.9.5:5"}
	conn, err := door.Accept()
	if err != nil || conn.RemoteAddr().String() != "10.20.9.5:5" {
		t.Errorf("accepted %v, %v", conn.RemoteAddr(), err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a stranger reads %v", err)
	}
	if door.door.total != 1 {
		t.Errorf("%d are inside", door.door.total)
	}
	conn.Close()
	conn.Close() // as net/http may
	if door.door.total != 0 {
		t.Errorf("%d are inside", door.door.total)
	}
}

type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr)) }
