package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStoreFaults has hosts that a terminal may have fail in the ways that hosts do, or lead
// to where no terminal may get. The terminal is told, and so is the journal.
func TestStoreFaults(t *testing.T) {
	t.Parallel()
	store := labStore(t, "dark.lab.example", "half.lab.example", "shut.lab.example", "reset.lab.example", "up.lab.example")
	store.Box.Write(t, settingsFile, "dns: {rate: 0}\nproxy: {connect_timeout: 2s}\njournal: {repeat_window: 1s}\n")
	pos, pc := store.Terminal(t, "pos"), store.Terminal(t, "pc")
	up4, _ := store.Internet.Addr(t, "up.lab.example")
	half4, half6 := store.Internet.Addr(t, "half.lab.example")
	dark4, dark6 := store.Internet.Addr(t, "dark.lab.example")
	store.Internet.BlackHole(t, dark4, dark6, half6)
	store.Upstream.Serve(t, fmt.Sprintf(`
inside.lab.example.   300 A 10.20.9.11
inside.lab.example.   300 AAAA fd10:20:9::b
loopback.lab.example. 300 A 127.0.0.1
loopback.lab.example. 300 AAAA ::1
itself.lab.example.   300 A %s
itself.lab.example.   300 AAAA %s
mixed.lab.example.    300 A 10.20.9.11
mixed.lab.example.    300 A %s
printer.lab.example.  300 A %s
`, store.Box.Addr4, store.Box.Addr6, up4, pc.Addr4))
	for _, host := range []string{"half.lab.example", "up.lab.example"} {
		serveTCP(t, store, host, func(c net.Conn) { io.Copy(c, c) })
	}
	serveTCP(t, store, "reset.lab.example", func(c net.Conn) {
		c.Read(make([]byte, 1))
		c.(*net.TCPConn).SetLinger(0)
	})
	printer, err := pc.Listen(t.Context(), "tcp", netip.AddrPortFrom(pc.Addr4, 443).String())
	if err != nil {
		t.Fatal(err)
	}
	defer printer.Close()
	go func() {
		for c, err := printer.Accept(); err == nil; c, err = printer.Accept() {
			io.Copy(c, c)
			c.Close()
		}
	}()
	box := store.Box.Start(t)

	faults := []struct {
		host       string
		connect    string // what becomes of a CONNECT
		redirected string // and of TLS that is redirected
		record     string // of each: verdict, reason and rcode
		ends       string // of each tunnel: where it led to, who ended it and why
	}{
		{"dark", "504 connection_timeout", "reset", "allow local-service connection_timeout", ""},
		{"shut", "502 connection_refused", "reset", "allow local-service connection_refused", ""},
		{"gone", "502 dns_error", "reset", "allow local-service dns_error", ""},
		{"inside", "403 destination_ip_prohibited", alerted, "deny private-address ", ""},
		{"loopback", "403 destination_ip_prohibited", alerted, "deny private-address ", ""},
		{"itself", "403 destination_ip_prohibited", alerted, "deny private-address ", ""},
		{"reset", "reset", "reset", "allow local-service ", "server reset"},
		{"half", echoed, echoed, "allow local-service ", half4.String() + ":443 client "},
		{"mixed", echoed, echoed, "allow local-service ", up4.String() + ":443 client "},
		{"printer", echoed, echoed, "allow local-service ", pc.Addr4.String() + ":443 client "},
	}
	t.Run("hosts", func(t *testing.T) {
		for _, tt := range faults {
			t.Run(tt.host, func(t *testing.T) {
				t.Parallel()
				host := tt.host + ".lab.example"
				hello := helloFor(t, host)
				learn(t, pos, host)
				if got := opening(pos, way{proxy: netip.AddrPortFrom(pos.Box4, 3128)}, host, hello); got != tt.connect {
					t.Errorf("CONNECT to %s: %s, want %s", host, got, tt.connect)
				}
				if got := opening(pos, way{addr: netip.MustParseAddr("23.0.0.7")}, host, hello); got != tt.redirected {
					t.Errorf("redirected to %s: %s, want %s", host, got, tt.redirected)
				}
				var records, ends []string
				waitFor(t, func() bool {
					records, ends = nil, nil
					for _, r := range journal(t, store, "--name", host) {
						switch {
						case r.Plane == "dns":
						case r.Event == "close":
							ends = append(ends, strings.Join([]string{r.Dest, r.By, r.Detail}, " "))
						default:
							records = append(records, strings.Join([]string{r.Plane, r.Verdict, r.Reason, r.Rcode}, " "))
						}
					}
					return len(records) == 2 && (tt.ends == "" || len(ends) == 2)
				})
				if diff := cmp.Diff([]string{"connect " + tt.record, "tls " + tt.record}, records); diff != "" {
					t.Errorf("%s: decisions (-want +got):\n%s", host, diff)
				}
				if tt.ends == "" && len(ends) > 0 || slices.ContainsFunc(ends, func(s string) bool { return !strings.HasSuffix(s, tt.ends) }) {
					t.Errorf("%s: tunnels ended as %q, want %q", host, ends, tt.ends)
				}
			})
		}
	})
	if status := box.Stop(t); status != 0 {
		t.Errorf("the box ended with status %d", status)
	}
}
