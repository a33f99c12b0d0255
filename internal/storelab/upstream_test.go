package storelab

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// doh asks one of dns.google's addresses from the box, and returns the rcode
// and the answers as a master file has them, without TTL and class.
func doh(s *Store, server netip.Addr, name string, qtype uint16) ([]string, error) {
	lines, _, err := dohDated(s, server, name, qtype)
	return lines, err
}

// dohDated is doh, with the answer's Date header.
func dohDated(s *Store, server netip.Addr, name string, qtype uint16) (lines []string, date string, err error) {
	client := &http.Client{Transport: &http.Transport{
		DialContext:       s.Box.Dial,
		TLSClientConfig:   &tls.Config{RootCAs: s.CA.Pool, ServerName: "dns.google"},
		ForceAttemptHTTP2: true,
	}}
	defer client.CloseIdleConnections()
	query, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype).Pack()
	if err != nil {
		return nil, "", err
	}
	url := "https://" + netip.AddrPortFrom(server, 443).String() + "/dns-query"
	resp, err := client.Post(url, "application/dns-message", bytes.NewReader(query))
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, "", err
	}
	var m dns.Msg
	if err := m.Unpack(body); err != nil {
		return nil, "", fmt.Errorf("%s: %w", resp.Status, err)
	}
	lines = []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		f := strings.Fields(rr.String())
		lines = append(lines, strings.Join(append(f[:1], f[3:]...), " "))
	}
	return lines, resp.Header.Get("Date"), nil
}

func TestUpstreamKnowsTheInternet(t *testing.T) {
	s := New(t, Config{Names: []string{"api.eu.sunmi.com", "dns.google", "central.payxpert.com", "api.eu.sunmi.com"}})
	for _, tt := range []struct {
		name  string
		qtype uint16
		want  []string
	}{
		{"api.eu.sunmi.com", dns.TypeA, []string{"NOERROR", "api.eu.sunmi.com. A 45.60.1.1"}},
		{"api.eu.sunmi.com", dns.TypeAAAA, []string{"NOERROR", "api.eu.sunmi.com. AAAA 2a02:26f0:45:61::1"}},
		{"central.payxpert.com", dns.TypeA, []string{"NOERROR", "central.payxpert.com. A 45.60.1.2"}},
		{"api.eu.sunmi.com", dns.TypeHTTPS, []string{"NOERROR"}},
		{"eu.sunmi.com", dns.TypeA, []string{"NOERROR"}},
		{"nowhere.sunmi.com", dns.TypeA, []string{"NXDOMAIN"}},
	} {
		for _, server := range s.Upstream.Addrs {
			got, err := doh(s, server, tt.name, tt.qtype)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s asked of %v (-want +got):\n%s", tt.name, server, diff)
			}
		}
	}
}

func TestUpstreamServesWhatATestNeeds(t *testing.T) {
	s := New(t, Config{Names: []string{"api.eu.sunmi.com"}})
	ask := func(name string) []string {
		t.Helper()
		got, err := doh(s, google[0], name, dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff([]string{"NXDOMAIN"}, ask("alias.example.com")); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	s.Upstream.Serve(t, `
rebind.example.com. 5 A 192.168.1.1
alias.example.com. CNAME further.example.net.
further.example.net. CNAME api.eu.sunmi.com.
loop.example.com. CNAME pool.example.com.
pool.example.com. CNAME loop.example.com.
`)
	for name, want := range map[string][]string{
		"rebind.example.com": {"NOERROR", "rebind.example.com. A 192.168.1.1"},
		"alias.example.com": {"NOERROR", "alias.example.com. CNAME further.example.net.",
			"further.example.net. CNAME api.eu.sunmi.com.", "api.eu.sunmi.com. A 45.60.1.1"},
		"loop.example.com": {"SERVFAIL"},
		"api.eu.sunmi.com": {"NOERROR", "api.eu.sunmi.com. A 45.60.1.1"},
	} {
		if diff := cmp.Diff(want, ask(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	s.Upstream.Serve(t, "rebind.example.com. 5 A 192.168.1.2")
	if diff := cmp.Diff([]string{"NOERROR", "rebind.example.com. A 192.168.1.2"}, ask("rebind.example.com")); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"NXDOMAIN"}, ask("alias.example.com")); diff != "" {
		t.Errorf("after it was taken out (-want +got):\n%s", diff)
	}
}

func TestUpstreamKilledAndStarted(t *testing.T) {
	s := New(t, Config{})
	s.Upstream.Kill()
	if _, err := doh(s, google[0], "dns.google", dns.TypeA); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("killed: %v, want connection refused", err)
	}
	s.Upstream.Start(t)
	got, err := doh(s, google[0], "dns.google", dns.TypeA)
	if err != nil || len(got) != 3 {
		t.Errorf("started again: %q, %v", got, err)
	}
}

// A front answers as dns.google does, and dates its answers; unbound does not.
func TestFront(t *testing.T) {
	const name = "api.eu.sunmi.com"
	s := New(t, Config{Names: []string{name}})
	a4, _ := s.Internet.Addr(t, name)
	want := []string{"NOERROR", name + ". A " + a4.String()}
	for _, tt := range []struct {
		front *Front
		date  string
	}{
		{nil, ""},
		{&Front{}, ""},
		{&Front{Date: func() time.Time { return time.Unix(0, 0) }}, "Thu, 01 Jan 1970 00:00:00 GMT"},
		{nil, ""},
	} {
		if tt.front == nil {
			s.Upstream.EndFront()
		} else {
			s.Upstream.Front(t, *tt.front)
		}
		for _, server := range s.Upstream.Addrs {
			got, date, err := dohDated(s, server, name, dns.TypeA)
			if diff := cmp.Diff(want, got); err != nil || diff != "" || date != tt.date {
				t.Errorf("%v at %v: %v, dated %q (-want +got):\n%s", tt.front, server, err, date, diff)
			}
		}
	}
	s.Upstream.Front(t, Front{Begins: time.Unix(0, 0), Expires: time.Unix(1, 0)})
	if _, err := doh(s, s.Upstream.Addrs[0], name, dns.TypeA); err == nil {
		t.Error("a certificate of 1970 was taken")
	}
}
