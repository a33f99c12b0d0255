package storelab

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// A Front is what stands before dns.google in place of itself. The zero Front is as good.
type Front struct {
	Date            func() time.Time // of the answers' Date header; nil: they have none
	Begins, Expires time.Time        // of the certificate; zero: those of every other
	CA              *CA              // that signs it; nil: the store's
}

// front redirects what comes for dns.google to where the front listens, but for what
// it asks itself, which does not come from outside.
const front = `table inet front {
	chain in {
		type nat hook prerouting priority dstnat;
		tcp dport 443 ip daddr { 8.8.8.8, 8.8.4.4 } redirect to :8443
		tcp dport 443 ip6 daddr { 2001:4860:4860::8888, 2001:4860:4860::8844 } redirect to :8443
	}
}`

// Front puts a front before dns.google, in place of one that was there. Unbound, which
// answers behind it, sends no Date header by itself.
func (u *Upstream) Front(t TB, f Front) {
	t.Helper()
	signer := f.CA
	if signer == nil {
		signer = u.ca
	}
	if f.Begins.IsZero() {
		f.Begins, f.Expires = today()
	}
	certFile, keyFile, err := signer.certificate(f.Begins, f.Expires, "dns.google")
	var cert tls.Certificate
	if err == nil {
		cert, err = tls.LoadX509KeyPair(certFile, keyFile)
	}
	if err != nil {
		t.Fatalf("making the front's certificate: %v", err)
	}
	back := &http.Transport{
		DialContext:       u.internet.Dial,
		TLSClientConfig:   &tls.Config{RootCAs: u.ca.Pool, ServerName: "dns.google"},
		ForceAttemptHTTP2: true,
	}
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: google[0].String()})
	pass.Transport = back
	pass.ErrorLog = log.New(io.Discard, "", 0)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			if f.Date != nil {
				w.Header().Set("Date", f.Date().UTC().Format(http.TimeFormat))
			}
			pass.ServeHTTP(w, r)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	u.EndFront()
	l, err := u.internet.Listen(context.Background(), "tcp", ":8443")
	if err == nil {
		_, err = u.internet.Run(context.Background(), "nft", front)
	}
	if err != nil {
		t.Fatalf("putting a front before dns.google: %v", err)
	}
	u.front = server
	t.Cleanup(func() { server.Close(); back.CloseIdleConnections() })
	go server.ServeTLS(l, "", "")
}

// EndFront takes the front away, with the connections that go through it.
func (u *Upstream) EndFront() {
	if u.front == nil {
		return
	}
	u.internet.Run(context.Background(), "nft", "delete table inet front")
	u.front.Close()
	u.front = nil
}
