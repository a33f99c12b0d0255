package storelab

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Upstream is dns.google: unbound, which serves DoH at the pinned addresses
// and knows the names of the store's Internet.
type Upstream struct {
	Addrs []netip.Addr

	internet *Internet
	ca       *CA
	front    *http.Server // nil: none
	dir      string
	process  *Process
}

// config makes unbound a resolver of a root zone that lies in a file, so that
// answers look like those of a resolver (RA, TTLs that count down) and nothing
// is asked of anyone else.
const config = `server:
	do-daemonize: no
	username: ""
	chroot: ""
	pidfile: ""
	directory: "%[1]s"
	use-syslog: no
	logfile: ""
	verbosity: 1
	num-threads: 1
	module-config: "iterator"
	qname-minimisation: no
	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	http-endpoint: "/dns-query"
	tls-service-pem: "%[2]s"
	tls-service-key: "%[3]s"
%[4]s
remote-control:
	control-enable: yes
	control-interface: "%[1]s/control"
	control-use-cert: no
auth-zone:
	name: "."
	zonefile: "%[1]s/zone"
	for-downstream: no
	for-upstream: yes
	fallback-enabled: no
`

func newUpstream(in *Internet, ca *CA, dir string) (*Upstream, error) {
	u := &Upstream{Addrs: google, internet: in, ca: ca, dir: dir}
	cert, key, err := ca.Certificate("dns.google", "8.8.8.8", "8.8.4.4")
	if err != nil {
		return nil, err
	}
	var interfaces strings.Builder
	for _, a := range google {
		fmt.Fprintf(&interfaces, "\tinterface: %s@443\n", a)
	}
	err = os.WriteFile(filepath.Join(dir, "unbound.conf"),
		fmt.Appendf(nil, config, dir, cert, key, &interfaces), 0o644)
	if err != nil {
		return nil, err
	}
	return u, u.write("")
}

// write writes the zone: the names of the Internet, and further records.
func (u *Upstream) write(records string) error {
	var zone strings.Builder
	zone.WriteString("$TTL 300\n. SOA dns.google. hostmaster.dns.google. 1 3600 600 86400 60\n. NS dns.google.\n")
	for _, a := range google {
		record(&zone, "dns.google", a)
	}
	for name, a := range u.internet.addrs {
		if name != "dns.google" {
			record(&zone, name, a[0])
			record(&zone, name, a[1])
		}
	}
	zone.WriteString(records)
	return os.WriteFile(filepath.Join(u.dir, "zone"), []byte(zone.String()+"\n"), 0o644)
}

func record(zone *strings.Builder, name string, a netip.Addr) {
	kind := "A"
	if a.Is6() {
		kind = "AAAA"
	}
	fmt.Fprintf(zone, "%s. %s %s\n", name, kind, a)
}

// Serve makes the Internet's DNS hold further records beside the names that the
// store was made with, in place of those of the last call. They are lines of a
// master file (RFC 1035 section 5) with absolute names. CNAMEs in a loop are
// answered with SERVFAIL; a delegation is followed to a host of the lab, and
// where it leads to none the answer takes longer than anyone waits.
func (u *Upstream) Serve(t TB, records string) {
	t.Helper()
	err := u.write(records)
	for _, command := range []string{"auth_zone_reload", "flush_zone"} {
		if err == nil {
			_, err = u.internet.Run(context.Background(), "unbound-control", "-c", filepath.Join(u.dir, "unbound.conf"), command, ".")
		}
	}
	if err != nil {
		t.Fatalf("changing the Internet's DNS: %v", err)
	}
}

// Start starts dns.google, and returns when it answers.
func (u *Upstream) Start(t TB) {
	t.Helper()
	u.process = u.internet.Start(t, "unbound", "-d", "-p", "-c", filepath.Join(u.dir, "unbound.conf"))
	u.process.WaitFor(t, "start of service")
}

// Kill ends dns.google at once: connections are reset, new ones refused.
func (u *Upstream) Kill() { u.process.Kill() }
