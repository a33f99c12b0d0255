package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tillgate/policy"
)

// A page is an answer of the proxy's own where there is none of an origin. It always ends
// the connection: a client may have sent more, trusting in another answer (RFC 9931).
type page struct {
	status int
	fault  string // the error type of RFC 9209 §2.3
	detail string // of the fault, in a word
	text   string
}

// denied is what the client of a denied attempt is told.
func (a *attempt) denied() *page {
	reason := a.decision.Reason
	p := &page{status: http.StatusForbidden, fault: "http_request_denied", detail: reason.String()}
	switch reason {
	case policy.Malformed, policy.NotTLS:
		p.status, p.fault = http.StatusBadRequest, "http_request_error"
	case policy.NoHello:
		p.status, p.fault = http.StatusRequestTimeout, "http_request_error"
	case policy.PrivateAddress:
		p.fault = "destination_ip_prohibited"
	case policy.LimitReached:
		p.status, p.fault = http.StatusServiceUnavailable, "connection_limit_reached"
	}
	p.text = "This is not let through.\n\n" + a.facts(reason.Text()+" ("+reason.String()+")")
	if _, ok := policy.WireName(a.name); ok && a.name != "" {
		p.text += fact("next", "on the box: tillgate explain "+a.client.String()+" "+a.asked())
	}
	return p
}

// unreached is what the client of an attempt is told that could not be connected.
func (a *attempt) unreached(err error) *page {
	if a.decision.Verdict == policy.Deny {
		return a.denied() // for where the name leads, or a limit
	}
	fault, status := faultOf(err), http.StatusBadGateway
	if fault.timeout() {
		status = http.StatusGatewayTimeout
	}
	return a.failed(status, fault.String(), "the host could not be reached")
}

// unanswered is what the client of an attempt is told whose host was reached, but did not
// answer the request.
func (a *attempt) unanswered(fault string) *page {
	switch fault {
	case brokenRequest:
		p := a.failed(http.StatusBadRequest, fault, "the body of the request is not valid HTTP")
		p.detail = policy.Malformed.String()
		return p
	case tooSlow:
		return a.failed(http.StatusGatewayTimeout, fault, "the host did not answer in time")
	case cutOff:
		return a.failed(http.StatusBadGateway, fault, "the host closed the connection without an answer")
	}
	return a.failed(http.StatusBadGateway, fault, "what the host answered is not valid HTTP")
}

// failed is what the client of an attempt is told that may pass, but could not: an error
// type of RFC 9209, and what went wrong.
func (a *attempt) failed(status int, fault, what string) *page {
	p := &page{status: status, fault: fault}
	p.text = "This is let through, but " + what + ".\n\n" + a.facts(strings.ReplaceAll(fault, "_", " "))
	if status != http.StatusBadRequest {
		p.text += fact("next", "on the box: tillgate check")
	}
	return p
}

// facts are what is known of an attempt, for the one who reads a page.
func (a *attempt) facts(why string) string {
	text := ""
	if asked := a.asked(); asked != "" {
		text += fact("asked", asked)
	}
	text += fact("why", why)
	if class := a.decision.Class; class != nil {
		text += fact("class", class.Name)
	}
	if rule := a.decision.Rule; rule != nil && rule.Service != nil {
		service := rule.Service.ID
		if row := rule.Service.Row; row != 0 {
			service += fmt.Sprintf(", row %d of the document", row)
		}
		text += fact("service", service)
	}
	return text
}

func fact(key, value string) string { return fmt.Sprintf("%-9s%s\n", key+":", value) }

// asked is the host and port that an attempt is about; what is no host name is quoted.
func (a *attempt) asked() string {
	text := a.name
	if _, ok := policy.WireName(a.name); !ok {
		text = strconv.QuoteToASCII(a.name)
	}
	if a.port != 0 {
		text += ":" + strconv.Itoa(int(a.port))
	}
	return text
}

// header returns the fields of the page. Its values are the box's own, so they are
// tokens without any need to quote.
func (p *page) header() http.Header {
	status := "tillgate; error=" + p.fault
	if p.detail != "" {
		status += `; details="` + p.detail + `"`
	}
	return http.Header{
		"Proxy-Status":           {status},
		"Content-Type":           {"text/plain; charset=utf-8"},
		"X-Content-Type-Options": {"nosniff"},
		"Cache-Control":          {"no-store"},
		"Connection":             {"close"},
	}
}

// write answers a request with the page.
func (p *page) write(w http.ResponseWriter) {
	for name, values := range p.header() {
		w.Header()[name] = values
	}
	// Before net/http closes the connection it reads what is left of a body. That does
	// for a client that sends; one that does not is no longer waited for.
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerTime))
	w.Header().Set("Content-Length", strconv.Itoa(len(p.text)))
	w.WriteHeader(p.status)
	io.WriteString(w, p.text)
}

// response is the page as an answer to be written without a server.
func (p *page) response() *http.Response {
	return &http.Response{
		StatusCode:    p.status,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        p.header(),
		Body:          io.NopCloser(strings.NewReader(p.text)),
		ContentLength: int64(len(p.text)),
	}
}

// alertRecord is a fatal unrecognized_name (RFC 8446 §6.2) as a record that any version
// of TLS reads.
var alertRecord = []byte{21, 3, 3, 0, 2, 2, 112}

// refuseTLS tells a client that speaks TLS that its host is not served, and closes.
func refuseTLS(c *net.TCPConn) {
	c.SetWriteDeadline(time.Now().Add(lingerTime))
	c.Write(alertRecord)
	linger(c)
}
