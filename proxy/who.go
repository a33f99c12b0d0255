package proxy

import (
	"html"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// whoHeader are the fields of the page. Nothing is loaded, run, sent or kept because of it;
// styleHash allows the one style that it has.
var whoHeader = map[string]string{
	"Cache-Control":           "no-store",
	"Content-Security-Policy": "default-src 'none'; style-src '" + styleHash + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"Referrer-Policy":         "no-referrer",
	"X-Content-Type-Options":  "nosniff",
}

const (
	whoStyle  = "body{font:16px/1.5 sans-serif;margin:1em;max-width:60em}th,td{text-align:left;vertical-align:top;padding:.2em 1em .2em 0}"
	styleHash = "sha256-MDg2wg/0PcjRlYulJOGD1fDzCj028UO56+cFARxJjmg="
)

// whoPage tells a client of a class who it is and what it may reach. It is written by hand,
// since template packages switch off the linker's pruning. now is trusted time, as in
// [policy.Request].
func whoPage(set *policy.Set, class *policy.Class, client netip.Addr, iface string, now time.Time) string {
	var p htmlWriter
	p.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>tillgate</title>\n<style>", whoStyle, "</style>\n")
	p.raw("<h1>You are behind tillgate</h1>\n<p>This box decides what this device may reach.</p>\n<table>\n")
	p.fact("address", client.String())
	p.fact("class", class.Name)
	p.fact("interface", iface)
	p.fact("policy", set.ID()+", "+class.Mode.String())
	p.raw("</table>\n<h2>What is let through</h2>\n<table>\n<tr><th>row<th>service<th>for<th>to\n")
	for _, s := range class.Services {
		if s.Until.IsZero() || now.IsZero() || now.Before(s.Until) {
			p.service(s)
		}
	}
	if class.Time {
		p.raw("<tr><td><td>time<td>whatever server is asked, this box answers<td>udp/123\n")
	}
	p.raw("</table>\n<h2>What is not</h2>\n")
	if class.Mode == policy.Observe {
		p.raw("<p>This class is observed: for now all else is let through as far as it names a host, and recorded as what would be denied.\n")
	} else {
		p.raw("<p>All else is denied: other names, other ports, other addresses. Every attempt is recorded.\n")
	}
	var denied []string
	for _, r := range set.Rules() {
		if r.Service == nil {
			denied = append(denied, r.Host)
		}
	}
	if len(denied) > 0 {
		p.raw("<p>Denied whatever else is allowed: ")
		p.text(strings.Join(denied, ", "))
		p.raw("\n")
	}
	p.raw("<h2>To see more</h2>\n<p>On the box, what this device tried and what became of it, and why a name is denied:\n<pre>")
	p.text("tillgate log --client " + client.String() + "\ntillgate explain " + client.String() + " NAME:PORT")
	p.raw("</pre>\n</html>\n")
	return p.b.String()
}

// An htmlWriter writes a page. What is not part of the program goes through text.
type htmlWriter struct{ b strings.Builder }

func (p *htmlWriter) raw(parts ...string) {
	for _, part := range parts {
		p.b.WriteString(part)
	}
}

// text writes a text as such, line by line: neither markup nor what does not print has a
// meaning in it.
func (p *htmlWriter) text(s string) {
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			p.raw("\n")
		}
		p.raw(html.EscapeString(decision.Printable(line)))
	}
}

// fact is a row of the first table, if there is something to tell.
func (p *htmlWriter) fact(label, value string) {
	if value == "" {
		return
	}
	p.raw("<tr><th>", label, "<td>")
	p.text(value)
	p.raw("\n")
}

// service is a row of the table of services.
func (p *htmlWriter) service(s *policy.Service) {
	p.raw("<tr><td>")
	if s.Row != 0 {
		p.raw(strconv.Itoa(s.Row))
	}
	p.raw("<td>")
	p.text(s.ID)
	p.raw("<td>")
	why := s.Title
	if s.Local() {
		why = s.Reason
	} else {
		why += ", " + s.Requirement.String()
	}
	if !s.Until.IsZero() {
		why += ", until " + s.Until.UTC().Format("2006-01-02 15:04 MST")
	}
	p.text(why)
	p.raw("<td>")
	for i, r := range s.Destinations {
		if i > 0 {
			p.raw("<br>")
		}
		to := r.Host
		if r.Host == "" {
			to = r.Network.String()
		}
		for _, port := range r.Ports {
			to += " " + port.String()
		}
		p.text(to)
	}
	p.raw("\n")
}
