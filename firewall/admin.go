package firewall

import "fmt"

// The box is its admins' to reach, whoever else is kept out: on every TCP port of its own, since
// SSH may be on any, but for that of intercept, which is for what is redirected alone.

// admin writes rules for the admins' way to the box, by TCP ports that match.
func (t *table) admin(match string) {
	for _, f := range families {
		for _, p := range t.cfg.Admin {
			if p.Addr().Is4() == f.is4 {
				t.line("%s saddr %v fib daddr type local tcp dport %s accept", f.name, p, match)
			}
		}
	}
}

// anyPort matches every port of the box but intercept's.
func (t *table) anyPort() string { return fmt.Sprintf("!= %d", t.cfg.Intercept) }

// adminPorts are those of the box that are for nobody but admins, where there are any.
func (t *table) adminPorts() string { return "{ " + portList(t.cfg.SSH, t.cfg.Console) + " }" }

// openToAll is a sentence for who has named no admin, or empty.
func openToAll(cfg Config) string {
	if len(cfg.Admin) > 0 {
		return ""
	}
	return fmt.Sprintf("firewall.admin is empty: all that are in no class may reach TCP port %s of the box (SSH, the console), from the Internet too unless another table stops them; name your own machines in tillgate.yaml: firewall: {admin: [192.168.1.10/32]}",
		portList(cfg.SSH, cfg.Console))
}
