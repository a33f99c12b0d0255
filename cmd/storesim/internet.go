package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"tillgate/internal/storelab"
	"tillgate/policy"
)

// Where the simulated Internet is: dns.google at the addresses that the box has pinned, and one
// web server for all names.
var (
	dohAddrs = []netip.Addr{netip.AddrFrom4([4]byte{8, 8, 8, 8}), netip.AddrFrom4([4]byte{8, 8, 4, 4})}
	webAddr  = netip.AddrFrom4([4]byte{45, 60, 80, 1})
)

// news is what a PC in the back office looks at beside its work.
const news = "news.example"

// An internet is dns.google, a web server behind each documented name, and the documented time
// servers.
type internet struct {
	names   map[string]netip.Addr // by pattern of the document
	servers []*http.Server
	clocks  []net.PacketConn
}

func openInternet(document *policy.Set, ca *storelab.CA) (_ *internet, err error) {
	in := &internet{names: map[string]netip.Addr{news: webAddr, shard: webAddr, simulated: webAddr}}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	web := []string{news, shard, simulated}
	for _, r := range document.Rules() {
		switch {
		case r.Has(policy.TCP, 443):
			in.names[r.Host] = webAddr
			web = append(web, r.Host)
		case r.Has(policy.UDP, 123):
			// Each has an address of its own: they are to agree with each other.
			a := netip.AddrFrom4([4]byte{45, 60, 123, byte(1 + len(in.clocks))})
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 123)))
			if err != nil {
				return nil, err
			}
			in.names[r.Host] = a
			in.clocks = append(in.clocks, c)
			go storelab.AnswerTime(c, 0) // close ends it
		}
	}
	certFile, keyFile, err := ca.Certificate(web...) // dns.google is one of them
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	for _, a := range dohAddrs {
		if err := in.serve(netip.AddrPortFrom(a, 443), certificate, in.resolve); err != nil {
			return nil, err
		}
	}
	if err := in.serve(netip.AddrPortFrom(webAddr, 443), certificate, origin); err != nil {
		return nil, err
	}
	return in, in.serve(netip.AddrPortFrom(webAddr, 80), certificate, origin)
}

// serve serves HTTP, by TLS where the port is that of TLS, until close.
func (in *internet) serve(at netip.AddrPort, certificate tls.Certificate, h http.HandlerFunc) error {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	s := &http.Server{
		Handler:           h,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: 10 * time.Second,
	}
	in.servers = append(in.servers, s)
	if at.Port() == 443 {
		go s.ServeTLS(l, "", "")
	} else {
		go s.Serve(l)
	}
	return nil
}

func (in *internet) close() {
	for _, s := range in.servers {
		s.Close()
	}
	for _, c := range in.clocks {
		c.Close()
	}
}

// find is the address of a name: its own, or of the wildcard above it.
func (in *internet) find(name string) (netip.Addr, bool) {
	a, ok := in.names[name]
	for up := name; !ok && up != ""; {
		_, up, _ = strings.Cut(up, ".")
		a, ok = in.names["*."+up]
	}
	return a, ok
}

// resolve is dns.google: it knows the document's names and no other (RFC 8484).
func (in *internet) resolve(w http.ResponseWriter, r *http.Request) {
	wire, err := io.ReadAll(http.MaxBytesReader(w, r.Body, dns.MaxMsgSize))
	q := new(dns.Msg)
	if err != nil || q.Unpack(wire) != nil || len(q.Question) != 1 {
		http.Error(w, "not a query", http.StatusBadRequest)
		return
	}
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	asked := q.Question[0]
	switch a, ok := in.find(strings.ToLower(strings.TrimSuffix(asked.Name, "."))); {
	case !ok:
		m.Rcode = dns.RcodeNameError
	case asked.Qtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: asked.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: a.AsSlice()}}
	}
	reply, err := m.Pack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/dns-message")
	w.Write(reply)
}

// origin is what every documented name leads to: it takes what it is sent and says something.
func origin(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20))
	io.WriteString(w, strings.Repeat("This is no "+strconv.Quote(r.Host)+", but a simulation of it.\n", 200))
}
