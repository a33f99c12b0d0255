package check

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"tillgate/policy"
)

// A Gate is the box that a test goes through. Its ports are those of a box that was not
// told otherwise, where they are zero.
type Gate struct {
	Addr            netip.Addr
	DNS, Proxy, NTP uint16
}

// via is the way of a terminal that is set to a box.
type via struct {
	cfg  Config
	gate Gate
}

// Via returns a test that goes through a box.
func Via(cfg Config, gate Gate) *Checker {
	for port, standard := range map[*uint16]uint16{&gate.DNS: 53, &gate.Proxy: 3128, &gate.NTP: ntpPort} {
		if *port == 0 {
			*port = standard
		}
	}
	c := newChecker(cfg)
	c.way = via{c.cfg, gate}
	return c
}

func (v via) absolute() bool { return true }

// timePort is that of the box where its DNS gave its own address.
func (v via) timePort(addr netip.Addr) uint16 {
	if addr == v.gate.Addr.WithZone("") {
		return v.gate.NTP
	}
	return ntpPort
}

// connect asks the box's proxy for a tunnel. A request by HTTP is for the proxy itself.
func (v via) connect(ctx context.Context, t Target, _ []netip.Addr) (net.Conn, netip.AddrPort, error) {
	dest := netip.AddrPortFrom(v.gate.Addr, v.gate.Proxy)
	conn, err := v.cfg.Dial(ctx, "tcp", dest.String())
	if err != nil {
		trouble := connectTrouble(err)
		if trouble.Fault != Interrupted {
			trouble.Fault = NoProxy
		}
		return nil, dest, at(trouble, dest)
	}
	if t.Port == httpPort {
		return conn, dest, nil
	}
	if err := tunnel(ctx, conn, t); err != nil {
		conn.Close()
		return nil, dest, err
	}
	return conn, dest, nil
}

// tunnel sends a CONNECT and reads what becomes of it.
func tunnel(ctx context.Context, conn net.Conn, t Target) error {
	interrupt := context.AfterFunc(ctx, func() { conn.Close() })
	defer interrupt()
	host := t.String()
	if _, err := io.WriteString(conn, "CONNECT "+host+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		return connectTrouble(err)
	}
	r := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil && ctx.Err() != nil:
		return &Trouble{TimedOut, "the box's proxy had not connected by then"}
	case err != nil:
		return answerTrouble(err)
	case resp.StatusCode == http.StatusOK && r.Buffered() > 0:
		return &Trouble{BadTLS, "something speaks before it is spoken to"}
	case resp.StatusCode == http.StatusOK:
		return nil
	}
	defer resp.Body.Close()
	if err := proxyTrouble(resp); err != nil {
		return err
	}
	return &Trouble{NoProxy, "the proxy answered " + resp.Status}
}

// proxyFaults are what the error types of RFC 9209 (section 2.3) that the box has mean.
var proxyFaults = map[string]Fault{
	"http_request_denied":       Denied,
	"destination_ip_prohibited": PrivateAddr,
	"destination_ip_unroutable": Unreachable,
	"connection_timeout":        TimedOut,
	"connection_refused":        Refused,
	"connection_terminated":     Broken,
	"connection_limit_reached":  Busy,
	"dns_error":                 Unresolved,
	"dns_timeout":               Unresolved,
	"http_response_timeout":     Broken,
	"http_response_incomplete":  Broken,
	"http_protocol_error":       BadHTTP,
}

// proxyTrouble is what the box's proxy itself says; nil where the answer is an origin's.
func proxyTrouble(resp *http.Response) error {
	fault, detail, own := proxyStatus(resp.Header.Get("Proxy-Status"))
	if !own {
		return nil
	}
	known, ok := proxyFaults[fault]
	if !ok {
		known = Broken
	}
	text := "the box's proxy says: " + strings.ReplaceAll(fault, "_", " ")
	if reason, ok := policy.ParseReason(detail); ok && detail != "" {
		if reason == policy.UnknownClient {
			known = Stranger
		}
		text = "the box's proxy refuses: " + reason.Text() + " (" + detail + ")"
	}
	return &Trouble{known, text}
}

// proxyStatus reads a Proxy-Status that the box wrote (a structured field, RFC 9209): the
// error and its details. It is no reader of anybody else's.
func proxyStatus(field string) (fault, detail string, own bool) {
	rest, own := strings.CutPrefix(field, "tillgate; error=")
	if !own {
		return "", "", false
	}
	fault, rest, _ = strings.Cut(rest, ";")
	if d, ok := strings.CutPrefix(strings.TrimSpace(rest), `details="`); ok {
		detail = strings.TrimSuffix(d, `"`)
	}
	return fault, detail, true
}

// resolve asks the box's DNS for both families, as terminals do.
func (v via) resolve(ctx context.Context, t Target) ([]netip.Addr, error) {
	server := netip.AddrPortFrom(v.gate.Addr, v.gate.DNS)
	addrs, err := v.ask(ctx, server, t.Host)
	if err == nil && len(addrs) == 0 {
		err = &Trouble{NoName, "the box's DNS has no address for it"}
	}
	if trouble, ok := errors.AsType[*Trouble](err); ok && trouble.Fault == NoDNS {
		return nil, &Trouble{NoDNS, fmt.Sprintf("%s: %s", server, trouble.Detail)}
	}
	return addrs, err
}
