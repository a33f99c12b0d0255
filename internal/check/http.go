package check

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswer bounds what is read of an answer by HTTP, in bytes.
const maxAnswer = 64 << 10

// probePath is what devices ask the documented hosts for, to see whether they are online.
// All others may answer it as they like.
const probePath = "/generate_204"

// askHTTP asks a host by HTTP. Any answer of its own is good; one that leads elsewhere is
// not its own.
func (c *Checker) askHTTP(conn net.Conn, r *Result) error {
	target := probePath
	if c.way.absolute() {
		target = "http://" + r.Host + probePath
	}
	_, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: "+r.Host+"\r\nUser-Agent: tillgate-check\r\nConnection: close\r\n\r\n")
	if err != nil {
		return connectTrouble(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswer)), &http.Request{Method: http.MethodGet})
	if err != nil {
		return answerTrouble(err)
	}
	defer resp.Body.Close()
	if c.way.absolute() {
		if err := proxyTrouble(resp); err != nil {
			return err
		}
	}
	r.Status = resp.StatusCode
	if resp.StatusCode == http.StatusNetworkAuthenticationRequired { // RFC 6585 section 6
		return &Trouble{Portal, "it answers that the network wants a login"}
	}
	if to := resp.Header.Get("Location"); to != "" && leadsAway(r.Host, to) {
		return &Trouble{Portal, "it leads on to " + to}
	}
	r.Stage = Answered
	return nil
}

// answerTrouble says what an error of reading an answer by HTTP means.
func answerTrouble(err error) *Trouble {
	switch t := connectTrouble(err); {
	case t.Fault == TimedOut:
		return &Trouble{Broken, "connected, then silent"}
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return &Trouble{Broken, "closed without an answer"}
	case strings.Contains(err.Error(), "malformed"):
		return &Trouble{BadHTTP, "it does not speak HTTP"}
	default:
		return t
	}
}

// leadsAway reports whether a redirection of a host leads to another organisation's:
// beyond the last two labels, as far as one can tell without a list.
func leadsAway(host, location string) bool {
	u, err := url.Parse(location)
	if err != nil {
		return true
	}
	to := strings.ToLower(u.Hostname())
	if to == "" {
		return false // a path
	}
	labels := strings.Split(host, ".")
	own := strings.Join(labels[max(0, len(labels)-2):], ".")
	return to != own && !strings.HasSuffix(to, "."+own)
}
