package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tillgate/internal/storelab"
)

// What becomes of a visit that is not served.
const (
	forbidden  = "403"        // by the proxy, to a CONNECT or a request
	alerted    = "alert"      // the TLS alert unrecognized_name
	unresolved = "unresolved" // the box's DNS has no address
	refused    = "refused"    // by the packet filter
)

// A client visits pages one after the other, and tells of each URL what was answered or,
// if nothing was, one of the words above. What else goes wrong it tells as it is.
type client struct {
	name string
	// google is what it tells of dns.google when it was served: unbound has no pages.
	google string
	visit  func(t *testing.T, store *storelab.Store, term *storelab.Terminal, w way, urls []string) map[string]string
}

var clients = []client{
	{"curl", dnsMessage, visitByCurl},
	{"go", dnsMessage, visitByGo},
	{"python", "h2", visitByPython},
}

// dnsMessage is the media type of RFC 8484.
const dnsMessage = "application/dns-message"

func visitByCurl(t *testing.T, store *storelab.Store, term *storelab.Terminal, w way, urls []string) map[string]string {
	t.Helper()
	dir, err := os.MkdirTemp(store.Dir(), "curl-")
	if err != nil {
		t.Fatal(err)
	}
	argv := []string{"curl", "-sS", "--cacert", store.CA.File, "--max-time", "60",
		"--happy-eyeballs-timeout-ms", "60000", // a second connection that says nothing would be an attempt of its own
		"--write-out", `%{http_code}%{http_connect} %{exitcode} %{content_type} %{errormsg}\n`}
	switch {
	case w.proxy.IsValid():
		argv = append(argv, "--proxy", "http://"+w.proxy.String())
	case w.addr.Is6():
		argv = append(argv, "--connect-to", "::["+w.addr.String()+"]:")
	case w.addr.IsValid():
		argv = append(argv, "--connect-to", "::"+w.addr.String()+":")
	}
	if w.doh {
		argv = append(argv, "--doh-url", "https://dns.google/dns-query")
	}
	if w.only != "" {
		argv = append(argv, w.only)
	}
	page := func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
	for i, u := range urls {
		argv = append(argv, "--output", page(i), u)
	}
	out, err := term.Run(t.Context(), argv...)
	var exit *exec.ExitError // that of the last transfer
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(urls) {
		t.Fatalf("curl wrote %d lines for %d pages:\n%s", len(lines), len(urls), out)
	}
	told := make(map[string]string)
	for i, u := range urls {
		f := strings.SplitN(lines[i], " ", 4)
		switch code, exit, content := f[0], f[1], f[2]; {
		case code == "403000" || code == "000403":
			told[u] = forbidden
		case exit == "35" && strings.Contains(lines[i], "unrecognized name"):
			told[u] = alerted
		case exit == "6":
			told[u] = unresolved
		case exit == "7":
			told[u] = refused
		case exit != "0":
			told[u] = lines[i]
		case content == dnsMessage:
			told[u] = dnsMessage
		default:
			text, err := os.ReadFile(page(i))
			if err != nil {
				t.Fatal(err)
			}
			told[u] = string(text)
		}
	}
	return told
}

// goClient is net/http on a terminal, as its programs would have it.
func goClient(store *storelab.Store, term *storelab.Terminal, w way) *http.Client {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return term.Dial(ctx, network, netip.AddrPortFrom(term.Box4, 53).String())
	}}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: store.CA.Pool},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			addr := w.addr
			if w.proxy.IsValid() {
				addr = w.proxy.Addr()
			} else if !addr.IsValid() {
				addrs, err := resolver.LookupNetIP(ctx, "ip", host)
				if err != nil {
					return nil, err
				}
				addr = addrs[0]
			}
			return term.Dial(ctx, network, net.JoinHostPort(addr.Unmap().String(), port))
		},
	}
	if w.proxy.IsValid() {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: w.proxy.String()})
	}
	return &http.Client{Transport: transport}
}

func visitByGo(t *testing.T, store *storelab.Store, term *storelab.Terminal, w way, urls []string) map[string]string {
	t.Helper()
	c := goClient(store, term, w)
	defer c.CloseIdleConnections()
	told := make(map[string]string)
	for _, u := range urls {
		told[u] = fetch(c, u)
	}
	return told
}

// fetch returns what is told of a visit by a Go client.
func fetch(c *http.Client, u string) string {
	resp, err := c.Get(u)
	var dnsErr *net.DNSError
	switch {
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound:
		return unresolved
	case err != nil && strings.HasSuffix(err.Error(), "Forbidden"):
		return forbidden
	case err != nil && strings.HasSuffix(err.Error(), "tls: unrecognized name"):
		return alerted
	case err != nil:
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode == http.StatusForbidden && strings.HasPrefix(resp.Header.Get("Proxy-Status"), "tillgate; error=http_request_denied"):
		return forbidden
	case resp.StatusCode != http.StatusOK:
		return resp.Status
	case resp.Header.Get("Content-Type") == dnsMessage:
		return dnsMessage
	}
	return string(text)
}

// pythonClient prints a line for each URL: what visit tells of it. Like old terminal
// software it speaks HTTP/1.1 by itself, with nothing but the ssl module below.
const pythonClient = `
import socket, ssl, sys

ca, proxy, addr = sys.argv[1:4]
trust = ssl.create_default_context(cafile=ca)

def dial(host, port):
    return socket.create_connection((host, port), 60)

def read(s):
    data = b""
    while True:
        part = s.recv(65536)
        if not part:
            return data
        data += part

def status(answer):
    head = answer.partition(b"\r\n\r\n")[0].decode()
    code = head.split(" ", 2)[1]
    if code == "403" and "\r\nProxy-Status: tillgate; error=http_request_denied; details=\"other-class\"\r\n" not in head:
        return head
    return code

def visit(url):
    scheme, _, host, path = url.split("/", 3)
    port = 443 if scheme == "https:" else 80
    ask = "/" + path
    if proxy:
        box, _, number = proxy.rpartition(":")
        s = dial(box.strip("[]"), int(number))
        if port == 80:
            ask = url
        else:
            s.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                part = s.recv(4096)
                if not part:
                    break
                head += part
            if status(head) != "200":
                return status(head)
    else:
        s = dial(addr or host, port)
    if port == 443:
        trust.set_alpn_protocols(["h2"] if host == "dns.google" else ["http/1.1"])
        s = trust.wrap_socket(s, server_hostname=host)
        if host == "dns.google":
            return s.selected_alpn_protocol()
    s.sendall(f"GET {ask} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = read(s)
    if status(answer) != "200":
        return status(answer)
    return answer.partition(b"\r\n\r\n")[2].decode()

for url in sys.argv[4:]:
    try:
        print(visit(url))
    except socket.gaierror:
        print("unresolved")
    except ssl.SSLError as e:
        print("alert" if e.reason == "TLSV1_UNRECOGNIZED_NAME" else e)
    except OSError as e:
        print(e)
`

func visitByPython(t *testing.T, store *storelab.Store, term *storelab.Terminal, w way, urls []string) map[string]string {
	t.Helper()
	proxy, addr := "", ""
	if w.proxy.IsValid() {
		proxy = w.proxy.String()
	}
	if w.addr.IsValid() {
		addr = w.addr.String()
	}
	out, err := term.Run(t.Context(), append([]string{"python3", "-c", pythonClient, store.CA.File, proxy, addr}, urls...)...)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(urls) {
		t.Fatalf("python wrote %d lines for %d pages:\n%s", len(lines), len(urls), out)
	}
	told := make(map[string]string)
	for i, u := range urls {
		told[u] = lines[i]
	}
	return told
}
