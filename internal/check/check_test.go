package check

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// An internet is what a test's connections lead to: a handler for each address and port, on
// the loopback. What is not there refuses.
type internet struct {
	t     *testing.T
	hosts map[string]string // host:port → where it is on the loopback, by its network
	root  *x509.Certificate
	key   *ecdsa.PrivateKey
	cfg   Config
}

// public is what every name leads to.
var public = netip.MustParseAddr("45.60.1.1")

func newInternet(t *testing.T) *internet {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	in := &internet{t: t, hosts: make(map[string]string), key: key}
	in.root = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Good Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, in.root, in.root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	in.cfg = Config{Now: time.Now, Roots: x509.NewCertPool(), Dial: in.dial}
	in.cfg.Roots.AddCert(cert)
	return in
}

func (in *internet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, ok := in.hosts[network+" "+address]
	if !ok {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	if to == "" {
		return nil, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
	}
	return new(net.Dialer).DialContext(ctx, network, to)
}

// serve has a handler at a port of the public address.
func (in *internet) serve(port string, handle func(net.Conn)) {
	in.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		in.t.Fatal(err)
	}
	var serving sync.WaitGroup
	in.t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			serving.Go(func() { handle(c); c.Close() })
		}
	})
	in.hosts["tcp "+public.String()+":"+port] = l.Addr().String()
}

// secure is a server with a certificate for a name, signed by somebody, of these days.
func (in *internet) secure(name string, signer pkix.Name, begins, ends time.Duration) func(net.Conn) {
	in.t.Helper()
	key := in.key
	if signer.CommonName != in.root.Subject.CommonName {
		key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(begins), NotAfter: time.Now().Add(ends)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, &x509.Certificate{Subject: signer}, &key.PublicKey, key)
	if err != nil {
		in.t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return func(c net.Conn) {
		t := tls.Server(c, config)
		if _, err := http.ReadRequest(bufio.NewReader(t)); err == nil {
			io.WriteString(t, "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\nConnection: close\r\n\r\n")
			t.Write(make([]byte, 3_000_000))
		}
	}
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		c.Read(make([]byte, 1024))
		io.WriteString(c, text)
	}
}

// run tests one target and returns its result and the verdict.
func run(t *testing.T, c *Checker, targets ...Target) ([]Result, Verdict) {
	t.Helper()
	var results []Result
	var verdict *Verdict
	err := c.Run(t.Context(), Plan{Class: "pos", Targets: targets}, "", func(l Line) error {
		switch {
		case l.Result != nil:
			results = append(results, *l.Result)
		case l.Verdict != nil:
			verdict = l.Verdict
		}
		return nil
	})
	if err != nil || verdict == nil {
		t.Fatalf("no verdict: %v", err)
	}
	return results, *verdict
}

func target(port uint16) Target {
	return Target{Host: "api.example.test", Port: port, Proto: "tcp", Service: "acme/pay", Requirement: "required"}
}

func found(addrs ...netip.Addr) LookupFunc {
	return func(context.Context, string) ([]netip.Addr, error) { return addrs, nil }
}

// TestDirect meets what may be met at one destination.
func TestDirect(t *testing.T) {
	const day = 24 * time.Hour
	good, evil := pkix.Name{CommonName: "Good Root"}, pkix.Name{CommonName: "Evil Root", Organization: []string{"Evil Ltd"}}
	const name = "api.example.test"
	for what, tt := range map[string]struct {
		port   uint16
		handle func(*internet) func(net.Conn)
		fault  Fault
		stage  Stage
		detail string
		issuer string
	}{
		"good": {443, func(in *internet) func(net.Conn) { return in.secure(name, good, -day, day) }, "", Answered, "", "Good Root"},
		"intercepted": {443, func(in *internet) func(net.Conn) { return in.secure(name, evil, -day, day) },
			Intercepted, Connected, "its certificate is signed by Evil Root (Evil Ltd), which is not trusted", "Evil Root (Evil Ltd)"},
		"intercepted, and old": {443, func(in *internet) func(net.Conn) { return in.secure(name, evil, -3*day, -2*day) },
			Intercepted, Connected, "its certificate is signed by Evil Root (Evil Ltd), which is not trusted", "Evil Root (Evil Ltd)"},
		"old": {443, func(in *internet) func(net.Conn) { return in.secure(name, good, -day, -time.Hour) },
			WrongDate, Connected, "its certificate, signed by Good Root, is valid from ", "Good Root"},
		"another's": {443, func(in *internet) func(net.Conn) { return in.secure("portal.hotel.test", good, -day, day) },
			WrongName, Connected, "its certificate is for portal.hotel.test, signed by Good Root", "Good Root"},
		"a page":   {443, func(*internet) func(net.Conn) { return says("HTTP/1.1 200 OK\r\n\r\n") }, NotTLS, Connected, "it does not speak TLS", ""},
		"hung up":  {443, func(*internet) func(net.Conn) { return func(net.Conn) {} }, Broken, Connected, "", ""},
		"an alert": {443, func(*internet) func(net.Conn) { return says("\x15\x03\x03\x00\x02\x02\x70") }, BadTLS, Connected, "the server ended the handshake: ", ""},
		"refused":  {443, nil, Refused, Resolved, public.String() + ":443: connection refused", ""},
		"HTTP":     {80, func(*internet) func(net.Conn) { return says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") }, "", Answered, "", ""},
		"HTTP, leads on": {80, func(*internet) func(net.Conn) {
			return says("HTTP/1.1 301 Moved\r\nLocation: https://www.example.test/\r\nContent-Length: 0\r\n\r\n")
		}, "", Answered, "", ""},
		"HTTP, leads away": {80, func(*internet) func(net.Conn) {
			return says("HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/login\r\nContent-Length: 0\r\n\r\n")
		}, Portal, Connected, "it leads on to http://10.0.0.1/login", ""},
		"HTTP, wants a login": {80, func(*internet) func(net.Conn) { return says("HTTP/1.1 511 Login\r\nContent-Length: 0\r\n\r\n") },
			Portal, Connected, "it answers that the network wants a login", ""},
		"no HTTP":       {80, func(*internet) func(net.Conn) { return says("SSH-2.0-x\r\n") }, BadHTTP, Connected, "", ""},
		"HTTP, hung up": {80, func(*internet) func(net.Conn) { return says("") }, Broken, Connected, "closed without an answer", ""},
	} {
		t.Run(what, func(t *testing.T) {
			in := newInternet(t)
			if tt.handle != nil {
				in.serve(map[uint16]string{80: "80", 443: "443"}[tt.port], tt.handle(in))
			}
			results, v := run(t, Direct(in.cfg, found(public)), target(tt.port))
			r := results[0]
			if r.Fault != tt.fault || r.Stage != tt.stage || r.OK != (tt.fault == "") || !strings.HasPrefix(r.Detail, tt.detail) || r.Issuer != tt.issuer {
				t.Errorf("%+v", r)
			}
			if v.OK != r.OK || (v.Do == "") != r.OK || strings.Contains(v.Do, "HOST") || strings.Contains(v.Do, "PORT") {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestNames has names that lead nowhere.
func TestNames(t *testing.T) {
	in := newInternet(t)
	private := netip.MustParseAddr("192.168.1.1")
	for what, tt := range map[string]struct {
		lookup LookupFunc
		fault  Fault
	}{
		"told":    {func(context.Context, string) ([]netip.Addr, error) { return nil, &Trouble{NoName, "no"} }, NoName},
		"other":   {func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no") }, Unresolved},
		"nothing": {found(), NoName},
		"private": {found(private), PrivateAddr},
	} {
		results, _ := run(t, Direct(in.cfg, tt.lookup), target(443))
		if r := results[0]; r.Fault != tt.fault || r.Stage != "" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	in.serve("443", in.secure("api.example.test", pkix.Name{CommonName: "Good Root"}, -time.Hour, time.Hour))
	in.hosts["tcp 192.168.1.1:443"] = in.hosts["tcp "+public.String()+":443"]
	may := target(443)
	may.private = true
	if results, _ := run(t, Direct(in.cfg, found(private)), may); !results[0].OK {
		t.Errorf("private, as the rule has it: %+v", results[0])
	}
}

// TestFamilies has a line that has no IPv6: the other counts, and what is wrong with it.
func TestFamilies(t *testing.T) {
	in := newInternet(t)
	six := netip.MustParseAddr("2a02:26f0::1")
	in.hosts["tcp [2a02:26f0::1]:443"] = "" // unreachable
	if results, _ := run(t, Direct(in.cfg, found(six)), target(443)); results[0].Fault != Unreachable {
		t.Errorf("by IPv6 alone: %+v", results[0])
	}
	if results, _ := run(t, Direct(in.cfg, found(six, public)), target(443)); results[0].Fault != Refused {
		t.Errorf("by both: %+v", results[0])
	}
	in.serve("443", in.secure("api.example.test", pkix.Name{CommonName: "Good Root"}, -time.Hour, time.Hour))
	if results, _ := run(t, Direct(in.cfg, found(six, public)), target(443)); !results[0].OK || results[0].Dest.Addr() != public {
		t.Errorf("by IPv4: %+v", results[0])
	}
}

// TestAtOnce counts how many destinations are tried at once, and ends a test in the midst.
func TestAtOnce(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	full := make(chan struct{})
	c := Direct(Config{Now: time.Now}, func(ctx context.Context, _ string) ([]netip.Addr, error) {
		mu.Lock()
		now++
		if most = max(most, now); now == maxAtOnce && ctx.Err() == nil {
			close(full)
		}
		mu.Unlock()
		<-ctx.Done()
		mu.Lock()
		defer mu.Unlock()
		now--
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-full; cancel() }()
	lines := 0
	err := c.Run(ctx, Plan{Targets: make([]Target, 3*maxAtOnce)}, "", func(l Line) error { lines++; return nil })
	if !errors.Is(err, context.Canceled) || most != maxAtOnce || lines == 0 {
		t.Errorf("%v, %d at once, %d lines", err, most, lines)
	}
	failed := errors.New("nobody reads")
	c = Direct(Config{Now: time.Now}, found())
	if err := c.Run(t.Context(), Plan{Targets: make([]Target, 20)}, "", func(l Line) error {
		if l.Result != nil {
			return failed
		}
		return nil
	}); err != failed {
		t.Errorf("the reader's error: %v", err)
	}
}

// TestSpeed measures a download, and refuses what says nothing.
func TestSpeed(t *testing.T) {
	in := newInternet(t)
	in.serve("443", in.secure("api.example.test", pkix.Name{CommonName: "Good Root"}, -time.Hour, time.Hour))
	c := Direct(in.cfg, found(public))
	var s Speed
	c.measure(t.Context(), "https://api.example.test/big", &s)
	if s.Error != "" || s.Bytes != 3_000_000 || s.Bps == 0 {
		t.Errorf("%+v", s)
	}
	for url, want := range map[string]string{
		"http://api.example.test/":       "https://",
		"https://10.0.0.1/":              "names no host",
		"https://user:pw@example.test/":  "user name",
		"https://api.example.test:8443/": "connections are refused",
		"://":                            "is not a URL",
	} {
		s := Speed{}
		if c.measure(t.Context(), url, &s); !strings.Contains(s.Error, want) || s.Bps != 0 {
			t.Errorf("%s: %+v", url, s)
		}
	}
}

func TestLeadsAway(t *testing.T) {
	got := make(map[string]bool)
	for _, to := range []string{"/login", "https://www.gstatic.com/", "//gstatic.com", "http://evilgstatic.com/", "http://10.0.0.1/", "http://[::1", "https://WWW.GSTATIC.COM/"} {
		got[to] = leadsAway("connectivitycheck.gstatic.com", to)
	}
	if diff := cmp.Diff(map[string]bool{"/login": false, "https://www.gstatic.com/": false, "//gstatic.com": false, "http://evilgstatic.com/": true,
		"http://10.0.0.1/": true, "http://[::1": true, "https://WWW.GSTATIC.COM/": false}, got); diff != "" {
		t.Error(diff)
	}
}
