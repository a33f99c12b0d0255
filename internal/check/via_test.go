package check

import (
	"bufio"
	"context"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var box = netip.MustParseAddr("10.20.1.1")

// serveDNS is the box's DNS: it gives every reply that it is told.
func (in *internet) serveDNS(answer func(q, m *dns.Msg)) {
	in.t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		in.t.Fatal(err)
	}
	started := make(chan struct{})
	srv := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.SetEdns0(udpSize, false)
		answer(q, m)
		w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); srv.ActivateAndServe() }()
	<-started
	in.t.Cleanup(func() { srv.Shutdown(); <-done })
	in.hosts["udp "+box.String()+":53"] = conn.LocalAddr().String()
}

// gives is a reply with an address.
func gives(addr netip.Addr) func(q, m *dns.Msg) {
	return func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: addr.AsSlice()}}
		}
	}
}

// refuses is a reply that says why.
func refuses(rcode int, code uint16, text string) func(q, m *dns.Msg) {
	return func(_, m *dns.Msg) {
		m.Rcode = rcode
		if text != "" {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: code, ExtraText: text}}
		}
	}
}

// proxy has the box's proxy give one answer to everything; a 200 leads to the host.
func (in *internet) proxy(answer string) {
	in.t.Helper()
	in.serve("3128", func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.WriteString(c, answer)
		if r.Method == http.MethodConnect && strings.Contains(answer, " 200 ") {
			to, err := in.dial(context.Background(), "tcp", public.String()+":443")
			if err != nil {
				return
			}
			go func() { io.Copy(to, c); to.Close() }()
			io.Copy(c, to)
		}
	})
	in.hosts["tcp "+box.String()+":3128"] = in.hosts["tcp "+public.String()+":3128"]
}

// TestVia has a box that does well, and ones that say no in every way.
func TestVia(t *testing.T) {
	no := func(fault string) string {
		return "HTTP/1.1 502 No\r\nProxy-Status: tillgate; error=" + fault + "\r\nContent-Length: 0\r\n\r\n"
	}
	const open = "HTTP/1.1 200 Connection established\r\n\r\n"
	for what, tt := range map[string]struct {
		dns    func(q, m *dns.Msg)
		proxy  string
		port   uint16
		fault  Fault
		detail string
	}{
		"good":                {gives(public), open, 443, "", ""},
		"good HTTP":           {gives(public), "HTTP/1.1 204 No Content\r\n\r\n", 80, "", ""},
		"nobody":              {nil, "", 443, NoDNS, "10.20.1.1:53: connection refused"},
		"DNS refuses":         {refuses(dns.RcodeNameError, dns.ExtendedErrorCodeBlocked, "not-documented: no rule names it"), "", 443, Denied, "the box's DNS says NXDOMAIN, Blocked: not-documented: no rule names it"},
		"empty, as refused":   {refuses(dns.RcodeSuccess, dns.ExtendedErrorCodeBlocked, "other-class: x"), "", 443, Denied, "the box's DNS says NOERROR, Blocked: other-class: x"},
		"a stranger":          {refuses(dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, "unknown-client: x"), "", 443, Stranger, "the box's DNS says REFUSED, Prohibited: unknown-client: x"},
		"no such name":        {refuses(dns.RcodeNameError, 0, ""), "", 443, NoName, "the box's DNS says NXDOMAIN"},
		"no address":          {refuses(dns.RcodeSuccess, 0, ""), "", 443, NoName, "the box's DNS has no address for it"},
		"no upstream":         {refuses(dns.RcodeServerFailure, dns.ExtendedErrorCodeNetworkError, "upstream"), "", 443, Unresolved, "the box's DNS says SERVFAIL, Network Error: upstream"},
		"no time":             {refuses(dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady, "time-untrusted"), "", 443, UnknownTime, "the box's DNS says SERVFAIL, Not Ready: time-untrusted"},
		"no proxy":            {gives(public), "", 443, NoProxy, "10.20.1.1:3128: connection refused"},
		"proxy denies":        {gives(public), no(`http_request_denied; details="other-class"`), 443, Denied, "the box's proxy refuses: documented, but not for this class of device (other-class)"},
		"proxy denies HTTP":   {gives(public), no(`http_request_denied; details="port"`), 80, Denied, "the box's proxy refuses: the name is allowed, but not on this port (port)"},
		"host is silent":      {gives(public), no("connection_timeout"), 443, TimedOut, "the box's proxy says: connection timeout"},
		"host refuses":        {gives(public), no("connection_refused"), 443, Refused, "the box's proxy says: connection refused"},
		"box is full":         {gives(public), no(`connection_limit_reached; details="limit"`), 443, Busy, "the box's proxy refuses: a limit of the box is reached (limit)"},
		"leads home":          {gives(public), no(`destination_ip_prohibited; details="private-address"`), 443, PrivateAddr, ""},
		"another's proxy":     {gives(public), "HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", 443, NoProxy, "the proxy answered 407 Who are you"},
		"speaks at once":      {gives(public), open + "hello", 443, BadTLS, "something speaks before it is spoken to"},
		"no proxy but a page": {gives(public), "hello\r\n\r\n", 443, BadHTTP, "it does not speak HTTP"},
	} {
		t.Run(what, func(t *testing.T) {
			in := newInternet(t)
			in.serve("443", in.secure("api.example.test", pkix.Name{CommonName: "Good Root"}, -time.Hour, time.Hour))
			if tt.dns != nil {
				in.serveDNS(tt.dns)
			}
			if tt.proxy != "" {
				in.proxy(tt.proxy)
			}
			results, v := run(t, Via(in.cfg, Gate{Addr: box}), target(tt.port))
			if r := results[0]; r.Fault != tt.fault || tt.detail != "" && r.Detail != tt.detail || r.OK != (tt.fault == "") {
				t.Errorf("%+v", r)
			}
			if v.OK != (tt.fault == "") || (v.Do == "") != v.OK {
				t.Errorf("%+v", v)
			}
		})
	}
}

// serveTime is a time server at an address: it changes the reply as it likes.
func (in *internet) serveTime(addr netip.Addr, asked chan<- netip.Addr, change func(reply []byte) []byte) {
	in.t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		in.t.Fatal(err)
	}
	done := make(chan struct{})
	in.t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		p := make([]byte, 100)
		for {
			n, from, err := conn.ReadFrom(p)
			if err != nil {
				return
			}
			asked <- addr
			conn.WriteTo(change(timeReply(p[:n], time.Now())), from)
		}
	}()
	in.hosts["udp "+netip.AddrPortFrom(addr, ntpPort).String()] = conn.LocalAddr().String()
}

// timeReply is a good answer to a request.
func timeReply(request []byte, now time.Time) []byte {
	reply := slices.Clone(request)
	copy(reply[24:32], request[40:48])
	reply[0], reply[1] = 4<<3|4, 2
	for _, at := range []int{16, 32, 40} {
		binary.BigEndian.PutUint64(reply[at:], uint64(uint32(now.Unix()+unixEpoch))<<32|uint64(now.Nanosecond())<<32/1e9)
	}
	return reply
}

func timeTarget(host string) Target {
	return Target{Host: host, Port: ntpPort, Proto: "udp", Service: "acme/time", Requirement: "conditional"}
}

// TestTime asks servers that have the time, and ones that have not.
func TestTime(t *testing.T) {
	for what, tt := range map[string]struct {
		change func(p []byte) []byte
		fault  Fault
		detail string
	}{
		"good":    {func(p []byte) []byte { return p }, "", ""},
		"unsure":  {func(p []byte) []byte { p[0] |= 3 << 6; return p }, Unsynced, "45.60.1.1:123: it says that it does not know the time"},
		"stratum": {func(p []byte) []byte { p[1] = 16; return p }, Unsynced, "45.60.1.1:123: it says that it does not know the time"},
		"refuses": {func(p []byte) []byte { p[1] = 0; copy(p[12:], "RATE"); return p }, TimeRefused, `45.60.1.1:123: it refuses with "RATE"`},
		"begins":  {func(p []byte) []byte { p[1] = 0; copy(p[12:], "INIT"); return p }, Unsynced, "45.60.1.1:123: it says that it does not know the time"},
		"an hour ahead": {func(p []byte) []byte {
			for _, at := range []int{32, 40} {
				binary.BigEndian.PutUint32(p[at:], binary.BigEndian.Uint32(p[at:])+3600)
			}
			return p
		}, WrongTime, "45.60.1.1:123: its time is 1h0m0s ahead of that of this test"},
	} {
		in := newInternet(t)
		asked := make(chan netip.Addr, 10)
		in.serveTime(public, asked, tt.change)
		results, _ := run(t, Direct(in.cfg, found(public)), timeTarget("a.example"), timeTarget("b.example"))
		for _, r := range results {
			if r.Fault != tt.fault || r.Detail != tt.detail || r.OK != (tt.fault == "") {
				t.Errorf("%s: %+v", what, r)
			}
		}
		if len(asked) != 1 {
			t.Errorf("%s: one server, of two names, was asked %d times", what, len(asked))
		}
	}
	in := newInternet(t)
	results, v := run(t, Direct(in.cfg, found(public)), timeTarget("a.example"), timeTarget("b.example"))
	if results[0].Fault != TimeRefused || !strings.Contains(v.Headline, "udp/123, whatever the host") {
		t.Errorf("%+v, %s", results[0], v.Headline)
	}
}

// TestTimeEras reads stamps on both sides of 2036-02-07, when the seconds begin anew.
func TestTimeEras(t *testing.T) {
	var sent [8]byte
	for _, now := range []time.Time{time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), time.Date(2036, 2, 7, 6, 28, 17, 0, time.UTC), time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)} {
		for _, off := range []time.Duration{0, -90 * time.Minute, 365 * 24 * time.Hour} {
			answer, err := readTime(timeReply(make([]byte, ntpSize), now.Add(off)), sent, now, 0)
			if err != nil || answer.offset != off {
				t.Errorf("%v, off by %v: %v, %v", now, off, answer.offset, err)
			}
		}
	}
}

func FuzzTime(f *testing.F) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	f.Add(timeReply(make([]byte, ntpSize), now))
	f.Add([]byte("\x24\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		answer, err := readTime(p, [8]byte{}, now, time.Second)
		if err == nil && (answer.stratum < 1 || answer.stratum > 15) {
			t.Errorf("stratum %d", answer.stratum)
		}
		if err != nil && !errors.Is(err, errOther) && troubleOf(err).Fault != Unsynced && troubleOf(err).Fault != TimeRefused {
			t.Error(err)
		}
	})
}

func FuzzReply(f *testing.F) {
	for _, reply := range []func(q, m *dns.Msg){gives(public), refuses(dns.RcodeNameError, dns.ExtendedErrorCodeBlocked, "why")} {
		q := new(dns.Msg).SetQuestion("api.example.test.", dns.TypeA)
		m := new(dns.Msg).SetReply(q)
		m.SetEdns0(udpSize, false)
		reply(q, m)
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		addrs, err := addressesOf(m)
		if len(addrs) > maxAddrs || len(addrs) > 0 && err != nil || slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsValid() }) {
			t.Errorf("%v, %v", addrs, err)
		}
	})
}

func FuzzProxyStatus(f *testing.F) {
	f.Add(`tillgate; error=http_request_denied; details="port"`)
	f.Add(`tillgate; error=dns_error`)
	f.Add(`other; error=dns_error`)
	f.Fuzz(func(t *testing.T, field string) {
		err := proxyTrouble(&http.Response{Header: http.Header{"Proxy-Status": {field}}})
		if (err != nil) != strings.HasPrefix(field, "tillgate; error=") {
			t.Errorf("%q: %v", field, err)
		}
		if err != nil && troubleOf(err).Fault.Text() == "" {
			t.Errorf("%q: a fault without a name: %v", field, err)
		}
	})
}

// TestRemedies has words for each fault, and something to do by each way on which it is met.
func TestRemedies(t *testing.T) {
	onlyVia := []Fault{NoDNS, NoProxy, Busy, Stranger, Untold}
	for f, r := range remedies {
		if r.what == "" || r.via == "" || r.direct == "" && !slices.Contains(onlyVia, f) {
			t.Errorf("%s: %+v", f, r)
		}
	}
	known := make(map[Fault]bool)
	for _, f := range proxyFaults {
		known[f] = true
	}
	for f := range known {
		if _, ok := remedies[f]; !ok {
			t.Errorf("no words for %s", f)
		}
	}
}
