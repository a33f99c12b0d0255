package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// A way is how a client on a terminal gets to the web. Without a proxy it is redirected.
type way struct {
	name  string
	proxy netip.AddrPort
	// addr is where a redirected client connects to, whatever host it wants; the zero
	// Addr: to where the box's DNS says.
	addr netip.Addr
	// doh has a redirected client look names up at dns.google by itself, and only is -4 or -6,
	// the one family that it uses. Only curl can.
	doh  bool
	only string
}

// ways are how a terminal gets to the web: explicitly, redirected to where the box's DNS
// said, and redirected from an address that the box never gave out, as a terminal that
// resolves elsewhere knows others.
func ways(term *storelab.Terminal) []way {
	return []way{
		{name: "explicit", proxy: netip.AddrPortFrom(term.Box4, 3128)},
		{name: "explicit6", proxy: netip.AddrPortFrom(term.Box6, 3128)},
		{name: "redirected"},
		{name: "elsewhere", addr: netip.MustParseAddr("23.0.0.7")},
		{name: "elsewhere6", addr: netip.MustParseAddr("2600:1400::7")},
	}
}

// plane is that of an attempt by this way.
func (w way) plane(port uint16) string {
	switch {
	case port == 80:
		return "http"
	case w.proxy.IsValid():
		return "connect"
	}
	return "tls"
}

// learn has the box learn where hosts are, however long that takes: without that, a client
// is refused when the upstream does not answer in time.
func learn(t *testing.T, term *storelab.Terminal, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		resolve(t, term, "udp", term.Box4, question(host, dns.TypeA))
		resolve(t, term, "udp", term.Box4, question(host, dns.TypeAAAA))
	}
}

// reach connects a terminal to port 443 of a host, up to where TLS begins: by a CONNECT,
// which must be granted, or to the way's address, from which it is redirected.
func reach(term *storelab.Terminal, w way, host string) (net.Conn, error) {
	to := w.proxy
	if !to.IsValid() {
		to = netip.AddrPortFrom(w.addr, 443)
	}
	c, err := term.Dial(context.Background(), "tcp", to.String())
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(5 * time.Minute)) // longer than any test
	if !w.proxy.IsValid() {
		return c, nil
	}
	if err := demand(c, host+":443"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// demand asks the proxy for a tunnel. The error is a *refusal if it grants none.
func demand(c net.Conn, to string) error {
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", to)
	return granted(c)
}

// reachTLS is reach, with TLS to the host.
func reachTLS(t *testing.T, store *storelab.Store, term *storelab.Terminal, w way, host string) *tls.Conn {
	t.Helper()
	c, err := reach(term, w, host)
	if err != nil {
		t.Fatal(err)
	}
	s := tls.Client(c, &tls.Config{RootCAs: store.CA.Pool, ServerName: host})
	t.Cleanup(func() { s.Close() })
	if err := s.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("%s %s: %v", w.name, host, err)
	}
	return s
}

// helloFor are the first bytes of a client that speaks TLS and wants the host. One that
// wants none says no SNI.
func helloFor(t *testing.T, host string) []byte {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		tls.Client(client, &tls.Config{ServerName: host, InsecureSkipVerify: true}).Handshake()
		client.Close()
	}()
	defer server.Close()
	hello := make([]byte, 16<<10)
	n, err := server.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

// echoed is what opening tells of a tunnel to a host that echoes.
const echoed = "echo"

// opening sends a ClientHello to a host that echoes, and returns what becomes of it: that
// it came back, the answer to the CONNECT, or the way that the connection ended.
func opening(term *storelab.Terminal, w way, host string, hello []byte) string {
	c, err := reach(term, w, host)
	var no *refusal
	if errors.As(err, &no) {
		return no.gist
	}
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	if _, err := c.Write(hello); err != nil {
		return err.Error()
	}
	got := make([]byte, len(hello))
	n, err := io.ReadFull(c, got)
	switch {
	case err == nil && string(got) == string(hello):
		return echoed
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case n == 7 && string(got[:n]) == "\x15\x03\x03\x00\x02\x02\x70":
		return alerted
	}
	return fmt.Sprintf("%x, %v", got[:n], err)
}

// A refusal is an answer to a CONNECT that grants no tunnel: its status and the error type
// of RFC 9209.
type refusal struct{ gist, page string }

func (r *refusal) Error() string { return r.gist + ": " + r.page }

// granted reads the answer to a CONNECT. The error is a *refusal if it is none.
func granted(c net.Conn) error {
	// The server has yet to hear from the client, so there is nothing after the head.
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode == http.StatusOK {
		return err
	}
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	_, fault, _ := strings.Cut(resp.Header.Get("Proxy-Status"), "error=")
	fault, _, _ = strings.Cut(fault, ";")
	return &refusal{fmt.Sprintf("%d %s", resp.StatusCode, fault), string(page)}
}
