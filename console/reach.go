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
	var said, closed []string
	for _, s := range w.sites {
		switch {
		case s.l != nil:
			text := s.url()
			if s.secure {
				text += " (certificate SHA-256 " + w.cert.fingerprint() + ")"
			}
			said = append(said, text)
		case s.trouble != nil:
			h.State = decision.Bad
			said = append(said, s.trouble.Error())
		default:
			closed = append(closed, s.listen)
		}
	}
	if len(closed) > 0 {
		h.State = decision.Bad
		said = append(said, "not at "+strings.Join(closed, ", ")+": "+w.closed.Error())
	} else if w.badCert != nil {
		h.State = max(h.State, decision.Warn)
		said = append(said, "the certificate stays the old one: "+w.badCert.Error())
	} else if text := w.cert.expired(w.now()); text != "" {
		h.State = max(h.State, decision.Warn)
		said = append(said, text)
	}
	if err := w.lock.ready(); err != nil && err != errNoPassword && len(closed) == 0 {
		h.State = decision.Bad
		said = append(said, err.Error())
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
