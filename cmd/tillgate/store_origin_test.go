package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/websocket"

	"tillgate/internal/storelab"
)

// listenAt listens at a host of the Internet, at its addresses of both families.
func listenAt(t *testing.T, store *storelab.Store, host string, port uint16) (both []net.Listener) {
	t.Helper()
	a4, a6 := store.Internet.Addr(t, host)
	for _, a := range []netip.Addr{a4, a6} {
		l, err := store.Internet.Listen(t.Context(), "tcp", netip.AddrPortFrom(a, port).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		both = append(both, l)
	}
	return both
}

// serveTCP has each connection to port 443 of a host served by a function. It is closed
// after that, or when the test ends.
func serveTCP(t *testing.T, store *storelab.Store, host string, serve func(net.Conn)) {
	t.Helper()
	var running sync.WaitGroup
	t.Cleanup(running.Wait) // when the listeners are closed
	for _, l := range listenAt(t, store, host, 443) {
		running.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				running.Go(func() {
					defer c.Close()
					defer context.AfterFunc(t.Context(), func() { c.Close() })()
					serve(c)
				})
			}
		})
	}
}

// serveHTTP serves HTTP at a host, at port 80 or with TLS at 443.
func serveHTTP(t *testing.T, store *storelab.Store, host string, port uint16, handler http.Handler) {
	t.Helper()
	server := &http.Server{Handler: handler}
	if port == 443 {
		server.TLSConfig = serverTLS(t, store, host)
	}
	for _, l := range listenAt(t, store, host, port) {
		go func() {
			if port == 443 {
				server.ServeTLS(l, "", "")
			} else {
				server.Serve(l)
			}
		}()
	}
	t.Cleanup(func() { server.Close() })
}

// serverTLS has a certificate for the host.
func serverTLS(t *testing.T, store *storelab.Store, host string) *tls.Config {
	t.Helper()
	certFile, keyFile, err := store.CA.Certificate(host)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// echoSocket says back every message that a WebSocket brings.
var echoSocket = websocket.Handler(func(ws *websocket.Conn) {
	var message string
	for websocket.Message.Receive(ws, &message) == nil && websocket.Message.Send(ws, message) == nil {
	}
})
