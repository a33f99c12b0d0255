package resolver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/clock"
)

// The lab is an Internet in memory, for tests in a synctest bubble: DoH servers at
// addresses, and links to them that can be cut in the ways that real ones are.

const (
	labURL     = "https://dns.test/dns-query"
	labTimeout = 1800 * time.Millisecond
	// labLead is how far the lab's time, in 2027, is ahead of a bubble's.
	labLead = 27 * 365.25 * 24 * time.Hour
)

// labClock is a clock that is right.
func labClock() *clock.Clock {
	return clock.System(func() time.Time { return time.Now().Add(labLead) }, time.Time{})
}

// A labCA signs the servers' certificates, valid from 1990 to 2060: bubbles are in 2000.
type labCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newLabCA(t testing.TB, name string) *labCA {
	t.Helper()
	ca := &labCA{cert: &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{Organization: []string{"Lab"}, CommonName: name},
		NotBefore:             time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}}
	ca.key = labKey(t)
	der, err := x509.CreateCertificate(rand.Reader, ca.cert, ca.cert, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return ca
}

func labKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *labCA) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.cert)
	return p
}

// issue makes a certificate for name, or for nothing if that is empty.
func (ca *labCA) issue(t testing.TB, name string, usage ...x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	return ca.issueFor(t, name, ca.cert.NotBefore, ca.cert.NotAfter, usage...)
}

// issueFor makes one that is valid for a time.
func (ca *labCA) issueFor(t testing.TB, name string, from, to time.Time, usage ...x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key := labKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "old.test"},
		ExtKeyUsage:  usage,
		NotBefore:    from,
		NotAfter:     to,
	}
	if name != "" {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// labAnswer answers every question with the A record 192.0.9.1, TTL 300.
func labAnswer(w http.ResponseWriter, r *http.Request) {
	wire, err := io.ReadAll(r.Body)
	q := new(dns.Msg)
	if err != nil || q.Unpack(wire) != nil {
		http.Error(w, "bad message", http.StatusBadRequest)
		return
	}
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	m.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
		A:   net.IPv4(192, 0, 9, 1),
	}}
	labReply(w, m)
}

func labReply(w http.ResponseWriter, m *dns.Msg) {
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", dohMediaType)
	w.Write(wire)
}

// labNet is the network.
type labNet struct {
	t  testing.TB
	ca *labCA

	mu    sync.Mutex
	hosts map[string]*labHost // by ip:port
}

// labHost is one server and the way to it.
type labHost struct {
	accept chan net.Conn
	closed chan struct{}

	mu    sync.Mutex
	cert  tls.Certificate
	err   error         // of connecting to it; nil: it works
	lost  bool          // new connections get no answer, not even a refusal
	delay time.Duration // of connecting
	links []*labLink
}

func newLabNet(t testing.TB) *labNet {
	return &labNet{t: t, ca: newLabCA(t, "Test Root"), hosts: make(map[string]*labHost)}
}

// serve puts a DoH server at addr. The returned host is taken down with the test.
func (n *labNet) serve(addr string, h http.HandlerFunc) *labHost {
	host := &labHost{accept: make(chan net.Conn), closed: make(chan struct{}), cert: n.ca.issue(n.t, "dns.test")}
	n.mu.Lock()
	n.hosts[addr+":443"] = host
	n.mu.Unlock()
	srv := &http.Server{
		Handler:   h,
		TLSConfig: &tls.Config{GetCertificate: host.certificate, Time: time.Now},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.ServeTLS(host, "", "")
	}()
	n.t.Cleanup(func() {
		srv.Close()
		host.each(func(l *labLink) { l.cut() })
		<-done
	})
	return host
}

func (n *labNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	h := n.hosts[address]
	n.mu.Unlock()
	if h == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	}
	h.mu.Lock()
	err, lost, delay := h.err, h.lost, h.delay
	h.mu.Unlock()
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	if lost {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l := newLabLink()
	select {
	case h.accept <- l.server():
	case <-h.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	h.mu.Lock()
	h.links = append(h.links, l)
	h.mu.Unlock()
	return l.client(), nil
}

func (h *labHost) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &h.cert, nil
}

// present gives the server another certificate.
func (h *labHost) present(c tls.Certificate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cert = c
}

func (h *labHost) set(err error, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.lost = err, lost
}

func (h *labHost) each(f func(*labLink)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.links {
		f(l)
	}
}

// blackhole drops all packets of the connections that stand.
func (h *labHost) blackhole() { h.each(func(l *labLink) { l.lose() }) }

// Accept, Close and Addr make labHost a net.Listener.
func (h *labHost) Accept() (net.Conn, error) {
	select {
	case c := <-h.accept:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *labHost) Close() error   { close(h.closed); return nil }
func (h *labHost) Addr() net.Addr { return labAddr{} }

// labLink is a TCP connection: two buffered pipes. net.Pipe has no buffers, and two
// TLS ends that both begin by writing would wait for each other.
type labLink struct {
	mu    sync.Mutex
	moved sync.Cond
	lost  bool
	up    labPipe // client to server
	down  labPipe
}

type labPipe struct {
	buf    bytes.Buffer
	closed bool // by the writer: EOF after what is buffered
	broken bool // by the reader
}

func newLabLink() *labLink {
	l := new(labLink)
	l.moved.L = &l.mu
	return l
}

func (l *labLink) client() net.Conn { return &labConn{l, &l.down, &l.up} }
func (l *labLink) server() net.Conn { return &labConn{l, &l.up, &l.down} }

// lose drops what is written from now on, by either end.
func (l *labLink) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
}

// cut ends the connection for both.
func (l *labLink) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up.closed, l.down.closed = true, true
	l.moved.Broadcast()
}

type labConn struct {
	*labLink
	in, out *labPipe
}

func (c *labConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.in.broken:
			return 0, net.ErrClosed
		case c.in.buf.Len() > 0:
			return c.in.buf.Read(p)
		case c.in.closed:
			return 0, io.EOF
		}
		c.moved.Wait()
	}
}

func (c *labConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.closed || c.in.broken {
		return 0, net.ErrClosed
	}
	if !c.lost && !c.out.broken {
		c.out.buf.Write(p)
		c.moved.Broadcast()
	}
	return len(p), nil
}

func (c *labConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.broken = true
	if !c.lost {
		c.out.closed = true
	}
	c.moved.Broadcast()
	return nil
}

func (c *labConn) LocalAddr() net.Addr              { return labAddr{} }
func (c *labConn) RemoteAddr() net.Addr             { return labAddr{} }
func (c *labConn) SetDeadline(time.Time) error      { return nil } // writes never wait, and
func (c *labConn) SetReadDeadline(time.Time) error  { return nil } // nobody here sets one
func (c *labConn) SetWriteDeadline(time.Time) error { return nil } // for reading

type labAddr struct{}

func (labAddr) Network() string { return "tcp" }
func (labAddr) String() string  { return "192.0.2.99:1" }

func labAddress(t testing.TB) *url.URL {
	t.Helper()
	u, err := url.Parse(labURL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// upstream returns a client of the servers at addrs. It is closed with the test, before
// the servers.
func (n *labNet) upstream(addrs ...string) *upstream {
	n.t.Helper()
	return n.upstreamBy(labClock(), addrs...)
}

// upstreamBy is upstream by another clock. time.test is a time server.
func (n *labNet) upstreamBy(c *clock.Clock, addrs ...string) *upstream {
	n.t.Helper()
	cfg := upstreamConfig{URL: labURL, Timeout: labTimeout, Roots: n.ca.pool(), Clock: c, dial: n.dial,
		TimeServer: func(name string) bool { return name == "time.test" }}
	for _, a := range addrs {
		cfg.Addresses = append(cfg.Addresses, netip.MustParseAddr(a))
	}
	u, err := newUpstream(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(u.close)
	return u
}

// mustAsk is an exchange that has to succeed.
func mustAsk(t testing.TB, u *upstream) *dns.Msg {
	t.Helper()
	m, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
	if err != nil {
		t.Fatalf("exchange: %v", err)
	}
	if len(m.Answer) != 1 {
		t.Fatalf("answer: %v", m)
	}
	return m
}
