package main

import (
	"crypto/sha256"
	"net/netip"
	"time"
)

// settings are what tillgate.yaml says of the box, each key under the name that
// it has there. What the file does not say has the value of [defaultSettings].
type settings struct {
	Listen   listenSettings
	Upstream upstreamSettings
	DNS      rateSettings
	Cache    cacheSettings
	Time     timeSettings
	Proxy    proxySettings
	Firewall firewallSettings
	Journal  journalSettings

	// direct takes what comes to listen.intercept without being redirected as meant
	// for port 443 or 80. No key: it is for --loopback.
	direct bool

	// hash is of the file as it was read; zero where there is none.
	hash [sha256.Size]byte
}

// listenSettings are addresses as host:port. Without a host it is every address
// of the machine, port 0 is one that the kernel chooses, and an empty list
// turns the listener off.
type listenSettings struct {
	DNS       []string // UDP and TCP
	Proxy     []string // CONNECT, plain HTTP and the PAC file
	Intercept []string // redirected TLS and HTTP
	NTP       []string
	Console   []string // web page, API, metrics
}

// upstreamSettings say whom documented names are resolved at, by RFC 8484.
type upstreamSettings struct {
	URL       string
	Addresses []netip.Addr  // the only ones at which the URL's host is called
	Timeout   time.Duration // of one exchange with all its attempts
}

// rateSettings are a token bucket for each client.
type rateSettings struct {
	Rate  int // a second; 0: no limit
	Burst int // at once
}

type cacheSettings struct {
	Entries int
	Stale   time.Duration // how long past its end an answer serves while the upstream fails; 0: not at all
	Warm    time.Duration // how long after it was asked for a name is kept fresh; 0: not at all
}

type timeSettings struct {
	Servers  []string      // names or addresses; empty: the policy's NTP destinations
	Quorum   int           // servers that must agree
	MaxError time.Duration // above which the box does not serve time
	Rate     int           // answers a second and client; 0: no limit
	Burst    int           // at once
}

type proxySettings struct {
	ConnectTimeout   time.Duration // of a connection to a destination, its look-up with it
	HelloTimeout     time.Duration // until a client has said what it wants
	IdleTimeout      time.Duration // of a tunnel in which nothing moves
	Tunnels          int           // at once
	TunnelsPerClient int
}

type firewallSettings struct {
	Interfaces map[string][]string // by class
	Admin      []netip.Prefix      // networks that may reach the box; none: SSH and the console are open to all but the classes
}

type journalSettings struct {
	Sync         time.Duration // what a power cut loses at most
	Keep         time.Duration // age at which records are deleted
	MaxSize      int64         // bytes; it wins over Keep
	RepeatWindow time.Duration // within which equal decisions are counted
}

func defaultSettings() settings {
	return settings{
		Listen: listenSettings{
			DNS:       []string{":53"},
			Proxy:     []string{":3128"},
			Intercept: []string{":3129"},
			NTP:       []string{":123"},
			Console:   []string{"127.0.0.1:8053"},
		},
		Upstream: upstreamSettings{
			URL: "https://dns.google/dns-query",
			Addresses: []netip.Addr{
				netip.MustParseAddr("8.8.8.8"),
				netip.MustParseAddr("8.8.4.4"),
				netip.MustParseAddr("2001:4860:4860::8888"),
				netip.MustParseAddr("2001:4860:4860::8844"),
			},
			Timeout: 1800 * time.Millisecond,
		},
		DNS:   rateSettings{Rate: 500, Burst: 2000},
		Cache: cacheSettings{Entries: 10_000, Stale: 6 * time.Hour, Warm: 24 * time.Hour},
		Time:  timeSettings{Servers: []string{}, Quorum: 3, MaxError: time.Second, Rate: 1, Burst: 8},
		Proxy: proxySettings{
			ConnectTimeout:   10 * time.Second,
			HelloTimeout:     5 * time.Second,
			IdleTimeout:      time.Hour,
			Tunnels:          4096,
			TunnelsPerClient: 128,
		},
		Firewall: firewallSettings{Interfaces: map[string][]string{}, Admin: []netip.Prefix{}},
		Journal: journalSettings{
			Sync:         5 * time.Second,
			Keep:         400 * day,
			MaxSize:      2 << 30,
			RepeatWindow: 10 * time.Second,
		},
	}
}

const day = 24 * time.Hour

// loopbackListen are the listeners of --loopback: none of them needs rights.
func loopbackListen() listenSettings {
	return listenSettings{
		DNS:       []string{"127.0.0.1:5300"},
		Proxy:     []string{"127.0.0.1:3128"},
		Intercept: []string{"127.0.0.1:3129"},
		NTP:       []string{"127.0.0.1:1230"},
		Console:   []string{"127.0.0.1:8053"},
	}
}
