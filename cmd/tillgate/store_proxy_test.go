package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/internal/storelab"
)

// serveEcho is an origin that says over TLS what it is told, under all of the names.
func serveEcho(t *testing.T, store *storelab.Store, names ...string) {
	t.Helper()
	certificate, key, err := store.CA.Certificate(names...)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	var listeners []net.Listener
	t.Cleanup(func() {
		for _, l := range listeners {
			l.Close()
		}
		served.Wait()
	})
	for _, name := range names {
		a4, a6 := store.Internet.Addr(t, name)
		for _, addr := range []netip.Addr{a4, a6} {
			l, err := store.Internet.Listen(t.Context(), "tcp", netip.AddrPortFrom(addr, 443).String())
			if err != nil {
				t.Fatal(err)
			}
			listeners = append(listeners, l)
			served.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					served.Go(func() {
						defer c.Close()
						c := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
						io.Copy(c, c)
					})
				}
			})
		}
	}
}

// connect asks the proxy for a tunnel to a name. The connection is nil where it is denied.
func connect(t *testing.T, store *storelab.Store, term *storelab.Terminal, name string) (*tls.Conn, *http.Response) {
	t.Helper()
	c, err := term.Dial(t.Context(), "tcp", netip.AddrPortFrom(term.Box4, 3128).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "CONNECT %s:443 HTTP/1.1\r\nHost: %[1]s:443\r\n\r\n", name)
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, resp
	}
	if n := r.Buffered(); n != 0 {
		t.Fatalf("%d bytes before the client has said anything", n)
	}
	return tls.Client(c, &tls.Config{ServerName: name, RootCAs: store.CA.Pool}), resp
}

// echo says something and hears it.
func echo(t *testing.T, c *tls.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("heard %q, %v", buf, err)
	}
}

// TestStoreObserve lets a class through for a while, and ends that: what was let through
// ends, what is allowed goes on until the box stops.
func TestStoreObserve(t *testing.T) {
	const allowed, denied = "api-pos-default-v4.payxpert.com", "central.payxpert.com"
	store := newStore(t)
	serveEcho(t, store, allowed, denied)
	store.Box.Write(t, "tillgate.yaml", "journal: {repeat_window: 1h}\n") // however slow the machine is
	box := store.Box.Start(t)
	pos := store.Terminal(t, "pos")
	tillgate := func(args ...string) {
		t.Helper()
		if out, err := store.Box.Tillgate(t.Context(), args...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}

	_, resp := connect(t, store, pos, denied)
	if got := resp.Header.Get("Proxy-Status"); resp.StatusCode != http.StatusForbidden || got != `tillgate; error=http_request_denied; details="other-class"` {
		t.Errorf("denied with %s, %s", resp.Status, got)
	}
	stays, resp := connect(t, store, pos, allowed)
	if stays == nil {
		t.Fatalf("%s: %s", allowed, resp.Status)
	}
	echo(t, stays)

	tillgate("observe", "pos", "--for", "1h", "--reason", "till 4 cannot pay")
	ends, resp := connect(t, store, pos, denied)
	if ends == nil {
		t.Fatalf("observed: %s", resp.Status)
	}
	echo(t, ends)
	tillgate("observe", "pos", "--end")
	if _, err := ends.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel goes on after the end")
	}
	echo(t, stays)
	if _, resp := connect(t, store, pos, denied); resp.StatusCode != http.StatusForbidden {
		t.Errorf("after the end: %s", resp.Status)
	}

	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
	if _, err := stays.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel goes on after the box")
	}
	var got []string
	for _, r := range journal(t, store, "--plane", "connect") {
		line := r.Event + " " + r.Verdict + " " + r.Reason + " " + r.Name + " " + r.By
		if r.Event == "close" && (r.Up == 0 || r.Down == 0) {
			line += ", without a byte"
		}
		got = append(got, line)
	}
	want := []string{
		" deny other-class " + denied + " ",
		" allow documented " + allowed + " ",
		" would-deny other-class " + denied + " ",
		"close would-deny other-class " + denied + " policy",
		"close allow documented " + allowed + " stop",
		" deny other-class " + denied + " ", // the repeat, told at the next sync or at the end
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
