package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
)

// shard is a name that a documented service leads to, but that is not documented.
const shard = "s-eu.firebaseio.com"

const (
	// sceneEvery is how often a terminal does what it does: so that there is always something
	// new to be seen, and a store on a laptop costs nothing.
	sceneEvery = 12 * time.Second
	// stepWithin bounds each thing that it does.
	stepWithin = 5 * time.Second
)

// Where the box is for its terminals: run --loopback listens there.
const (
	boxDNS       = "127.0.0.1:5300"
	boxProxy     = "127.0.0.1:3128"
	boxIntercept = "127.0.0.1:3129"
	boxNTP       = "127.0.0.1:1230"
)

// A role is a device of the store, and what it does again and again.
type role struct {
	addr  string
	what  string
	scene func(*terminal, context.Context)
}

var cast = []role{
	{"10.20.1.11", "sunmi: pays; what it connects to is redirected to the box", func(t *terminal, ctx context.Context) {
		t.pay(ctx, t.redirected)
		t.get(ctx, t.redirected, "https://api.eu.sunmi.com/")
		t.get(ctx, t.proxied, "http://connectivitycheck.gstatic.com/generate_204")
		t.askTime(ctx, 0)
	}},
	{"10.20.1.12", "sunmi: its clock is five years late", func(t *terminal, ctx context.Context) {
		t.resolve(ctx, "pool.ntp.org")
		t.askTime(ctx, -5*365*24*time.Hour)
	}},
	{"10.20.0.11", "pos: pays, over the box's proxy", func(t *terminal, ctx context.Context) {
		t.pay(ctx, t.proxied)
		t.get(ctx, t.proxied, "https://payxpress-apm.appspot.com/")
	}},
	{"10.20.0.12", "pos: pays, and its apps want what is not documented", func(t *terminal, ctx context.Context) {
		t.pay(ctx, t.proxied)
		t.get(ctx, t.redirected, "https://"+shard+"/")
		t.get(ctx, t.proxied, "https://banner.ads.example/")
	}},
	{"10.20.9.21", "pc: the back office, which is observed and reads the news", func(t *terminal, ctx context.Context) {
		t.get(ctx, t.proxied, "https://central.payxpert.com/")
		t.get(ctx, t.proxied, "https://"+news+"/")
	}},
	{"10.20.66.6", "a phone that nobody knows, and is curious", func(t *terminal, ctx context.Context) {
		t.resolve(ctx, "videos.example")
		t.get(ctx, t.redirected, "https://cloudflare-dns.com/")
	}},
}

// A terminal is a client like any other: it has its DNS, its web and its time of the box.
type terminal struct {
	role
	ip                  net.IP
	proxied, redirected *http.Transport
}

func newTerminals(ca *storelab.CA) (list []*terminal) {
	for _, r := range cast {
		ip := net.ParseIP(r.addr)
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
		list = append(list, &terminal{
			role: r,
			ip:   ip,
			proxied: &http.Transport{
				DisableKeepAlives: true,
				Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: boxProxy}),
				DialContext:       d.DialContext,
				TLSClientConfig:   &tls.Config{RootCAs: ca.Pool},
			},
			redirected: &http.Transport{
				DisableKeepAlives: true,
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return d.DialContext(ctx, network, boxIntercept)
				},
				TLSClientConfig: &tls.Config{RootCAs: ca.Pool},
			},
		})
	}
	return list
}

// live plays the terminal's scene until ctx is done.
func (t *terminal) live(ctx context.Context) {
	tick := time.NewTicker(sceneEvery)
	defer tick.Stop()
	for {
		t.scene(t, ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pay is what a till does for a customer, by one of its ways.
func (t *terminal) pay(ctx context.Context, way *http.Transport) {
	for _, name := range []string{"api-pos-default-v4.payxpert.com", "connect2.payxpert.com"} {
		t.resolve(ctx, name)
		t.get(ctx, way, "https://"+name+"/")
	}
}

// What a terminal is told, and whether it likes that, is in the box's records, and nobody here
// needs it: so the steps below return nothing.

// resolve asks the box for a name.
func (t *terminal) resolve(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, stepWithin)
	defer cancel()
	c := dns.Client{Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: t.ip}, Timeout: stepWithin}}
	c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), boxDNS)
}

// get sends something to a host, and reads what it says.
func (t *terminal) get(ctx context.Context, way *http.Transport, url string) {
	ctx, cancel := context.WithTimeout(ctx, stepWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("SIMULATED"))
	if err != nil {
		return
	}
	reply, err := way.RoundTrip(r)
	if err != nil {
		return
	}
	io.Copy(io.Discard, reply.Body)
	reply.Body.Close()
}

// askTime asks the box what time it is, and tells it what this terminal's clock shows (RFC
// 5905 section 7.3: the transmit timestamp).
func (t *terminal) askTime(ctx context.Context, off time.Duration) {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: t.ip}, Timeout: stepWithin}
	c, err := d.DialContext(ctx, "udp", boxNTP)
	if err != nil {
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	c.SetDeadline(time.Now().Add(stepWithin))
	packet := make([]byte, 48)
	packet[0] = 4<<3 | 3 // version 4, a client
	binary.BigEndian.PutUint64(packet[40:], storelab.NTPTime(time.Now().Add(off)))
	if _, err := c.Write(packet); err != nil {
		return
	}
	c.Read(packet)
}
