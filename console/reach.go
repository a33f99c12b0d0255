package console

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"tillgate/decision"
)

// Addrs are the addresses at which browsers are served now.
func (c *Console) Addrs() (addrs []netip.AddrPort) {
	c.web.mu.Lock()
	defer c.web.mu.Unlock()
	for _, s := range c.web.sites {
		if s.l != nil {
			addrs = append(addrs, s.l.Addr().(*net.TCPAddr).AddrPort())
		}
	}
	return addrs
}

// url is where a browser finds a site that is bound.
func (s *site) url() string {
	addr := s.l.Addr().(*net.TCPAddr).AddrPort()
	at := addr.String()
	if addr.Addr().IsUnspecified() {
		_, port, _ := net.SplitHostPort(at)
		at = "*:" + port // of all addresses, as ss writes it
	}
	if s.secure {
		return "https://" + at
	}
	return "http://" + at
}

// Fingerprint is the SHA-256 of the certificate that is shown now, as browsers show it;
// empty where none is.
func (c *Console) Fingerprint() string {
	c.web.mu.Lock()
	defer c.web.mu.Unlock()
	if c.web.closed != nil || !c.web.beyond() {
		return ""
	}
	return c.web.cert.fingerprint()
}

// Health says where the console is, and why it is not elsewhere.
func (c *Console) Health() decision.Health {
	w := c.web
	w.mu.Lock()
	defer w.mu.Unlock()
	h := decision.Health{Part: "console"}
	if len(w.sites) == 0 {
		h.Text = "turned off: listen.console is empty"
		return h
	}
	var (
		said, closed []string
		shown        bool // the certificate
	)
	worse := func(state decision.State, text string) {
		h.State = max(h.State, state)
		said = append(said, text)
	}
	for _, s := range w.sites {
		switch {
		case s.l != nil:
			said = append(said, s.url())
			shown = shown || s.secure
		case s.trouble != nil:
			worse(decision.Bad, s.trouble.Error()+", which is tried again each minute")
		default:
			closed = append(closed, s.listen)
		}
	}
	ready := w.lock.ready()
	switch {
	case len(closed) > 0:
		worse(decision.Bad, "not at "+strings.Join(closed, ", ")+": "+w.closed.Error())
	case ready != nil && ready != errNoPassword:
		worse(decision.Bad, ready.Error())
	}
	if shown {
		said = append(said, "certificate SHA-256 "+w.cert.fingerprint())
		if w.badCert != nil {
			worse(decision.Warn, "the certificate stays the old one: "+w.badCert.Error())
		} else if text := w.cert.expired(w.now()); text != "" {
			worse(decision.Warn, text)
		}
	}
	h.Text = strings.Join(said, "; ")
	return h
}

// hosts are the names and addresses that the box is called by, for a certificate.
func (w *web) hosts() []string {
	hosts := []string{boxName, "localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	for _, s := range w.sites {
		host, _, _ := net.SplitHostPort(s.listen)
		addr, err := netip.ParseAddr(host)
		if err == nil && !addr.IsUnspecified() {
			hosts = append(hosts, addr.WithZone("").String())
			continue
		}
		local, err := net.InterfaceAddrs()
		if err != nil {
			continue // a name is enough
		}
		for _, l := range local {
			if p, err := netip.ParsePrefix(l.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
				hosts = append(hosts, p.Addr().String())
			}
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
